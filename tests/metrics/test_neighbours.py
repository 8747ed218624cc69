"""Neighbours against brute force in float64; what is made of them against exact values, prdc, torch-fidelity and
scikit-learn."""

import numpy as np
import pytest

from gan_jax.errors import InputError
from gan_jax.metrics import neighbours
from gan_jax.metrics.neighbours import (
    classification_error,
    density_coverage,
    nearest,
    precision_recall,
    two_sample_test,
)


def line(*places):
    return np.array(places, np.float32)[:, None]


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def brute_force(queries, references, k, exclude_self=False):
    squares = np.stack([np.square(q[None] - references).sum(axis=1) for q in np.asarray(queries, np.float64)])
    if exclude_self:
        np.fill_diagonal(squares, np.inf)
    indices = np.argsort(squares, axis=1, kind="stable")[:, :k]
    return np.sqrt(np.take_along_axis(squares, indices, axis=1)), indices


def assert_exact(queries, references, k, exclude_self=False):
    found = nearest(queries, references, k, exclude_self)
    distances, indices = brute_force(queries, references, k, exclude_self)
    np.testing.assert_array_equal(found.indices, indices)
    np.testing.assert_allclose(found.distances, distances, rtol=1e-12)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch, request):
    """A few hundred points make several blocks of queries and chunks of references, the last of them not full."""
    if "real_data" not in request.fixturenames:
        monkeypatch.setattr(neighbours, "BLOCK", 64)
        monkeypatch.setattr(neighbours, "CHUNK", 64)


def test_nearest(monkeypatch):
    monkeypatch.setattr(neighbours, "CHUNK", 128)  # of two tiles; of one for what is left
    points = 50 + normal(0, 420, 4)
    assert_exact(points[:150], points, 3)
    assert_exact(points, points, 3, exclude_self=True)


def test_blocks_of_the_usual_size(monkeypatch):
    monkeypatch.undo()
    assert neighbours.BLOCK == 1024
    points = normal(1, 1100, 4)
    assert_exact(points[:30], points, 3)


def test_as_many_neighbours_as_there_are():
    points = normal(17, 6, 4)
    assert_exact(points, points, 6)
    assert_exact(points, points, 5, exclude_self=True)


def test_copies_are_at_distance_zero():
    """In float32, |a|^2 + |b|^2 - 2 a.b of such features is off by 1 and more."""
    points = 1000 + normal(2, 500, 64)
    found = nearest(points, points[::-1], 1)
    np.testing.assert_array_equal(found.distances, 0)
    np.testing.assert_array_equal(found.indices[:, 0], np.arange(500)[::-1])


def test_crowds_finer_than_the_error_of_the_product():
    """Three crowds far apart: within one, squared distances are 1e-7 of the norms, and the spare room is not enough."""
    points = np.repeat(100 * normal(3, 3, 4), 100, axis=0) + 0.01 * normal(4, 300, 4)
    error = neighbours._error(4) * 2 * np.square(points).sum(axis=1).max()
    assert error > np.square(brute_force(points, points, 20)[0]).mean(), "the case is too easy"
    assert_exact(points, points, 3, exclude_self=True)


def test_equal_distances_go_by_index():
    assert nearest(line(0), line(1, -1, 1, 2), 3).indices.tolist() == [[0, 1, 2]]


def test_worked_example():
    real, fake = line(0, 1, 2, 3), line(0.5, 1.5, 2.5, 10)
    assert precision_recall(real, fake, k=1) == (0.75, 1.0)
    assert density_coverage(real, fake, k=1) == (1.5, 1.0)


def test_points_on_the_edge_of_a_ball():
    real, fake = line(0, 1), line(2, 5)
    assert precision_recall(real, fake, k=1).precision == 0.5
    assert density_coverage(real, fake, k=1) == (0, 0)


@pytest.mark.parametrize("shift", [0, 1000])
def test_copies_are_ties_in_many_dimensions(shift):
    """A ball holds the copies of its centre and of the nearer neighbours; that of the k-th is on its edge."""
    real = shift + normal(5, 400, 64)
    assert density_coverage(real, real.copy(), k=5) == (1, 1)
    held = neighbours._balls_around(real.copy(), real, neighbours._radii(real, 5), closed=True)
    assert held.sum() == 400 * 6
    assert precision_recall(real, real.copy()) == (1, 1)


def test_balls(monkeypatch):
    monkeypatch.setattr(neighbours, "CHUNK", 128)
    real, fake = normal(6, 420, 4), normal(7, 300, 4)
    radii = brute_force(real, real, 3, exclude_self=True)[0][:, -1]
    inside = np.stack([np.square(q[None] - real.astype(np.float64)).sum(axis=1) < radii**2 for q in fake])
    expected = (inside.sum() / (3 * 300), inside.any(axis=0).mean())
    assert density_coverage(real, fake, 3) == pytest.approx(expected, rel=1e-12)


def test_half_of_the_real_examples_are_covered():
    assert density_coverage(line(*range(10)), line(*range(5)), k=1).coverage == 0.5


def test_a_collapsed_generator_is_precise_and_recalls_nothing():
    real = normal(8, 500, 4)
    fake = np.repeat(real[:1], 300, axis=0)
    assert precision_recall(real, fake) == (1, 1 / 500)
    assert density_coverage(real, fake).coverage < 0.05


def test_sets_apart():
    real, fake = normal(9, 60, 4), 1000 + normal(10, 60, 4)
    assert precision_recall(real, fake) == (0, 0)
    assert density_coverage(real, fake) == (0, 0)
    assert two_sample_test(real, fake) == (1, 1, 1)


