"""Optimisers against what their sources compute, and what may be put before them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gan_jax import config as base
from gan_jax import contract, optimizers
from gan_jax.errors import InputError


def run(tx, gradients, start=0.0, moved=True):
    """The parameter after each of these gradients; `moved`: or the updates themselves."""
    params, found = {"w": jnp.full((1,), start)}, []
    state = tx.init(params)
    with jax.numpy_dtype_promotion("standard"):
        for gradient in gradients:
            updates, state = tx.update({"w": jnp.full((1,), gradient)}, state, params)
            params = optax.apply_updates(params, updates)
            found.append(float((params if moved else updates)["w"][0]))
    return found


@pytest.mark.parametrize("gradient", [1.0, 1e-4, 1e-6])
def test_adam_inside_root(gradient):
    """m / sqrt(v + 1e-8): a constant gradient g moves by rate g / sqrt(g^2 + 1e-8), which is small for small g."""
    tx = optimizers.build(base.optimizer("adam_inside_root", 3e-3, b1=0.5, b2=0.999))
    expected = -3e-3 * gradient / np.sqrt(gradient**2 + 1e-8)
    np.testing.assert_allclose(run(tx, [gradient] * 3, moved=False), [expected] * 3, rtol=1e-3)


def test_adam_has_epsilon_outside():
    tx = optimizers.build(base.optimizer("adam", 3e-3, b1=0.5, b2=0.999))
    np.testing.assert_allclose(run(tx, [1e-6] * 3, moved=False), [-3e-3 / 1.01] * 3, rtol=1e-3)


class TestHistoricalAveraging:
    """Gradient 2 w (theta - mean of all theta so far, this one included)."""

    def test_by_hand(self):
        """Rate 1, w = 1/4, gradient -1 throughout. theta: 0; mean 0, so 1; mean 1/2, pull 1/4, so 1 3/4; mean 11/12,
        pull 5/12, so 2 1/3."""
        tx = optimizers.build(base.optimizer("sgd", 1.0, b1=0.0, historical=0.25))
        np.testing.assert_allclose(run(tx, [-1.0] * 3), [1.0, 1.75, 7 / 3], rtol=1e-6)

    def test_without_a_gradient_parameters_that_stay_are_left_alone(self):
        tx = optimizers.build(base.optimizer("sgd", 1.0, b1=0.0, historical=10.0))
        assert run(tx, [0.0] * 4, start=5.0) == [5.0] * 4

    def test_it_pulls_back_a_game_that_goes_round_in_circles(self):
        """min_x max_y x y, simultaneous steps of .1: alone, the distance from the equilibrium grows by 1.005 each time;
        with historical averaging it shrinks (section 3.3)."""

        def distance(historical):
            tx = optimizers.build(base.optimizer("sgd", 0.1, b1=0.0, historical=historical))
            point, state = jnp.array([1.0, 0.0]), tx.init(jnp.array([1.0, 0.0]))

            def step(carry, _):
                point, state = carry
                with jax.numpy_dtype_promotion("standard"):
                    updates, state = tx.update(jnp.stack([point[1], -point[0]]), state, point)
                return (optax.apply_updates(point, updates), state), None

            (point, _), _ = jax.lax.scan(step, (point, state), length=600)
            return float(jnp.linalg.norm(point))

        assert distance(0.0) > 10.0
        assert distance(0.5) < 0.25

    def test_its_state_shares_nothing_with_the_parameters(self):
        tx = optimizers.build(base.optimizer("adam", 1e-3, historical=1.0))
        params = {"w": jnp.ones((3,))}
        leaves = jax.tree.leaves((params, tx.init(params)))
        places = [leaf.unsafe_buffer_pointer() for leaf in leaves]
        assert len(places) == len(set(places))

    def test_off_it_is_not_there(self):
        tx = optimizers.build(base.optimizer("adam", 1e-3))
        plain = optax.adam(1e-3, b1=0.9, b2=0.999, eps=1e-8)
        assert jax.tree.structure(tx.init(jnp.ones(3))) == jax.tree.structure(plain.init(jnp.ones(3)))
        assert run(tx, [0.3, -0.2, 0.5]) == run(plain, [0.3, -0.2, 0.5])

    def test_it_works_beside_l2_and_a_decay(self):
        """The penalties add up before the optimiser, whose rate falls from 1 to 0 over two updates."""
        section = base.optimizer("sgd", 1.0, b1=0.0, l2=0.5, historical=0.25, decay_steps=2)
        np.testing.assert_allclose(run(optimizers.build(section), [-1.0, -1.0, -1.0]), [1.0, 1.125, 1.125], rtol=1e-6)


@pytest.mark.parametrize("name", sorted(optimizers.BY_NAME))
def test_every_optimiser_descends_in_float32(name):
    """A first step goes against the gradient, and parameters and state keep their types."""
    tx = optimizers.build(base.optimizer(name, 1e-2, b1=0.5, b2=0.9, historical=0.1))
    params = {"w": jnp.array([1.0, -2.0])}
    net = contract.Net(params=params, stats={}, opt=tx.init(params))
    moved, _ = contract.descend(net, tx, lambda params: (jnp.sum(params["w"] ** 2), ((), ())))
    assert (jnp.sign(moved.params["w"] - params["w"]) == -jnp.sign(params["w"])).all()
    types = [jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), n.opt) for n in (net, moved)]
    assert types[0] == types[1]


def test_rates_fall_linearly_from_where_they_are_told():
    tx = optimizers.build(base.optimizer("sgd", 1.0, b1=0.0, decay_begin=2, decay_steps=4))
    found = run(tx, [-1.0] * 8, moved=False)
    np.testing.assert_allclose(found, [1.0, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0, 0.0], atol=1e-6)


def test_unknown_name():
    with pytest.raises(InputError, match=r"config.model.g_optimizer.name.*Did you mean 'adam'"):
        optimizers.build(base.optimizer("adm", 1e-3), "g_optimizer")


def test_a_restarted_optimizer_forgets():
    """Momentum .9: 1, 1.9, 2.71 steps; from nothing again at update 3, and never after."""
    tx = optimizers.restarted(optax.sgd(1.0, momentum=0.9), at=3)
    np.testing.assert_allclose(run(tx, [-1.0] * 6, moved=False), [1.0, 1.9, 2.71, 1.0, 1.9, 2.71], rtol=1e-6)


def test_a_ramp_begins_anew_with_its_optimizer():
    """Half of the way up a rate is exp(-5 / 4) of itself."""
    tx = optax.scale_by_schedule(optimizers.ramp(2.0, 4.0))
    up = [2 * np.exp(-5 * (1 - t) ** 2) for t in (0.0, 0.25, 0.5, 0.75, 1.0, 1.0)]
    np.testing.assert_allclose(run(tx, [1.0] * 6, moved=False), up, rtol=1e-5)
    assert up[2] == pytest.approx(2 * 0.2865048)
    again = run(optimizers.restarted(tx, at=2), [1.0] * 5, moved=False)
    np.testing.assert_allclose(again, [*up[:2], *up[:3]], rtol=1e-5)
    assert run(optax.scale_by_schedule(optimizers.ramp(2.0, 0.0)), [1.0, 1.0], moved=False) == [2.0, 2.0]
