"""Ways to write a transposed convolution, in value and in gradients of first and second order.

    python benchmarks/transposed_conv.py

The layers of DCGAN at 32x32 with 64 filters and batches of 64, kernels of 4x4, strides of 2. "first" is the gradient
by input and kernel, "second" that of the squared input gradient, as gradient penalties need it.
All are measured in turns in this one run; ratios are to the form that the library ships.
"""

import datetime
import os
import statistics
import time

import jax
import jax.numpy as jnp
from jax import lax

from gan_jax.layers.conv import conv_transpose

LAYOUT = ("NHWC", "HWIO", "NHWC")
SHAPES = ((4, 256, 128), (8, 128, 64), (16, 64, 3))  # side, channels, features
ROUNDS = 5


def dilated(x, kernel):
    """The compiler's own."""
    return lax.conv_transpose(x, kernel, (2, 2), "SAME", dimension_numbers=LAYOUT)


def zeros_inserted(x, kernel):
    """Zeros between the pixels by padding and reshaping, then a plain convolution."""
    batch, height, width, channels = x.shape
    apart = jnp.pad(x[:, :, None, :, None], ((0, 0), (0, 0), (0, 1), (0, 0), (0, 1), (0, 0)))
    apart = apart.reshape(batch, 2 * height, 2 * width, channels)[:, :-1, :-1]
    return lax.conv_general_dilated(apart, kernel, (1, 1), ((2, 2), (2, 2)), dimension_numbers=LAYOUT)


def sub_pixel(x, kernel):
    """One plain convolution that makes the four phases of the output as channels, then depth to space."""
    batch, height, width, channels = x.shape
    features = kernel.shape[-1]
    phases = kernel[::-1, ::-1].reshape(2, 2, 2, 2, channels, features)[::-1, :, ::-1].transpose(0, 2, 4, 1, 3, 5)
    phases = phases.reshape(2, 2, channels, 4 * features)
    made = lax.conv_general_dilated(x, phases, (1, 1), ((1, 1), (1, 1)), dimension_numbers=LAYOUT)
    made = made.reshape(batch, height + 1, width + 1, 2, 2, features).transpose(0, 1, 3, 2, 4, 5)
    return made.reshape(batch, 2 * height + 2, 2 * width + 2, features)[:, 1:-1, 1:-1]


def shipped(x, kernel):
    """One matrix product, then patches added up by shifts."""
    return conv_transpose(x, kernel, (2, 2), "SAME")


FORMS = {"shipped": shipped, "dilated": dilated, "zeros inserted": zeros_inserted, "sub-pixel": sub_pixel}


def orders(form):
    def first(x, kernel, seen):
        return jax.vjp(form, x, kernel)[1](seen)

    def penalty(x, kernel, seen):
        return jnp.sum(jax.vjp(lambda x: form(x, kernel), x)[1](seen)[0] ** 2)

    return {"value": lambda x, kernel, seen: form(x, kernel), "first": first, "second": jax.grad(penalty, (1, 2))}


def main() -> None:
    print(f"{datetime.date.today()}  {os.cpu_count()} cores, {jax.default_backend()}, jax {jax.__version__}")
    print(f"{'layer':<24}{'form':<16}" + "".join(f"{order + ' ms':>12}{'ratio':>7}" for order in orders(shipped)))
    for side, channels, features in SHAPES:
        keys = jax.random.split(jax.random.key(0), 3)
        arguments = (
            jax.random.normal(keys[0], (64, side, side, channels)),
            jax.random.normal(keys[1], (4, 4, channels, features)),
            jax.random.normal(keys[2], (64, 2 * side, 2 * side, features)),
        )
        programs = {(f, o): jax.jit(run) for f, form in FORMS.items() for o, run in orders(form).items()}
        times = {which: [] for which in programs}
        for _ in range(ROUNDS + 1):  # the first compiles
            for which, program in programs.items():
                start = time.perf_counter()
                jax.block_until_ready(program(*arguments))
                times[which].append(time.perf_counter() - start)
        found = {which: statistics.median(seconds[1:]) for which, seconds in times.items()}
        for form in FORMS:
            cells = [
                (found[form, order] * 1e3, found[form, order] / found["shipped", order]) for order in orders(shipped)
            ]
            layer = f"{side}x{side}x{channels} to {features}" if form == "shipped" else ""
            print(f"{layer:<24}{form:<16}" + "".join(f"{ms:>12.1f}{ratio:>7.1f}" for ms, ratio in cells))


if __name__ == "__main__":
    main()
