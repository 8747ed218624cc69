"""Every key that the loop reads, in one place. What a paper reads stands in `config.model`, what a dataset reads in
`config.data`; an experiment fills them in.

`ml_collections` locks a config once it is loaded, so a key that is not here or in the experiment is refused.
"""

import json
from typing import Any

from ml_collections import ConfigDict, config_dict

from gan_jax.errors import InputError

DTYPES = ("float32", "bfloat16")


def dict(**keys) -> ConfigDict:
    """A section of a config."""
    return ConfigDict(keys)


def size(value: int | tuple[int, int] | None = None) -> config_dict.FieldReference:
    """The height and width of images, which the command line may give as an integer or as (H, W), or None."""
    reference = config_dict.placeholder(object)
    reference.set(value)
    return reference


def data(**keys) -> ConfigDict:
    """The data section: these keys for every dataset, and `options` for what only one dataset understands."""
    section = ConfigDict(
        {
            "name": "",  # which dataset: a world, `folder`, or any that TFDS has prepared (gan_jax/data/datasets.py)
            "path": "",  # where it lies: the image folder; for TFDS its data_dir ("" is ~/tensorflow_datasets)
            "split": "train",  # of TFDS, and of folders of pairs
            "resolution": None,  # height and width: an integer, or (H, W); None keeps the dataset's own
            "channels": None,  # 1 makes images grey, 3 makes them RGB; None keeps the dataset's own
            "crop": "none",  # how another size is met: "none" stretches, "center" and "random" cut and resize, "patch"
            # cuts windows of just this resolution at random places
            "flip": False,  # mirror half of the images left to right
            "downsample": None,  # pairs for super-resolution: images become `b`, and `a` is so many times smaller
            "size": None,  # use only this many records, or draw this many of a world
            "labels_per_class": None,  # so many labels of each class are known, the others are -1; None is all of them
            "label_seed": 0,  # which ones
            "on_device": False,  # keep the whole dataset in device memory; for small ones
            "workers": 8,  # threads that read and decode
            "options": ConfigDict(),  # arguments of one dataset, e.g. which toy distribution
        },
        convert_dict=False,
    )
    section.resolution = size()
    for key in ("channels", "downsample", "size", "labels_per_class"):
        section[key] = config_dict.placeholder(int)
    section.update(keys)
    return section


def optimizer(name: str, learning_rate: float, b1: float = 0.9, b2: float = 0.999, **others) -> ConfigDict:
    """A section that describes an optimiser; `gan_jax/optimizers.py` says what the keys mean."""
    section = {"name": name, "learning_rate": learning_rate, "b1": b1, "b2": b2}
    section |= {"l2": 0.0, "historical": 0.0, "decay_begin": 0, "decay_steps": 0}
    return ConfigDict(section | others)


def tricks(**keys) -> ConfigDict:
    """What practitioners add to the classical game; as it stands here nothing (`gan_jax/tricks.py` says more)."""
    section = ConfigDict(
        {
            "instance_noise": 0.0,  # standard deviation of noise on what the critic sees, at step 0
            "instance_noise_steps": 0,  # it falls linearly to 0 in so many steps; 0 keeps it
            "soft_real": (1.0, 1.0),  # labels of real examples are drawn from this range, e.g. (0.7, 1.2)
            "soft_fake": (0.0, 0.0),  # and of fakes from this, e.g. (0.0, 0.3)
            "flip": 0.0,  # probability that a real and a fake change labels in the discriminator's move
            "replay": 0,  # size of a pool of old fakes that are shown to the discriminator again
            "replay_share": 0.5,  # of a minibatch that comes from the pool once it is full
            "d_moves_above": config_dict.placeholder(float),  # the discriminator stays where its loss is not above this
            "g_moves_above": config_dict.placeholder(float),  # and the generator where its own is not
            "g_batches": 1,  # the generator's step sees so many times the critic's batch
            "g_penalty": "none",  # what the generator pays besides its loss: "feature_matching", "pulling_away"
            "g_penalty_weight": 0.0,
            "g_loss_scale": 1.0,  # 0 leaves the generator its penalty alone
        }
    )
    section.update(keys)
    return section


