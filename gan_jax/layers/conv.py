"""Convolutions that are fast on CPUs: in value, in gradients of every order, and inside loops.

Three maps belong to a convolution: of the image (`_down`), back to it (`_up`, the transposed convolution), and of both
to the kernel (`_kernel`). Each is linear in its two arguments, and its gradient by either is another of the three:

    y = _down(x, kernel)      x = _up(y, kernel)      kernel = _kernel(x, y)

So three rules of differentiation give gradients of every order, and only values have to be fast. The compiler's own
gradients are not, on CPUs (JAX 0.10; `benchmarks/convolutions.py` measures what is here beside them):

* inside a loop any convolution whose axes are not in the order of `LAYOUT` takes twenty to eighty times as long, and
  those of its gradients are not: here the operands are transposed instead;
* of a convolution over a dilated input, the gradient by the kernel takes up to thirty times as long, and a gradient
  penalty takes exactly that of a strided convolution; so does a convolution to more pixels than it reads.

On other devices these are the compiler's own, which has all three maps there. The price of the rules: no forward-mode
differentiation (`jax.jvp`) on CPUs.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype, Initializer, PrecisionLike
from jax import lax
from jaxtyping import Array, Float

Padding = str | int | Sequence[tuple[int, int]]
LAYOUT = ("NHWC", "HWIO", "NHWC")
NARROW = 16  # below this many features, as of images, one matrix product is faster than a convolution for each phase


def paddings(kernel: tuple[int, int], strides: tuple[int, int], padding: Padding) -> list[tuple[int, int]]:
    """(before, after) for each side, as `lax.conv_transpose` understands "SAME" and "VALID"; an integer is both."""
    if isinstance(padding, int):
        return [(padding, padding)] * 2
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


class Form(NamedTuple):
    """What the shapes of two of the three do not tell of the third; each of (height, width)."""

    strides: tuple[int, int]
    margins: tuple[tuple[int, int], ...]  # zeros (before, after) the image
    size: tuple[int, int]  # of the image
    taps: tuple[int, int]  # of the kernel


def conv(
    x: Float[Array, "batch height width channels"],
    kernel: Float[Array, "kh kw channels features"],
    strides: tuple[int, int] = (1, 1),
    padding: Padding = "SAME",
    precision: PrecisionLike = None,
) -> Float[Array, "batch h w features"]:
    """Equal to `lax.conv_general_dilated(x, kernel, strides, padding)`.

    precision: of products on accelerators; CPUs have but one.
    """
    taps, size = kernel.shape[:2], x.shape[1:3]
    same_or_valid = isinstance(padding, str)
    pairs = lax.padtype_to_pads(size, taps, strides, padding) if same_or_valid else paddings(taps, strides, padding)
    if jax.default_backend() != "cpu":
        return lax.conv_general_dilated(x, kernel, strides, pairs, dimension_numbers=LAYOUT, precision=precision)
    return _down(x, kernel, Form(tuple(strides), tuple(map(tuple, pairs)), size, taps))


def conv_transpose(
    x: Float[Array, "batch height width channels"],
    kernel: Float[Array, "kh kw channels features"],
    strides: tuple[int, int],
    padding: Padding = "SAME",
) -> Float[Array, "batch h w features"]:
    """Equal to `lax.conv_transpose(x, kernel, strides, padding)`."""
    pairs = paddings(kernel.shape[:2], strides, padding)
    if jax.default_backend() != "cpu":
        return lax.conv_transpose(x, kernel, strides, pairs, dimension_numbers=LAYOUT)
    sides = list(zip(x.shape[1:3], kernel.shape[:2], strides, pairs, strict=True))
    size = tuple((n - 1) * s + 2 - k + sum(pair) for n, k, s, pair in sides)
    before = [k - 1 - pair[0] for _, k, _, pair in sides]
    after = [(n - 1) * s + k - large - b for (n, k, s, _), large, b in zip(sides, size, before, strict=True)]
    form = Form(tuple(strides), tuple(zip(before, after, strict=True)), size, kernel.shape[:2])
    return _up(x, mirrored(kernel), form)


def mirrored(kernel):
    """The kernel of the transposed map, as a convolution of stride 1 takes it."""
    return kernel[::-1, ::-1].swapaxes(2, 3)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _down(x, kernel, form: Form):
    """Images [B,H,W,C] to maps [B,h,w,F]."""
    if form.strides == (1, 1) and kernel.shape[-1] < NARROW:
        size = [n + sum(pair) - k + 1 for n, pair, k in zip(form.size, form.margins, form.taps, strict=True)]
        return _by_patches(x, kernel, form.strides, form.margins, size)
    return lax.conv_general_dilated(x, kernel, form.strides, form.margins, dimension_numbers=LAYOUT)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _up(y, kernel, form: Form):
    """Maps [B,h,w,F] back to images [B,H,W,C]: the transpose of `_down`."""
    sides = zip(y.shape[1:3], *form, strict=True)
    # pixels that no window reaches are those that the transposed convolution leaves zero at the end
    pairs = [(k - 1 - pair[0], n + pair[0] - 1 - (m - 1) * s) for m, s, pair, n, k in sides]
    build = _by_patches if kernel.shape[2] < NARROW else _by_phases
    return build(y, mirrored(kernel), form.strides, pairs, form.size)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _kernel(x, y, form: Form):
    """Images [B,H,W,C] and maps [B,h,w,F] to a kernel [kh,kw,C,F]: every tap's products of what it connects."""
    apart = [(m - 1) * s + 1 for m, s in zip(y.shape[1:3], form.strides, strict=True)]  # the maps, dilated
    sides = zip(apart, form.margins, form.size, form.taps, strict=True)
    margins = [(before, k - 1 + wide - n - before) for wide, (before, _), n, k in sides]
    if any(wide > n for wide, n in zip(apart, form.size, strict=True)) or form.taps == (1, 1):
        x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *((*pair, 0) for pair in margins), (0, 0, 0)])
        margins = [(0, 0), (0, 0)]
    if form.taps == (1, 1):
        x = x[:, :: form.strides[0], :: form.strides[1]]
        return (x.reshape(-1, x.shape[-1]).T @ y.reshape(-1, y.shape[-1]))[None, None]
    swapped = x.transpose(3, 1, 2, 0), y.transpose(1, 2, 0, 3)
    products = lax.conv_general_dilated(*swapped, (1, 1), margins, rhs_dilation=form.strides, dimension_numbers=LAYOUT)
    return products.transpose(1, 2, 0, 3)


