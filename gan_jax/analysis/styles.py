"""What the layers of a style-based generator have learned (Karras et al., 2018, arXiv:1812.04948).

The operations on latents w [..., L, D] are those of `layers/styles.py`.
"""

from gan_jax.layers.styles import broadcast, edit, mix, truncate

__all__ = ["broadcast", "edit", "mix", "truncate"]
