"""The small classifier network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.nets.classifier import SmallCNN


def count(module, shape):
    params = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros(shape))["params"]
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def test_parameter_counts():
    convolutions = (9 + 1) * 16 + (9 * 16 + 1) * 32
    assert count(SmallCNN(10), (1, 28, 28, 1)) == convolutions + (7 * 7 * 32 + 1) * 64 + 65 * 10
    deeper = (9 * 3 + 1) * 4 + (9 * 4 + 1) * 8 + (9 * 8 + 1) * 8
    assert count(SmallCNN(5, (4, 8, 8), 16), (1, 32, 32, 3)) == deeper + (4 * 4 * 8 + 1) * 16 + 17 * 5


@pytest.mark.parametrize(("shape", "classes"), [((2, 28, 28, 1), 10), ((3, 7, 9, 3), 4), ((1, 64, 32, 2), 2)])
def test_shapes_of_any_images(shape, classes):
    logits, features = jax.eval_shape(
        lambda x: SmallCNN(classes).init_with_output(jax.random.key(0), x)[0], jnp.zeros(shape)
    )
    assert (logits.shape, features.shape) == ((shape[0], classes), (shape[0], 64))
    assert logits.dtype == features.dtype == jnp.float32


def test_bytes_are_what_they_stand_for():
    module = SmallCNN(3, (2,), 5)
    images = np.random.default_rng(0).integers(256, size=(4, 6, 5, 1)).astype(np.uint8)
    params = jax.jit(module.init)(jax.random.key(0), images)
    apply = jax.jit(module.apply)
    logits, features = apply(params, images)
    other = apply(params, (images / 255).astype(np.float32))
    np.testing.assert_allclose(logits, other[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(features, other[1], rtol=1e-5, atol=1e-6)
    assert (features >= 0).all()
    assert features.max() > 0
