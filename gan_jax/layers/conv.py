"""Strided and transposed convolutions that are fast in value and in gradients of first and second order.

Two facts about compilers shape this file; `benchmarks/transposed_conv.py` measures both.

* A convolution over a dilated input is fast, its gradient by the kernel is not: up to thirty times slower on CPUs. A
  gradient penalty takes exactly that gradient of a strided convolution, whose gradient by the input is a dilated one.
* On CPUs the kernel's gradient of any convolution is as slow where the output is larger than the input, and the same
  holds, one order higher, where it is smaller.

So everything here is made of convolutions of stride 1 whose output is as large as their input, or of one product.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype, Initializer
from jax import lax
from jaxtyping import Array, Float

Padding = str | Sequence[tuple[int, int]]
LAYOUT = ("NHWC", "HWIO", "NHWC")
NARROW = 16  # below this many features, as of images, one matrix product is faster than a convolution for each phase


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
    """Equal to `lax.conv_transpose(x, kernel, strides, padding)` of dilated inputs, without dilating any."""
    pairs = paddings(kernel.shape[:2], strides, padding)
    sides = zip(x.shape[1:3], kernel.shape[:2], strides, pairs, strict=True)
    size = tuple((n - 1) * s + 2 - k + sum(pair) for n, k, s, pair in sides)
    form = _by_patches if kernel.shape[-1] < NARROW else _by_phases
    return form(x, kernel, strides, pairs, size)


def conv(
    x: Float[Array, "batch height width channels"],
    kernel: Float[Array, "kh kw channels features"],
    strides: tuple[int, int],
    padding: Padding = "SAME",
) -> Float[Array, "batch h w features"]:
    """Equal to `lax.conv_general_dilated(x, kernel, strides, padding)`: the transpose of a transposed convolution; of
    stride 1 that is a plain one itself."""
    taps, size = kernel.shape[:2], x.shape[1:3]
    pairs = lax.padtype_to_pads(size, taps, strides, padding) if isinstance(padding, str) else padding
    if tuple(strides) == (1, 1) and kernel.shape[-1] < NARROW:
        return conv_transpose(x, kernel, strides, pairs)
    sides = list(zip(size, taps, strides, pairs, strict=True))
    made = tuple((n + sum(pair) - k) // s + 1 for n, k, s, pair in sides)
    # the input's pixels that no window reaches are those that the transposed convolution leaves zero at the end
    back = [(k - 1 - pair[0], n + pair[0] - 1 - (m - 1) * s) for (n, k, s, pair), m in zip(sides, made, strict=True)]
    mirrored = kernel[::-1, ::-1].swapaxes(2, 3)
    shape = jax.ShapeDtypeStruct((x.shape[0], *made, kernel.shape[-1]), x.dtype)
    return jax.linear_transpose(lambda y: conv_transpose(y, mirrored, strides, back), shape)(x)[0]


def _by_phases(x, kernel, strides, pairs, size):
    """One plain convolution, with every s-th tap, for each phase of the output modulo the stride; then interleaved."""
    cells = [-(-n // s) for n, s in zip(size, strides, strict=True)]  # pixels of one phase
    larger = [max(n, m) for n, m in zip(x.shape[1:3], cells, strict=True)]
    x = jnp.pad(x, ((0, 0), *((0, big - n) for big, n in zip(larger, x.shape[1:3], strict=True)), (0, 0)))

    def phase(*index):
        """y[s m + index] over m: tap t of the kernel meets x[m + (index + t - before) / s]."""
        first = [(pair[0] - i) % s for i, s, pair in zip(index, strides, pairs, strict=True)]
        taps = kernel[first[0] :: strides[0], first[1] :: strides[1]]
        if 0 in taps.shape:  # a stride beyond the kernel leaves gaps
            return jnp.zeros((x.shape[0], *cells, kernel.shape[-1]), x.dtype)
        ahead = [(i + t - p[0]) // s for i, t, s, p in zip(index, first, strides, pairs, strict=True)]
        around = [(-a, k - 1 + a) for a, k in zip(ahead, taps.shape[:2], strict=True)]
        return lax.conv_general_dilated(x, taps, (1, 1), around, dimension_numbers=LAYOUT)[:, : cells[0], : cells[1]]

    rows = [jnp.stack([phase(i, j) for j in range(strides[1])], axis=3) for i in range(strides[0])]
    full = jnp.stack(rows, axis=2)  # [batch, cell, phase, cell, phase, features]
    full = full.reshape(x.shape[0], cells[0] * strides[0], cells[1] * strides[1], -1)
    return full[:, : size[0], : size[1]]


def _by_patches(x, kernel, strides, pairs, size):
    """Every pixel times the whole kernel in one matrix product; the overlapping patches are added up by shifts."""
    taps, (channels, features) = kernel.shape[:2], kernel.shape[2:]
    tiles = [-(-k // s) for k, s in zip(taps, strides, strict=True)]  # tiles of one stride that a patch covers
    missing = [(0, n * s - k) for n, s, k in zip(tiles, strides, taps, strict=True)]
    cut = jnp.pad(kernel[::-1, ::-1], (*missing, (0, 0), (0, 0)))
    cut = cut.reshape(tiles[0], strides[0], tiles[1], strides[1], channels, features)
    matrix = cut.transpose(4, 0, 2, 1, 3, 5).reshape(channels, -1)
    patches = (x.reshape(-1, channels) @ matrix).reshape(*x.shape[:3], -1)
    pieces = lax.split(patches, [patches.shape[-1] // (tiles[0] * tiles[1])] * (tiles[0] * tiles[1]), axis=3)
    total = jnp.zeros(())  # in float32, as convolutions add
    for index, piece in enumerate(pieces):
        i, j = divmod(index, tiles[1])
        around = ((0, 0), (i, tiles[0] - 1 - i), (j, tiles[1] - 1 - j), (0, 0))
        total = total + jnp.pad(piece, around).astype(total.dtype)
    height, width = total.shape[1:3]
    full = total.astype(x.dtype).reshape(-1, height, width, *strides, features).transpose(0, 1, 3, 2, 4, 5)
    full = full.reshape(-1, height * strides[0], width * strides[1], features)
    before = [pair[0] - (k - 1) for pair, k in zip(pairs, taps, strict=True)]  # negative margins cut
    margins = [(b, n - b - have, 0) for b, n, have in zip(before, size, full.shape[1:3], strict=True)]
    return lax.pad(full, jnp.zeros((), full.dtype), [(0, 0, 0), *margins, (0, 0, 0)])


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
        return _layer(self, x, conv_transpose)


class Conv(nn.Module):
    """`flax.linen.Conv` in two dimensions, with the same parameters; for critics under gradient penalties."""

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
        return _layer(self, x, conv)


def _layer(layer, x, function):
    kernel = layer.param("kernel", layer.kernel_init, (*layer.kernel_size, x.shape[-1], layer.features))
    y = function(jnp.asarray(x, layer.dtype), jnp.asarray(kernel, layer.dtype), layer.strides, layer.padding)
    if not layer.use_bias:
        return y
    return y + layer.param("bias", layer.bias_init, (layer.features,)).astype(layer.dtype).reshape(1, 1, 1, -1)
