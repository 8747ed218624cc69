"""Downloads a dataset of TFDS and writes it as ArrayRecord, which training reads without TensorFlow.

    python launch/prepare.py --name mnist
    python launch/prepare.py --name lsun/bedroom --data_dir /large/disk

Writing needs TensorFlow, reading does not: pip install "gan-jax[prepare]".
Names are those of https://www.tensorflow.org/datasets/catalog
"""

import importlib.util

from absl import flags, logging

from gan_jax import cli

NAME = flags.DEFINE_string("name", None, "The dataset: NAME, NAME/CONFIGURATION or NAME:VERSION.")
DATA_DIR = flags.DEFINE_string("data_dir", "", "Where datasets lie; ~/tensorflow_datasets if not given.")
flags.mark_flag_as_required("name")


def main(arguments):
    from gan_jax.data import sources
    from gan_jax.errors import InputError

    logging.set_verbosity(logging.ERROR)
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
