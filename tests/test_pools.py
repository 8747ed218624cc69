"""The history of generated samples: what comes in, what is shown, and what stays."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax import pools


def fresh(first, count):
    """Samples that tell their number: first, first + 1, ..."""
    return jnp.arange(first, first + count, dtype=jnp.float32).reshape(count, 1, 1, 1) * jnp.ones((1, 2, 2, 1))


def numbers(samples):
    return np.asarray(samples)[:, 0, 0, 0].astype(int).tolist()


exchange = jax.jit(pools.exchange, static_argnums=3)


def play(size, batches, count, share=0.5, seed=0):
    """[(what came in, what was shown, the pool afterwards)] of so many calls."""
    pool, seen = pools.empty(size, (2, 2, 1)), []
    for call in range(batches):
        made = fresh(1 + call * count, count)
        shown, pool = exchange(pool, made, jax.random.fold_in(jax.random.key(seed), call), share)
        seen.append((numbers(made), numbers(shown), numbers(pool.samples)[: int(pool.filled)]))
    return seen


@pytest.mark.parametrize(("size", "count"), [(10, 4), (8, 4), (50, 1), (6, 6)])
def test_until_it_is_full_everything_is_kept_and_shown(size, count):
    calls = play(size, size // count, count)
    for number, (made, shown, kept) in enumerate(calls):
        assert shown == made
        assert kept == list(range(1, 1 + (number + 1) * count))


def test_it_never_holds_more_than_its_size_and_nothing_twice():
    for _, _, kept in play(10, 40, 4):
        assert len(kept) <= 10
        assert len(set(kept)) == len(kept)
    assert len(kept) == 10


def test_what_is_shown_is_new_or_was_kept_and_leaves_for_what_came():
    before = []
    for made, shown, kept in play(10, 60, 5):
        if len(before) == 10:
            assert sorted(shown + kept) == sorted(made + before)
            for new, seen in zip(made, shown, strict=True):
                assert seen == new or seen in before
                assert (new in kept) == (seen != new)
        before = kept
    assert len(before) == 10


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_this_share_of_a_batch_comes_from_a_full_pool(share):
    """Over 200 batches of 10; the deviation of the share is at most .5 / sqrt(2000) = .011."""
    calls = play(20, 202, 10, share)[2:]
    old = np.mean([seen != new for made, shown, _ in calls for new, seen in zip(made, shown, strict=True)])
    assert old == pytest.approx(share, abs=0.045)


def test_every_slot_is_as_likely():
    """Each of 8 slots is taken over by half of 2 samples a call, in 800 calls 100 times, deviation below 10."""
    pool = pools.empty(8, (2, 2, 1)).replace(samples=fresh(1, 8), filled=jnp.int32(8))
    taken = np.zeros(8)
    for call in range(800):
        shown, _ = exchange(pool, fresh(100, 2), jax.random.key(call), 0.5)
        for number in numbers(shown):
            if number < 100:
                taken[number - 1] += 1
    assert np.abs(taken - 100).max() < 45


def test_a_batch_that_fills_it_up_meets_only_older_samples():
    """7 of 10 slots are filled, and 6 come: three are stored, each of the others is exchanged for one of the 7."""
    pool = pools.empty(10, (2, 2, 1)).replace(samples=fresh(1, 10).at[7:].set(0.0), filled=jnp.int32(7))
    shown, after = exchange(pool, fresh(101, 6), jax.random.key(0), 1.0)
    assert numbers(shown)[:3] == [101, 102, 103]
    assert set(numbers(shown)[3:]) <= set(range(1, 8))
    assert numbers(after.samples)[7:] == [101, 102, 103]
    assert int(after.filled) == 10


def test_a_batch_larger_than_the_pool():
    """The first 5 of 12 are kept and shown; with a share of 1 the next ones come out one piece later."""
    (made, shown, kept), (_, again, _) = play(5, 2, 12, share=1.0)
    assert shown[:5] == made[:5]
    assert sorted(shown[5:10]) == made[:5]
    assert set(shown[10:]) <= set(made[5:10])
    assert len(set(kept)) == 5
    assert sorted(again[:5]) == sorted(kept)


def test_it_is_a_pytree_of_one_shape():
    pool = pools.empty(6, (3,))
    after = jax.eval_shape(lambda pool: pools.exchange(pool, jnp.ones((4, 3)), jax.random.key(0))[1], pool)
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), pool) == jax.tree.map(
        lambda leaf: (leaf.shape, leaf.dtype), after
    )