def defaults(gan: str) -> ConfigDict:
    """The loop-level keys, the same for every GAN."""
    return ConfigDict(
        {
            "gan": gan,  # the paper: a file in gan_jax/gans/
            "seed": 0,  # of the parameters, the order of the data, the latents: of everything
            "steps": 10_000,  # training steps over all stages
            "batch_size": 64,  # examples per round, over all devices
            "dtype": "float32",  # what networks compute in; parameters and losses stay float32
            "steps_per_call": 1,  # steps in one compiled call; more helps small networks, results are the same
            "log_every": 100,  # steps between lines of metrics
            "diagnose": True,  # how the game stands, on every line, with warnings (gan_jax/train/diagnostics.py)
            "sample_every": 1_000,  # steps between pictures of samples
            "eval_every": 0,  # steps between evaluations by `metrics`; 0 is never
            "metrics": (),  # which ones, e.g. ("fid", "kid:classifier", "swd") (gan_jax/metrics/catalogue.py)
            "eval_samples": 5_000,  # samples that are made for an evaluation
            "best": "",  # the one of them whose best checkpoint is kept beside the newest, e.g. "fid"
            "save_every": 1_000,  # steps between checkpoints; the last step is always saved
            "keep": 3,  # checkpoints that are kept, the newest ones and the best
            "preview": 64,  # samples in a picture
            "mesh": {"data": -1, "fsdp": 1},  # devices along each axis; -1 is whatever is left
            "writers": (),  # mirrors of the log: "tensorboard", "wandb"
            "data": {},
            "model": {},
        }
    )


def example_shape(data: ConfigDict) -> tuple[int, ...]:
    """Shape of one example under a resolved data section: (H, W, C) of an image, (D,) of a point."""
    return (*(data.resolution or ()), data.channels)


def unknown_variant(variant: str, *known: str) -> InputError:
    """The error for `experiments/x.py:variant` when x has no such variant."""
    return InputError(f"unknown variant ':{variant}' of this experiment. Choices: {', '.join(sorted(known))}, or none")


def validate(config: ConfigDict) -> None:
    """Refuses what the loop cannot run.

    Raises:
      InputError: naming the key, its value and what would be right.
    """
    for key in ("steps", "batch_size", "steps_per_call", "log_every", "keep", "preview"):
        if config[key] < 1:
            raise InputError(f"config.{key}={config[key]} must be at least 1")
    if config.eval_samples < 1:
        raise InputError(f"config.eval_samples={config.eval_samples} must be at least 1")
    for key in ("sample_every", "eval_every", "save_every"):
        if config[key] < 0:
            raise InputError(f"config.{key}={config[key]} must be 0 (never) or more")
    if config.dtype not in DTYPES:
        raise InputError(f"config.dtype='{config.dtype}' is unknown. Choices: {', '.join(DTYPES)}")
    if not config.data.get("name"):
        raise InputError("config.data.name is empty; name a dataset, e.g. --config.data.name=faces")


def to_json(config: ConfigDict) -> str:
    return json.dumps(config.to_dict(), indent=2, sort_keys=True) + "\n"


def from_json(text: str) -> ConfigDict:
    """The config that `to_json` wrote: lists come back as tuples, as experiments write them."""

    def tuples(value: Any) -> Any:
        if isinstance(value, list):
            return tuple(tuples(item) for item in value)
        return {key: tuples(item) for key, item in value.items()} if hasattr(value, "items") else value

    return ConfigDict(tuples(json.loads(text)))


def differences(old: ConfigDict, new: ConfigDict, sections: tuple[str, ...]) -> list[str]:
    """`key: old -> new` for every key that differs below these top-level keys."""

    def flat(prefix, value):
        if not hasattr(value, "items"):
            return {prefix: value}
        return {key: leaf for name, item in value.items() for key, leaf in flat(f"{prefix}.{name}", item).items()}

    before = {key: leaf for name in sections for key, leaf in flat(name, old.get(name)).items()}
    after = {key: leaf for name in sections for key, leaf in flat(name, new.get(name)).items()}
    return [
        f"{key}: {before.get(key, 'absent')} -> {after.get(key, 'absent')}"
        for key in before | after
        if before.get(key) != after.get(key)
    ]
