"""What every formula asks of its features before it computes."""

import numpy as np
from jaxtyping import Float

from gan_jax.errors import InputError

Features = Float[np.ndarray, "_ _"]  # one row for each example
ROWS = 4096  # looked at together, so that no copy of the whole array is made


def features(what: str, array: Features, least: int = 1, reason: str = "") -> None:
    """Refuses features that are not `[N, D]`, are fewer than `least`, or hold a NaN or an infinity."""
    if array.ndim != 2 or array.shape[1] == 0:
        raise InputError(f"{what}: features must be an array [N, D], got shape {list(array.shape)}")
    if len(array) < least:
        raise InputError(f"{what}: {len(array)} examples, but at least {least} are needed{reason and ' ' + reason}")
    for start in range(0, len(array), ROWS):
        bad = ~np.isfinite(array[start : start + ROWS]).all(axis=1)
        if bad.any():
            raise InputError(f"{what}: the features of example {start + int(bad.argmax())} are not finite numbers")


def same_width(a: Features, b: Features) -> None:
    """Refuses two sets of features that cannot be compared."""
    if a.shape[1] != b.shape[1]:
        raise InputError(
            f"features of {a.shape[1]} and of {b.shape[1]} dimensions cannot be compared: use one extractor for both"
        )
