"""Self-attention: every pixel gathers from all others what its neighbourhood cannot tell it."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype

from gan_jax.layers.conv import Conv
from gan_jax.layers.resample import max_pool


class SelfAttention(nn.Module):
    """x [B,H,W,C] to x + gamma o(softmax(q k^T) v), a softmax over places, not scaled by their number of channels.

    Queries and keys have an eighth of the channels, values a half; keys and values are those of the strongest of four
    pixels, so that H W queries meet H W / 4 keys. gamma starts from 0: at first x passes as it is. None of the 1x1
    convolutions has a bias. Weights of the softmax are float32, whatever the features are in.

    Zhang, Goodfellow, Metaxas, Odena, 2018, arXiv:1805.08318, section 3, with the pooling of the authors' code.

    Raises:
      InputError: if a side is odd.
    """

    conv: Callable = Conv
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x):
        def project(features, name, y=x):
            return self.conv(max(features, 1), (1, 1), use_bias=False, dtype=self.dtype, name=name)(y)

        channels = x.shape[-1]
        queries = places(project(channels // 8, "query"))
        keys = places(max_pool(project(channels // 8, "key")))
        values = places(max_pool(project(channels // 2, "value")))
        nearness = jnp.einsum("bqc,bkc->bqk", queries, keys, preferred_element_type=jnp.float32)
        weights = jax.nn.softmax(nearness, axis=-1).astype(self.dtype)
        gathered = jnp.einsum("bqk,bkc->bqc", weights, values).reshape(*x.shape[:-1], -1)
        gamma = self.param("gamma", nn.initializers.zeros, ())
        return x + gamma.astype(self.dtype) * project(channels, "output", gathered)


def places(x):
    """[B,H,W,C] to [B,HW,C], row by row."""
    return x.reshape(x.shape[0], -1, x.shape[-1])
