"""The library's convolutions beside the compiler's own: in value, in gradients of first and second order, in a loop.

    python benchmarks/convolutions.py

Layers of DCGAN at 32x32 with 64 filters and of a residual block, batches of 64. "first" is the gradient by input and
kernel, "second" that of the squared input gradient, as gradient penalties need it, and "loop" is "first" inside a loop,
for each of its rounds. All are measured in turns in this one run; ratios are those of the compiler's over ours, which
on anything but a CPU are the same.
"""

import datetime
import os
import statistics
import time
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from gan_jax.layers.conv import LAYOUT, conv, conv_transpose

LAYERS = {  # (side of the input, channels, features, taps, stride), ours, the compiler's
    "strided": ((16, 64, 128, 4, 2), conv, lax.conv_general_dilated),
    "strided, last": ((8, 128, 256, 4, 2), conv, lax.conv_general_dilated),
    "transposed": ((8, 128, 64, 4, 2), conv_transpose, lax.conv_transpose),
    "transposed, last": ((16, 64, 3, 4, 2), conv_transpose, lax.conv_transpose),
    "plain": ((16, 64, 64, 3, 1), conv, lax.conv_general_dilated),
    "of one pixel": ((16, 64, 128, 1, 1), conv, lax.conv_general_dilated),
}
BATCH, TURNS, LENGTH = 64, 5, 2


def orders(form) -> dict:
    """Programs of (x, kernel, cotangent) by name; `form` maps the first two."""

    def first(x, kernel, seen):
        return jax.vjp(form, x, kernel)[1](seen)

    def penalty(x, kernel, seen):
        return jnp.sum(jax.vjp(lambda x: form(x, kernel), x)[1](seen)[0] ** 2)

    def loop(x, kernel, seen):
        def step(kernel, _):
            by_x, by_kernel = first(x, kernel, seen)
            return kernel - 1e-6 * by_kernel, by_x.mean()

        return lax.scan(step, kernel, None, length=LENGTH)

    return {
        "value": lambda x, kernel, seen: form(x, kernel),
        "first": first,
        "second": jax.grad(penalty, (1, 2)),
        "loop": loop,
    }


def measured(ours, theirs, arguments) -> dict[str, tuple[float, float]]:
    """For each order the seconds of both."""
    programs = {(name, i): jax.jit(run) for i, form in enumerate((ours, theirs)) for name, run in orders(form).items()}
    times = {which: [] for which in programs}
    for _ in range(TURNS + 1):  # the first compiles
        for which, program in programs.items():
            start = time.perf_counter()
            jax.block_until_ready(program(*arguments))
            times[which].append((time.perf_counter() - start) / (LENGTH if which[0] == "loop" else 1))
    found = {which: statistics.median(seconds[1:]) for which, seconds in times.items()}
    return {name: (found[name, 0], found[name, 1]) for name in orders(ours)}


def main() -> None:
    print(f"{datetime.date.today()}  {os.cpu_count()} cores, {jax.default_backend()}, jax {jax.__version__}")
    print(f"{'layer':<40}" + "".join(f"{name + ' ms':>12}{'ratio':>7}" for name in orders(conv)))
    for title, ((side, channels, features, taps, stride), ours, theirs) in LAYERS.items():
        keys = jax.random.split(jax.random.key(0), 3)
        x = jax.random.normal(keys[0], (BATCH, side, side, channels))
        kernel = jax.random.normal(keys[1], (taps, taps, channels, features))
        ours = partial(ours, strides=(stride, stride), padding="SAME")
        theirs = partial(theirs, dimension_numbers=LAYOUT, padding="SAME")
        theirs = partial(theirs, **{"strides" if "transposed" in title else "window_strides": (stride, stride)})
        seen = jax.random.normal(keys[2], jax.eval_shape(ours, x, kernel).shape)
        found = measured(ours, theirs, (x, kernel, seen))
        layer = f"{title} {taps}x{taps}, {side}x{side}x{channels} to {features}"
        print(f"{layer:<40}" + "".join(f"{a * 1e3:>12.1f}{b / a:>7.1f}" for a, b in found.values()), flush=True)


if __name__ == "__main__":
    main()
