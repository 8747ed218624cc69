"""The patch discriminator: its parameters to the last, and what one logit sees, by recursion and by gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.nets import patchgan


def parameters(module, shape):
    made = jax.eval_shape(lambda: module.init(jax.random.key(0), jnp.zeros((1, *shape)), train=True))
    return sum(leaf.size for leaf in jax.tree.leaves(made["params"]))


def output(module, shape):
    made = jax.eval_shape(lambda: module.init_with_output(jax.random.key(0), jnp.zeros((1, *shape)), train=True))[0]
    assert made.dtype == jnp.float32
    return made.shape[1:]


@pytest.mark.parametrize(
    ("layers", "side", "count", "made"),
    [
        (1, 16, 139_585, 126),
        (2, 34, 666_433, 62),
        (3, 70, 2_768_705, 30),
        (4, 142, 6_964_033, 14),
        (5, 286, 11_159_361, 6),
    ],
)
def test_the_papers_discriminators(layers, side, count, made):
    module = patchgan.PatchGAN(layers)
    assert patchgan.PATCHES[str(side)] == layers
    assert patchgan.window(layers) == side
    assert parameters(module, (256, 256, 6)) == count
    assert output(module, (256, 256, 6)) == (made, made)


def test_single_pixels():
    assert patchgan.window(patchgan.PATCHES["1"]) == 1
    module = patchgan.PatchGAN(0)
    assert output(module, (256, 256, 6)) == (256, 256)
    # 1x1 convolutions 6 to 64, 64 to 128 without a bias, a batch norm, and 128 to 1
    assert parameters(module, (256, 256, 6)) == (6 + 1) * 64 + 64 * 128 + 2 * 128 + 128 + 1


def test_cyclegans_discriminator():
    module = patchgan.PatchGAN(3, norm=patchgan.InstanceNorm)
    assert parameters(module, (256, 256, 3)) == 2_764_737
    assert output(module, (256, 256, 3)) == (30, 30)


@pytest.mark.parametrize(("side", "size"), [(1, 4), (16, 24), (70, 96)])
def test_one_logit_depends_on_exactly_its_window(side, size):
    module = patchgan.PatchGAN(patchgan.PATCHES[str(side)], width=1, norm=patchgan.Unchanged)
    x = jnp.ones((1, size, size, 1))
    made = jax.eval_shape(lambda: module.init(jax.random.key(0), x, train=False))
    made = jax.tree.map(lambda leaf: np.full(leaf.shape, 0.1, np.float32), made)  # positive, so that nothing cancels

    def middle(x):
        logits = module.apply(made, x, train=False)[0]
        return logits[logits.shape[0] // 2, logits.shape[1] // 2]

    seen = np.asarray(jax.jit(jax.grad(middle))(x))[0, :, :, 0] != 0
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    assert len(rows) == len(columns) == side
    assert seen[np.ix_(rows, columns)].all()
    assert rows[-1] - rows[0] == side - 1


def test_norms():
    rng = np.random.default_rng(0)
    x = (3 + 2 * rng.normal(size=(4, 5, 6, 2)) * np.arange(1.0, 5.0).reshape(4, 1, 1, 1)).astype(np.float32)
    made = np.asarray(jax.jit(lambda x: patchgan.InstanceNorm().apply({}, x, train=True))(x))
    np.testing.assert_allclose(made.mean(axis=(1, 2)), 0.0, atol=1e-5)
    np.testing.assert_allclose(made.std(axis=(1, 2)), 1.0, atol=1e-4)
    start = np.asarray(patchgan.gains(jax.random.key(1), (1000,)))
    assert abs(start.mean() - 1.0) < 0.003
    assert abs(start.std() - 0.02) < 0.002
