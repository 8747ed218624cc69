import jax.numpy as jnp
def concat_label(x, y=None):
    if y is None: return x
    y = y.astype(x.dtype).reshape(y.shape[0], *[1]*(x.ndim-2), y.shape[-1])
    return jnp.concatenate([x, jnp.broadcast_to(y, (*x.shape[:-1], y.shape[-1]))], -1)