def _rule(function, by_first, by_second):
    """`function` is linear in either argument; these are its gradients, of the other argument and of the output's."""

    def forward(first, second, form):
        return function(first, second, form), (first, second)

    def backward(form, seen, given):
        first, second = seen
        return by_first(given, second, form), by_second(first, given, form)

    function.defvjp(forward, backward)


_rule(_down, lambda given, kernel, form: _up(given, kernel, form), lambda x, given, form: _kernel(x, given, form))
_rule(_up, lambda given, kernel, form: _down(given, kernel, form), lambda y, given, form: _kernel(given, y, form))
_rule(_kernel, lambda given, y, form: _up(y, given, form), lambda x, given, form: _down(x, given, form))


def _by_phases(x, kernel, strides, pairs, size):
    """One plain convolution, with every s-th tap, for each phase of the output modulo the stride; then interleaved."""
    cells = [-(-n // s) for n, s in zip(size, strides, strict=True)]  # pixels of one phase

    def phase(*index):
        """y[s m + index] over m: tap t of the kernel meets x[m + (index + t - before) / s]."""
        first = [(pair[0] - i) % s for i, s, pair in zip(index, strides, pairs, strict=True)]
        taps = kernel[first[0] :: strides[0], first[1] :: strides[1]]
        if 0 in taps.shape:  # a stride beyond the kernel leaves gaps
            return jnp.zeros((x.shape[0], *cells, kernel.shape[-1]), x.dtype)
        ahead = [(i + t - p[0]) // s for i, t, s, p in zip(index, first, strides, pairs, strict=True)]
        sides = zip(ahead, taps.shape[:2], cells, x.shape[1:3], strict=True)
        around = [(-a, k - 1 + a + cell - n) for a, k, cell, n in sides]
        return lax.conv_general_dilated(x, taps, (1, 1), around, dimension_numbers=LAYOUT)

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
    """`flax.linen.Conv` in two dimensions, with the same parameters: x [B,H,W,C] to [B,h,w,features]."""

    features: int
    kernel_size: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    padding: Padding = "SAME"
    use_bias: bool = True
    kernel_init: Initializer = nn.initializers.lecun_normal()
    bias_init: Initializer = nn.initializers.zeros_init()
    dtype: Dtype = jnp.float32
    precision: PrecisionLike = None

    @nn.compact
    def __call__(self, x):
        return _layer(self, x, partial(conv, precision=self.precision))


def _layer(layer, x, function):
    kernel = layer.param("kernel", layer.kernel_init, (*layer.kernel_size, x.shape[-1], layer.features))
    y = function(jnp.asarray(x, layer.dtype), jnp.asarray(kernel, layer.dtype), layer.strides, layer.padding)
    if not layer.use_bias:
        return y
    return y + layer.param("bias", layer.bias_init, (layer.features,)).astype(layer.dtype).reshape(1, 1, 1, -1)
