import jax, jax.numpy as jnp
from flax import linen as nn
def uniform(a): return lambda k,s,d=jnp.float32: jax.random.uniform(k,s,d,-a,a)
class Maxout(nn.Module):
    units:int; pieces:int; kernel_init: object; dtype: object=jnp.float32
    @nn.compact
    def __call__(self,x):
        h=nn.Dense(self.units*self.pieces,kernel_init=self.kernel_init,dtype=self.dtype)(x)
        return h.reshape(*x.shape[:-1],self.units,self.pieces).max(-1)
