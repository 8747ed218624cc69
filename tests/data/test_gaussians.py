"""Point sets against their closed forms."""

import numpy as np
import pytest

from gan_jax.data.worlds import Gaussians
from gan_jax.errors import InputError

MANY = np.arange(100_000)
KINDS = ("ring", "grid", "swiss_roll", "mixture_1d")


def test_ring_centres():
    ring = Gaussians("ring")
    distance = np.linalg.norm(ring.centres[:, None] - ring.centres, axis=-1)[~np.eye(8, dtype=bool)]
    assert ring.centres.shape == (8, 2)
    np.testing.assert_allclose(distance.min(), 2 * ring.radius * np.sin(np.pi / 8), rtol=1e-12)
    np.testing.assert_allclose([ring.radius, ring.std, distance.min()], [1.4144, 0.01414, 1.0825], rtol=1e-3)


def test_grid_and_presets():
    grid = Gaussians("grid")
    assert len(np.unique(grid.centres.round(6), axis=0)) == 25
    np.testing.assert_allclose([grid.spacing, grid.std], [0.7072, 0.01768], rtol=1e-3)
    np.testing.assert_allclose(np.abs(grid.centres).max(), 2 * grid.spacing)
    assert (Gaussians("ring", preset="veegan").radius, Gaussians("ring", preset="veegan").std) == (1.0, 0.01)
    assert np.abs(Gaussians("grid", preset="veegan").centres).max() == 4.0
    assert Gaussians("ring", radius=3.0).radius == 3.0


@pytest.mark.parametrize("kind", ["ring", "grid"])
def test_share_of_samples_within_three_deviations(kind):
    """1 - exp(-9/2) = 0.98889 in the plane; the standard error of 100k draws is 0.00033, the bound three of them."""
    source = Gaussians(kind, fields=("point", "label"))
    found = source.read(MANY)
    distance = np.linalg.norm(found["point"] - source.centres[found["label"]], axis=1)
    assert abs((distance < 3 * source.std).mean() - 0.9889) < 0.001
    share = np.bincount(found["label"], minlength=len(source.centres)) / len(MANY)
    p = 1 / len(source.centres)
    assert np.abs(share - p).max() < 5 * np.sqrt(p * (1 - p) / len(MANY))  # five standard errors
    assert source.classes[found["label"].max()] == f"mode {len(source.centres) - 1}"


@pytest.mark.parametrize("kind", ["ring", "grid"])
def test_log_density_has_the_entropy_of_separate_modes(kind):
    """Entropy of k far Gaussians: log k + 1 + log(2 pi std^2). -log p has deviation 1, so 100k draws err by 0.003."""
    source = Gaussians(kind)
    entropy = np.log(len(source.centres)) + 1 + np.log(2 * np.pi * source.std**2)
    assert abs(-source.log_density(source.read(MANY)["point"]).mean() - entropy) < 0.015


def test_mixture_on_the_line():
    source = Gaussians("mixture_1d", means=(-2.0, 0.5, 3.0), stds=(0.1, 0.5, 1.0), weights=(1.0, 2.0, 1.0))
    line = np.linspace(-8, 12, 20_001)
    density = np.exp(source.log_density(line[:, None]))
    np.testing.assert_allclose(density.sum() * (line[1] - line[0]), 1.0, atol=1e-6)  # it is a density
    found = Gaussians(**{**vars(source), "fields": ("point", "label")}).read(MANY)
    assert found["point"].shape == (len(MANY), 1)
    for mode, (mean, std, p) in enumerate(zip(source.means, source.stds, (0.25, 0.5, 0.25), strict=True)):
        points = found["point"][found["label"] == mode, 0]
        assert abs(len(points) / len(MANY) - p) < 5 * np.sqrt(p * (1 - p) / len(MANY))
        assert abs(points.mean() - mean) < 5 * std / np.sqrt(len(points))
        assert abs(points.std() / std - 1) < 5 / np.sqrt(2 * len(points))


def test_swiss_roll_moments():
    """Before the division by 7.5: E|p|^2 = E[t^2] + 2 0.25^2 with t = 1.5 pi (1 + 2 U), so E[t^2] = (1.5 pi)^2 13/3."""
    source = Gaussians("swiss_roll", fields=("point", "label"))
    found = source.read(MANY)
    squares = (found["point"].astype(np.float64) ** 2).sum(1) * 7.5**2
    expected = (1.5 * np.pi) ** 2 * 13 / 3 + 2 * 0.25**2
    assert abs(squares.mean() - expected) < 5 * squares.std() / np.sqrt(len(MANY))
    assert source.classes == ()
    assert set(found["label"]) == {-1}
    with pytest.raises(InputError, match="swiss_roll"):
        source.log_density(found["point"])
    larger = Gaussians("swiss_roll", scale=10.0).read(MANY[:100])
    np.testing.assert_allclose(larger["point"], 10 * found["point"][:100], rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_records_depend_on_seed_and_index_alone(kind):
    source = Gaussians(kind, fields=("point", "label"))
    together, alone = source.read(np.arange(50)), source.read(np.array([49, 7]))
    for field in together:
        np.testing.assert_array_equal(together[field][[49, 7]], alone[field])
    assert together["point"].dtype == np.float32
    assert together["label"].dtype == np.int32
    beyond = source.read(np.array([10**12]))["point"]  # indices beyond len() are legal
    assert np.isfinite(beyond).all()
    assert not np.array_equal(Gaussians(kind, seed=1).read(np.arange(50))["point"], together["point"])
    assert len(source) == 100_000
    assert source.domain == "point"


def test_neighbouring_draws_are_uncorrelated():
    """Streams of other seeds, axes and indices: correlations of 100k draws stay below five standard errors."""
    a, b = (Gaussians("ring", seed=seed, radius=0.0).read(MANY)["point"] for seed in (0, 1))
    series = np.stack([a[:-1, 0], a[1:, 0], a[:-1, 1], b[:-1, 0], b[1:, 1]])
    correlation = np.corrcoef(series) - np.eye(len(series))
    assert np.abs(correlation).max() < 5 / np.sqrt(len(MANY))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"kind": "rnig"}, "ring"),
        ({"fields": ("points",)}, "point"),
        ({"preset": "none"}, "igul222"),
        ({"kind": "mixture_1d", "means": (0.0,)}, "means"),
        ({"kind": "mixture_1d", "stds": (0.0, 1.0)}, "positive"),
    ],
)
def test_mistakes_are_explained(wrong, message):
    with pytest.raises(InputError, match=message):
        Gaussians(**wrong)
