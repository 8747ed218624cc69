"""Noise inside a network, drawn from the stream "dropout" as flax's own dropout draws it, or given as an input."""

import jax
from flax import linen as nn


class GaussianNoise(nn.Module):
    """x plus normal noise of this standard deviation; x itself where it is 0 or the network is not in training."""

    deviation: float

    @nn.compact
    def __call__(self, x, *, train: bool):
        if not train or self.deviation == 0.0:
            return x
        return x + self.deviation * jax.random.normal(self.make_rng("dropout"), x.shape, x.dtype)


class Disturbance(nn.Module):
    """Dropout and Gaussian noise for the hidden layers of a generator, in training (ganhacks, tips 13 and 17)."""

    dropout: float = 0.0
    noise: float = 0.0

    @nn.compact
    def __call__(self, x, *, train: bool):
        x = nn.Dropout(self.dropout, deterministic=not train or self.dropout == 0.0)(x)
        return GaussianNoise(self.noise)(x, train=train)


class PixelNoise(nn.Module):
    """x [B,H,W,C] plus a map [B,H,W,1] times a learned strength for each channel, 0 at the start (Karras et al., 2018,
    arXiv:1812.04948, section 3.2)."""

    @nn.compact
    def __call__(self, x, noise):
        strength = self.param("strength", nn.initializers.zeros_init(), x.shape[-1:])
        return x + strength.astype(x.dtype).reshape(1, 1, 1, -1) * noise.astype(x.dtype)
