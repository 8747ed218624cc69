"""Eight CPU devices, and the strict settings that turn the classical silent mistakes into errors."""

import os
import pathlib
import tempfile

import jax
import pytest
from absl import flags

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_dtype_promotion", "strict")  # float32 + float64 or int32 is an error
jax.config.update("jax_numpy_rank_promotion", "raise")  # [B] - [B, 1] is an error, not [B, B]

# Many tests compile the same programs: once is enough, also for the processes that tests start.
if "PYTEST_XDIST_WORKER" not in os.environ:  # the workers of one call share the folder of the process that started them
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="gan_jax_tests_")
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)

flags.FLAGS.mark_as_parsed()  # grain reads an absl flag when it starts

SHARED = pathlib.Path(os.environ.get("GAN_JAX_SHARED", pathlib.Path(__file__).parents[2] / "shared"))


def pytest_configure(config):
    """The quick suite and the battery compile much and run little: without most optimisations they take half the time.
    Trainings, and whatever else is slow, are compiled as users compile them."""
    if "slow" not in config.option.markexpr.replace("not slow", ""):
        os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"  # for the processes that tests start
        jax.config.update("jax_disable_most_optimizations", True)


@pytest.fixture(scope="session")
def real_data():
    """Folder of the real datasets, or a skip where they are not at hand."""
    if not (SHARED / "data").is_dir():
        pytest.skip(f"real datasets are not at hand: {SHARED / 'data'} does not exist (set GAN_JAX_SHARED)")
    return SHARED / "data"