def test_one_distribution():
    """Density 1, coverage 1 - 2^-5, accuracy .5: 800 examples are within 3 standard errors or so."""
    real, fake = normal(11, 800, 4), normal(12, 800, 4)
    density, coverage = density_coverage(real, fake)
    assert density == pytest.approx(1, abs=0.1)
    assert coverage == pytest.approx(1 - 2**-5, abs=0.02)
    assert two_sample_test(real, fake).accuracy == pytest.approx(0.5, abs=0.04)


def test_two_sample_test_tells_who_is_told_apart():
    """Real 0 and 1 have each other; of the generated 2.25 and 9, the first is nearest to a real one."""
    assert two_sample_test(line(0, 1), line(2.25, 3)) == (1, 1, 1)
    assert two_sample_test(line(0, 1), line(2.25, 9)) == (0.75, 1, 0.5)
    assert two_sample_test(line(0, 3), line(0, 3)) == (0, 0, 0)  # copies


def test_two_sample_test_of_unequal_sets_draws_from_the_larger():
    """A far real set keeps its accuracy; 3 of 30 spread points find their copies, or do not, by the seed."""
    real, fake = line(*range(30)), line(0, 10, 20)
    assert two_sample_test(real, 1000 + fake) == (1, 1, 1)
    results = [two_sample_test(real, fake, seed) for seed in range(6)]
    assert results == [two_sample_test(real, fake, seed) for seed in range(6)]
    assert len(set(results)) > 1


def test_classification():
    x, y = normal(13, 1000, 4), np.arange(1000) % 10
    assert classification_error(x, y, x, y) == 0
    shuffled = np.random.default_rng(0).permutation(y)
    assert classification_error(x, shuffled, x, y) == pytest.approx(0.9, abs=0.03)
    assert classification_error(line(0, 10), np.array([3, 7]), line(1, 2, 9), np.array([3, 7, 7])) == pytest.approx(
        1 / 3
    )


def test_mistakes():
    two, wide = line(0, 1), np.zeros((9, 2), np.float32)
    with pytest.raises(InputError, match="references: 2 examples, but at least 3 are needed for 2 neighbours"):
        nearest(two, two, 2, exclude_self=True)
    with pytest.raises(InputError, match="to be the same set"):
        nearest(two, line(0, 1, 2), 1, exclude_self=True)
    with pytest.raises(InputError, match="at least 1, got 0"):
        nearest(two, two, 0)
    with pytest.raises(InputError, match=r"generated set: 2 examples, but at least 4 .* neighbour of rank 3"):
        precision_recall(line(0, 1, 2, 3), two)
    with pytest.raises(InputError, match="at least 1, got 0"):
        density_coverage(two, two, k=0)
    with pytest.raises(InputError, match="1 and of 2 dimensions"):
        density_coverage(line(*range(9)), wide)
    with pytest.raises(InputError, match="real set: 1 examples, but at least 2 are needed for one to have"):
        two_sample_test(line(0), two)
    with pytest.raises(InputError, match="example 1 are not finite"):
        two_sample_test(two, line(0, np.nan))
    with pytest.raises(InputError, match="2 training examples, but 1 labels"):
        classification_error(two, np.zeros(1, int), two, np.zeros(2, int))


@pytest.fixture(scope="module")
def peers():
    """Real and generated features that differ in mean and in spread."""
    return normal(14, 700, 4), 0.8 * normal(15, 900, 4) + np.float32(0.1)


def test_against_prdc(peers):
    compute_prdc = pytest.importorskip("prdc").compute_prdc
    real, fake = peers
    expected = compute_prdc(real.astype(np.float64), fake.astype(np.float64), nearest_k=5)
    # Its precision and recall leave the edge out, which random points are not on.
    assert precision_recall(real, fake, k=5) == (expected["precision"], expected["recall"])
    assert density_coverage(real, fake) == pytest.approx((expected["density"], expected["coverage"]), rel=1e-12)


def test_against_torch_fidelity(peers):
    torch = pytest.importorskip("torch")
    peer = pytest.importorskip("torch_fidelity.metric_prc", exc_type=(ImportError, RuntimeError))
    real, fake = (torch.from_numpy(x.astype(np.float64)) for x in peers)
    expected = peer.calculate_precision_recall_full(fake, real, neighborhood=3)
    assert precision_recall(*peers) == pytest.approx(expected, rel=1e-6)


def test_against_scikit_learn(peers):
    peer = pytest.importorskip("sklearn.neighbors")
    labels = np.random.default_rng(0).integers(10, size=700)
    classifier = peer.KNeighborsClassifier(1, algorithm="brute").fit(peers[0], labels)
    truth = np.random.default_rng(1).integers(10, size=900)
    expected = 1 - classifier.score(peers[1], truth)
    assert classification_error(peers[0], labels, peers[1], truth) == pytest.approx(expected, rel=1e-12)


@pytest.mark.slow
def test_mnist_classified_by_its_own_training_set(real_data):
    """309 of 10,000, as is well known of Euclidean distance; 3.2 to 3.3 % with 50,000 of the training images."""
    from gan_jax.data.sources import TFDS

    sets = []
    for split, number in (("train", 60_000), ("test", 10_000)):
        batch = TFDS("mnist", split, str(real_data / "tensorflow_datasets")).read(np.arange(number))
        sets += [batch["image"].reshape(number, -1).astype(np.float32) / 255, batch["label"]]
    assert classification_error(*sets) == pytest.approx(0.0309, abs=1e-4)
