"""Standing statistics: moments of batch norm that belong to what is sampled (Brock et al., 2018, arXiv:1809.11096,
appendix D).

The moments that training averages lag behind the weights, and are those of untruncated latents of all classes. Here
they are the means over some passes of the very generator that is sampled, over latents and labels of the kind that will
be: a bound of truncation wants moments of its own.
"""

import dataclasses

import jax

from gan_jax import contract, parallel
from gan_jax.errors import InputError


def standing(
    sampler, passes: int = 16, batch_size: int = 64, *, seed: int = 0, truncation: float | None = None, labels=None
):
    """The sampler, its generator with the moments of so many batches of samples; its `weights` say so.

    Args:
      batch_size: the larger, the nearer a batch's moments are to those of all samples; devices share it.
      seed, truncation, labels: of the latents and classes that the moments are taken over, as in `Sampler.sample`.

    Raises:
      InputError: for a GAN that has no standing statistics, or a truncation or labels that it does not know.
    """
    if not hasattr(sampler.gan, "stand"):
        raise InputError(f"'{sampler.config.gan}' has no standing statistics; BigGAN has")
    shards = parallel.batch_shards(sampler.mesh)
    number = passes * -(-batch_size // shards) * shards
    z = sampler.latents(number, seed, truncation=truncation)

    def stand(state, *drawn):
        return sampler.gan.stand(state, *contract.split(drawn, passes))

    shardings = jax.tree.map(lambda leaf: leaf.sharding, sampler.state)
    with jax.set_mesh(sampler.mesh):
        told = {"label": sampler.labels(number, labels)}
        state = jax.jit(stand, out_shardings=shardings)(sampler.state, z, told)
    return dataclasses.replace(sampler, state=state, weights=f"{sampler.weights}_standing{passes}")
