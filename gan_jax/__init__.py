"""gan_jax: the GANs of the literature, one readable file per paper, trained by one loop."""


def load(workdir, step=None, *, weights="average"):
    """The generator of a run directory, to be sampled and looked at: see `gan_jax.analysis.sampler`."""
    from gan_jax.analysis import sampler  # not before it is asked for: it takes seconds to import JAX

    return sampler.load(workdir, step, weights=weights)
