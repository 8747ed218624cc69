"""gan_jax: the GANs of the literature, one readable file per paper, trained by one loop."""
