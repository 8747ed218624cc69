"""Transposed convolution that is fast in value and in gradients of first and second order."""

from collections.abc import Sequence

import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype, Initializer
from jax import lax
from jaxtyping import Array, Float

Padding = str | Sequence[tuple[int, int]]


def paddings(kernel: tuple[int, int], strides: tuple[int, int], padding: Padding) -> list[tuple[int, int]]:
    """(before, after) for each side, as `lax.conv_transpose` understands "SAME" and "VALID"."""
    if not isinstance(padding, str):
        return [tuple(pair) for pair in padding]
    made = []
    for k, s in zip(kernel, strides, strict=True):
        if padding == "SAME":
            total = k + s - 2
            before = k - 1 if s > k - 1 else -(-total // 2)
        else:
            total, before = k + s - 2 + max(k - s, 0), k - 1
        made.append((before, total - before))
    return made


def conv_transpose(
    x: Float[Array, "batch height width channels"],
    kernel: Float[Array, "kh kw channels features"],
    strides: tuple[int, int],
    padding: Padding = "SAME",
) -> Float[Array, "batch h w features"]:
    """Equal to `lax.conv_transpose(x, kernel, strides, padding)`, by another road.

    Each pixel is multiplied with the whole kernel in one matrix product, and the overlapping patches are added up by
    shifts. All orders of derivatives are then matrix products and shifts again. The compiler's own gradient by the
    kernel of a dilated convolution is up to thirty times slower on CPUs, and slow elsewhere too; see
    `benchmarks/transposed_conv.py`.
    """
    size, taps = x.shape[1:3], kernel.shape[:2]
    channels, features = kernel.shape[2:]
    tiles = [-(-k // s) for k, s in zip(taps, strides, strict=True)]  # output tiles of one stride that a patch covers
    flipped = jnp.pad(
        kernel[::-1, ::-1], [(0, n * s - k) for n, s, k in zip(tiles, strides, taps, strict=True)] + [(0, 0)] * 2
    )
    cut = flipped.reshape(tiles[0], strides[0], tiles[1], strides[1], channels, features)
    matrix = cut.transpose(4, 0, 2, 1, 3, 5).reshape(channels, -1)
    patches = (x.reshape(-1, channels) @ matrix).reshape(-1, *size, *tiles, *strides, features)
    total = sum(
        jnp.pad(
            patches[:, :, :, i, j],
            ((0, 0), (i, tiles[0] - 1 - i), (j, tiles[1] - 1 - j), (0, 0), (0, 0), (0, 0)),
        )
        for i in range(tiles[0])
        for j in range(tiles[1])
    )
    rows, columns = total.shape[1] * strides[0], total.shape[2] * strides[1]
    full = total.transpose(0, 1, 3, 2, 4, 5).reshape(-1, rows, columns, features)
    return _crop(full, size, taps, strides, paddings(taps, strides, padding))


def _crop(full, size, taps, strides, padding):
    """The part of the full overlap that the padding asks for; negative margins cut."""
    margins = [(0, 0, 0)]
    for side in (0, 1):
        before = padding[side][0] - (taps[side] - 1)
        length = (size[side] - 1) * strides[side] + 2 - taps[side] + sum(padding[side])
        margins.append((before, length - before - full.shape[1 + side], 0))
    return lax.pad(full, jnp.zeros((), full.dtype), [*margins, (0, 0, 0)])


class ConvTranspose(nn.Module):
    """`flax.linen.ConvTranspose` in two dimensions, with the same parameters: x [B,H,W,C] to [B,h,w,features]."""

    features: int
    kernel_size: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    padding: Padding = "SAME"
    use_bias: bool = True
    kernel_init: Initializer = nn.initializers.lecun_normal()
    bias_init: Initializer = nn.initializers.zeros_init()
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x):
        kernel = self.param("kernel", self.kernel_init, (*self.kernel_size, x.shape[-1], self.features))
        y = conv_transpose(x.astype(self.dtype), kernel.astype(self.dtype), self.strides, self.padding)
        if self.use_bias:
            y = y + self.param("bias", self.bias_init, (self.features,)).astype(self.dtype).reshape(1, 1, 1, -1)
        return y
