"""The mesh: its shape, what is sharded on it, and which rows a process reads."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax.sharding import PartitionSpec as P

from gan_jax import contract, parallel
from gan_jax.errors import InputError


@pytest.mark.parametrize(
    ("axes", "shape"),
    [({"data": -1, "fsdp": 1}, (8, 1)), ({"data": 2, "fsdp": -1}, (2, 4)), ({"data": 4, "fsdp": 2}, (4, 2))],
)
def test_mesh_shapes(axes, shape):
    mesh = parallel.make_mesh(axes)
    assert tuple(mesh.shape.values()) == shape
    assert parallel.batch_shards(mesh) == 8


@pytest.mark.parametrize("axes", [{"data": 3, "fsdp": 1}, {"data": -1, "fsdp": -1}, {"data": 0}, {"model": 2}])
def test_impossible_meshes_are_refused(axes):
    with pytest.raises(InputError, match=r"config\.mesh"):
        parallel.make_mesh(axes)


def test_batches_must_divide():
    mesh = parallel.make_mesh({"data": -1})
    parallel.check_batch_size(64, mesh)
    with pytest.raises(InputError, match=r"config\.batch_size=60.*multiple of 8"):
        parallel.check_batch_size(60, mesh)


def test_fsdp_splits_large_leaves_and_only_those():
    state = {
        "large": jnp.zeros((3, 256, 128)),
        "small": jnp.zeros((8,)),
        "odd": jnp.zeros((331, 331)),
        "step": jnp.int32(0),
    }
    split = parallel.state_sharding(state, parallel.make_mesh({"data": 2, "fsdp": 4}))
    assert split["large"].spec == P(None, "fsdp", None)
    assert split["small"].spec == split["odd"].spec == split["step"].spec == P()
    whole = parallel.state_sharding(state, parallel.make_mesh({"data": -1, "fsdp": 1}))
    assert all(sharding.spec == P() for sharding in jax.tree.leaves(whole))


def test_rows_and_global_arrays():
    mesh = parallel.make_mesh({"data": 4, "fsdp": 2})
    rows = parallel.local_rows(mesh, 16)
    np.testing.assert_array_equal(rows, np.arange(16))  # one process reads everything
    values = np.arange(3 * 16 * 2).reshape(3, 16, 2)
    array = parallel.global_array(values, rows, mesh, 16, axis=1)
    assert array.sharding.shard_shape(array.shape) == (3, 2, 2)
    np.testing.assert_array_equal(np.asarray(array), values)


def test_constrain_does_nothing_without_a_mesh():
    x = jnp.ones((5, 2))
    np.testing.assert_array_equal(parallel.constrain(x), x)


class Line(nn.Module):
    @nn.compact
    def __call__(self, x, *, train):
        return nn.Dense(1)(x)[:, 0]


def test_microbatches_give_the_gradient_of_one_large_batch():
    import optax

    tx = optax.sgd(0.1)
    x, y = jax.random.normal(jax.random.key(0), (32, 3)), jax.random.normal(jax.random.key(1), (32,))
    net = contract.create(Line(), tx, jax.random.key(2), x, train=True)

    def loss(params, piece=(x, y)):
        inputs, targets = piece
        error = jnp.mean((contract.apply(Line(), net, inputs, params=params, train=True)[0] - targets) ** 2)
        return error, (net.stats, {"error": error})

    whole, seen = contract.descend(net, tx, loss)
    parts, also = contract.descend(net, tx, loss, contract.split((x, y), 4))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), whole.params, parts.params)
    np.testing.assert_allclose(seen["error"], also["error"], rtol=1e-6)


def test_ema_and_its_half_life():
    net = contract.Net(params={"w": jnp.zeros(2)}, stats={})
    average = contract.Net(params={"w": jnp.ones(2)}, stats={})
    decay = contract.ema_decay(half_life=640.0, batch_size=64)
    for _ in range(10):  # 640 images
        average = contract.ema(average, net, decay)
    np.testing.assert_allclose(average.params["w"], 0.5, rtol=1e-5)
    np.testing.assert_array_equal(contract.ema(average, net, contract.ema_decay(0.0, 64)).params["w"], net.params["w"])


def test_carry_over_keeps_networks_that_fit():
    def state(width, value):
        params = {"a": jnp.full((2,), value), "b": jnp.full((width,), value)}
        net = contract.Net(params=params, stats={"mean": jnp.full((2,), value)}, opt=(jnp.full((2,), value),))
        return contract.State(step=jnp.int32(value), g=net, d=net, average=net)

    new = contract.carry_over(state(2, 1.0), state(3, 2.0))
    assert float(new.g.params["a"][0]) == 1.0
    assert float(new.g.params["b"][0]) == 2.0  # its shape changed
    assert float(new.g.stats["mean"][0]) == 1.0
    assert float(new.g.opt[0][0]) == 2.0
    assert int(new.step) == 2
