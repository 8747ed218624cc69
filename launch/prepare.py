"""Downloads what is used later without a network: a dataset of TFDS, or the weights of a network that metrics need.

    python launch/prepare.py --name mnist
    python launch/prepare.py --name lsun/bedroom --data_dir /large/disk
    python launch/prepare.py --weights inception

A dataset is written as ArrayRecord, which training reads without TensorFlow; writing it needs TensorFlow:
pip install "gan-jax[prepare]". Names are those of https://www.tensorflow.org/datasets/catalog
Weights are checked by their SHA-256 and put into $GAN_JAX_CACHE, ~/.cache/gan_jax if that is not set.
"""

import importlib.util

from absl import flags, logging

from gan_jax import cli

NAME = flags.DEFINE_string("name", None, "The dataset: NAME, NAME/CONFIGURATION or NAME:VERSION.")
DATA_DIR = flags.DEFINE_string("data_dir", "", "Where datasets lie; ~/tensorflow_datasets if not given.")
WEIGHTS = flags.DEFINE_string(
    "weights", None, "Weights instead of a dataset: inception, vgg16, lpips, or a file's URL."
)


def main(arguments):
    from gan_jax.errors import InputError

    logging.set_verbosity(logging.ERROR)
    if NAME.value and WEIGHTS.value:
        raise InputError("--name and --weights ask for two things; run the program twice")
    if WEIGHTS.value:
        prepare_weights()
    elif NAME.value:
        prepare_dataset()
    else:
        raise InputError("--name is missing, or --weights; --help says what they are")


def prepare_weights():
    from gan_jax.nets import weights

    path = weights.fetch(WEIGHTS.value)
    print(f"{WEIGHTS.value}: {path} ({path.stat().st_size} bytes, sha256 {weights.sha256(path)})")


def prepare_dataset():
    from gan_jax.data import sources
    from gan_jax.errors import InputError

    builder = sources.tfds_builder(NAME.value, DATA_DIR.value, file_format="array_record")
    if builder.is_prepared():
        report("already prepared", builder)
        return
    if importlib.util.find_spec("tensorflow") is None:
        raise InputError(f'preparing {NAME.value} needs TensorFlow: pip install "gan-jax[prepare]"')
    import tensorflow_datasets as tfds

    try:
        builder.download_and_prepare(
            # One folder for each dataset: what TFDS extracts it finds again by bare names, which several share.
            download_dir=builder.data_path.parent / "downloads",
            download_config=tfds.download.DownloadConfig(try_download_gcs=False),
        )
    except Exception as error:  # no network, no space, files to be fetched by hand: TFDS raises many kinds
        raise InputError(f"{NAME.value} was not prepared ({type(error).__name__}): {error}") from error
    report("prepared", builder)


def report(what: str, builder) -> None:
    counts = ", ".join(f"{name} {split.num_examples}" for name, split in builder.info.splits.items())
    print(f"{what}: {builder.info.full_name} ({counts} examples) in {builder.data_path}")
    place = f" --config.data.path={DATA_DIR.value}" if DATA_DIR.value else ""
    print(f"use it with: --config.data.name={NAME.value}{place}")


if __name__ == "__main__":
    cli.run(main)
