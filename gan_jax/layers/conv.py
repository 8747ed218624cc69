from flax.linen import ConvTranspose
