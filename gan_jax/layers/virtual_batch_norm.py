"""Virtual batch normalisation (Salimans et al., 2016, arXiv:1606.03498, section 3.5).

Batch norm makes the output for one example depend on the others of its batch. Here it depends on the example itself and
on a reference batch that is chosen once: each layer normalises by the statistics of the reference batch together with
the example. They change as the weights do, so the network runs twice, over the reference batch and over the examples,
which is why the paper has it in the generator only.

    generator = WithReference(Generator(norm=VirtualBatchNorm, ...))      # layers inside, the reference batch around
"""

from collections.abc import Callable

import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype, Initializer

SEEN = "virtual"  # the collection in which the layers leave the reference's statistics, within a call and no longer


class VirtualBatchNorm(nn.Module):
    """x [B, ..., C]: each example normalised by a mean and a variance of its own.

    They are those of its positions, with weight 1 / (R + 1), and of a reference batch of R, with weight R / (R + 1).
    Over the reference batch itself, and where parameters are drawn, this is plain batch norm.

    Raises:
      ValueError: outside of `WithReference`.
    """

    use_scale: bool = True
    use_bias: bool = True
    epsilon: float = 1e-5
    scale_init: Initializer = nn.initializers.ones_init()
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x, *, train: bool):
        h = x.astype(jnp.float32)
        own = moments(h)  # [B, 1, ..., C]
        if self.is_mutable_collection(SEEN):
            mean, square = (moment.mean(axis=0, keepdims=True) for moment in own)
            for name, value in (("mean", mean), ("square", square), ("share", jnp.full((), 1.0 / (len(x) + 1)))):
                self.put_variable(SEEN, name, value)
        elif self.has_variable(SEEN, "mean"):
            share = self.get_variable(SEEN, "share")
            reference = (self.get_variable(SEEN, name) for name in ("mean", "square"))
            mean, square = (share * a + (1.0 - share) * b for a, b in zip(own, reference, strict=True))
        else:
            raise ValueError("VirtualBatchNorm has seen no reference batch: put the network into WithReference")
        variance = jnp.maximum(square - mean**2, 0.0)
        y = (h - mean) / jnp.sqrt(variance + self.epsilon)
        wide = (*[1] * (x.ndim - 1), x.shape[-1])
        if self.use_scale:
            y = y * self.param("scale", self.scale_init, wide[-1:]).reshape(wide)
        if self.use_bias:
            y = y + self.param("bias", nn.initializers.zeros_init(), wide[-1:]).reshape(wide)
        return y.astype(self.dtype)


def moments(h):
    """The mean and the mean square of each example's channels over its positions: [B, 1, ..., C] both."""
    places = tuple(range(1, h.ndim - 1))
    return (h.mean(axis=places, keepdims=True), (h**2).mean(axis=places, keepdims=True)) if places else (h, h**2)


class WithReference(nn.Module):
    """A network with virtual batch norm, and its reference batch: the inputs that it is initialised with.

    The batch stays as it is in the collection "reference"; the network's parameters are below `network`. Other
    collections it may not have.

    Args:
      place: applied to the reference batch before it is used, e.g. `latents.constrain`, so that a mesh splits it.
    """

    inner: nn.Module
    place: Callable = lambda x: x

    @nn.compact
    def __call__(self, *inputs, train: bool):
        inner = self.inner.clone(parent=None)
        stored = [self.variable("reference", str(i), lambda x=x: x).value for i, x in enumerate(inputs)]
        params = self.param("network", lambda rng: inner.init(rng, *inputs, train=train)["params"])

        def run(variables, inputs, **options):
            rngs = {"dropout": self.make_rng("dropout")} if self.has_rng("dropout") else None
            return inner.apply(variables, *inputs, train=train, rngs=rngs, **options)

        _, seen = run({"params": params}, map(self.place, stored), mutable=[SEEN])
        return run({"params": params, **seen}, inputs)
