"""Levels of labels as spans: coverage and histograms against drawn levels and cases by hand."""

import math

import numpy as np
import pytest
from scipy import stats

from kdn.evaluate import central_share, share_up_to
from kdn.evaluate.levels import bin_shares, level_spans

N = 37


@pytest.fixture(scope="module")
def spans() -> tuple[np.ndarray, np.ndarray]:
    """Return both ends, some equal."""
    rng = np.random.default_rng(0)
    low, high = np.sort(rng.random((2, N)), axis=0)
    low[:3], high[3:6] = 0.0, 1.0
    high[::7] = low[::7]
    return low, high


def drawn(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return levels, evenly spread over each span."""
    return low + (high - low) * ((np.arange(20000) + 0.5) / 20000)[:, None]


@pytest.mark.parametrize("nominal", [0.0, 0.3, 0.8, 1.0])
def test_coverage_is_that_of_drawn_levels(spans, nominal):
    levels = drawn(*spans)
    np.testing.assert_allclose(
        share_up_to(spans[0], spans[1], nominal), (levels <= nominal).mean(axis=0), atol=1e-4
    )
    inside = np.abs(levels - 0.5) <= nominal / 2 + 1e-12
    np.testing.assert_allclose(
        central_share(spans[0], spans[1], nominal), inside.mean(axis=0), atol=1e-4
    )


@pytest.mark.parametrize("bins", [1, 4, 10])
def test_histograms_are_those_of_drawn_levels(spans, bins):
    got = np.array(list(bin_shares(spans[0], spans[1], bins)))
    assert got.shape == (bins, N)
    np.testing.assert_allclose(got.sum(axis=0), 1.0, rtol=1e-12)
    levels = drawn(*spans)
    wanted = [np.histogram(levels[:, i], bins, (0, 1))[0] / len(levels) for i in range(N)]
    np.testing.assert_allclose(got.T, wanted, atol=2e-4)


def test_histograms_are_differences_of_the_mean_distribution(spans):
    """Czado, Gneiting and Held, equation 1: F(u) from 0 at the lower end to 1 at the upper."""
    low, high = (ends[spans[1] > spans[0]] for ends in spans)
    steps = np.linspace(0, 1, 8)
    mean = [stats.uniform.cdf(u, low, high - low).mean() for u in steps]
    got = [share.mean() for share in bin_shares(low, high, 7)]
    np.testing.assert_allclose(got, np.diff(mean), atol=1e-12)


def test_by_hand():
    low, high = np.array([0.0, 0.2, 0.7, 0.95]), np.array([0.4, 0.3, 0.9, 1.0])
    # The central 60 % are [0.2, 0.8]: half of the first, all of the second, half of the third.
    np.testing.assert_allclose(central_share(low, high, 0.6), [0.5, 1.0, 0.5, 0.0], atol=1e-12)
    np.testing.assert_allclose(share_up_to(low, high, 0.8), [1.0, 1.0, 0.5, 0.0], atol=1e-12)
    # [0, ¼] has 5/8 of the first and half of the second, [¾, 1] has ¾ of the third and the last.
    wanted = [(0.625 + 0.5) / 4, (0.375 + 0.5) / 4, 0.25 / 4, (0.75 + 1) / 4]
    got = [share.mean() for share in bin_shares(low, high, 4)]
    np.testing.assert_allclose(got, wanted, atol=1e-12)
    points = np.array([0.0, 0.25, 0.5, 0.8, 1.0])
    got = [share.mean() for share in bin_shares(points, points, 4)]
    np.testing.assert_allclose(got, [0.2, 0.2, 0.2, 0.4])
    assert central_share(points, points, 0.5).tolist() == [0, 1, 1, 0, 0]
    assert central_share(points, points, 1.0).tolist() == [1] * 5
    assert share_up_to(points, points, 0.5).tolist() == [1, 1, 1, 0, 0]  # the level is inside


@pytest.mark.parametrize(("scale", "side"), [(1.0, 0), (0.5, -1), (2.0, 1)])
def test_ages_in_whole_years(scale, side):
    """Labels drawn from normal densities and rounded: right, too narrow and too wide ones."""
    rng = np.random.default_rng(1)
    mean, deviation = rng.uniform(10, 80, 20000), rng.uniform(0.3, 4, 20000)
    label = np.round(rng.normal(mean, deviation))
    told = stats.norm(mean, scale * deviation)
    low, high = told.cdf(label - 0.5), told.cdf(label + 0.5)
    off = [100 * (central_share(low, high, a).mean() - a) for a in (0.5, 0.8, 0.95)]
    shares = [share.mean() for share in bin_shares(low, high, 10)]
    if side == 0:
        np.testing.assert_allclose(off, 0, atol=1.2)  # three standard errors of 20000 labels
        np.testing.assert_allclose(shares, 0.1, atol=0.008)
        # Taken as the truth itself, rounded labels seem to be covered too often or too seldom.
        naive = 100 * np.mean(np.abs(told.cdf(label) - 0.5) <= 0.4) - 80
        assert abs(naive) > 0.5
    else:
        assert (np.sign(off) == side).all()
        assert np.sign(shares[5] - shares[0]) == side


def test_what_are_no_levels():
    fine = np.array([0.2, 0.3])
    for low, high in (
        (fine, np.array([0.5, 0.2])),
        (-fine, fine),
        (fine, fine + 0.9),
        (fine, np.array([0.5, np.nan])),
    ):
        with pytest.raises(ValueError, match="levels must be in order from 0 to 1, got"):
            level_spans(low, high)
    # Sums in float32 may pass the ends by their rounding.
    low, high = level_spans(fine - 0.2 - 1e-7, fine + 0.7 + 1e-7)
    assert (low.min(), high.max()) == (0.0, 1.0)


@pytest.mark.parametrize("nominal", [0.5, 0.8, 0.9, 0.95])
def test_coverage_of_draws_from_the_density(nominal):
    """Ellipses of Gaussians hold the mass that χ² with two degrees of freedom says."""
    rng = np.random.default_rng(5)
    root = rng.normal(size=(3000, 2, 2)) + 2 * np.eye(2)
    offsets = root @ rng.normal(size=(3000, 2, 1))
    covariances = root @ root.swapaxes(-1, -2)
    squares = (offsets.swapaxes(-1, -2) @ np.linalg.solve(covariances, offsets))[:, 0, 0]
    deviation = math.sqrt(nominal * (1 - nominal) / 3000)
    level = stats.chi2.cdf(squares, df=2)
    assert share_up_to(level, level, nominal).mean() == pytest.approx(nominal, abs=4 * deviation)
    halved = stats.chi2.cdf(2 * squares, df=2)
    wrong = stats.chi2.cdf(stats.chi2.ppf(nominal, 2) / 2, 2)
    got = share_up_to(halved, halved, nominal).mean()
    assert got == pytest.approx(wrong, abs=4 * deviation + 0.01)
