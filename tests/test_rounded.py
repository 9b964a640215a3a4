"""Calibration where labels are rounded, against drawn transforms and cases by hand."""

import numpy as np
import pytest
from scipy import stats

from kdn.evaluate import central_coverage, pit_histogram, resample_counts

N = 37


@pytest.fixture(scope="module")
def ends() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return both ends, some equal and some not valid, and counts."""
    rng = np.random.default_rng(0)
    low, high = np.sort(rng.random((2, N)), axis=0)
    low[:3], high[3:6] = 0.0, 1.0
    high[::7] = low[::7]
    valid = rng.random(N) < 0.8
    low[~valid], high[~valid] = np.nan, 7.0
    counts = np.concatenate([np.ones((1, N)), resample_counts(N, 6, rng)])
    assert 0 < valid[::7].sum() < valid.sum() < N
    return low, high, valid, counts


def transforms(low: np.ndarray, high: np.ndarray, row: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Return randomised transforms, evenly spread, of the samples as often as they were drawn."""
    rows = np.repeat(np.arange(N), row.astype(int))
    rows = rows[valid[rows]]
    even = (np.arange(20000) + 0.5) / 20000
    return low[rows] + (high - low)[rows] * even[:, None]


@pytest.mark.parametrize("nominal", [0.0, 0.3, 0.8, 1.0])
def test_coverage_is_that_of_randomised_transforms(ends, nominal):
    low, high, valid, counts = ends
    got = central_coverage(low, high, nominal, counts, valid=valid)
    wanted = []
    for row in counts:
        drawn = transforms(low, high, row, valid)
        wanted.append(100 * np.mean(np.abs(drawn - 0.5) <= nominal / 2 + 1e-12))
    np.testing.assert_allclose(got, wanted, atol=0.02)
    first = central_coverage(np.where(valid, low, np.nan), high, nominal)
    np.testing.assert_allclose(first, got[:1], atol=1e-12)


@pytest.mark.parametrize("bins", [1, 4, 10])
def test_histograms_are_those_of_randomised_transforms(ends, bins):
    low, high, valid, counts = ends
    got = pit_histogram(low, high, bins, counts, valid=valid)
    assert got.shape == (len(counts), bins)
    np.testing.assert_allclose(got.sum(axis=1), 1.0, rtol=1e-12)
    for row, shares in zip(counts, got, strict=True):
        drawn = transforms(low, high, row, valid).ravel()
        counted = np.histogram(drawn, bins, (0, 1))[0] / len(drawn)
        np.testing.assert_allclose(shares, counted, atol=2e-4)
    np.testing.assert_allclose(pit_histogram(low, high, bins), got[:1], rtol=1e-12)


def test_histograms_are_differences_of_the_mean_distribution(ends):
    """Czado, Gneiting and Held, equation 1: F(u) from 0 at `cdf_low` to 1 at `cdf_high`."""
    low, high, valid, _ = ends
    kept = valid & (high > low)
    steps = np.linspace(0, 1, 8)
    mean = [stats.uniform.cdf(u, low[kept], (high - low)[kept]).mean() for u in steps]
    got = pit_histogram(low, high, 7, valid=kept)
    np.testing.assert_allclose(got, [np.diff(mean)], atol=1e-12)


def test_by_hand():
    low, high = np.array([0.0, 0.2, 0.7, 0.95]), np.array([0.4, 0.3, 0.9, 1.0])
    # The central 60 % are [0.2, 0.8]: half of the first, all of the second, half of the third.
    assert central_coverage(low, high, 0.6).item() == pytest.approx(100 * 2 / 4)
    # [0, ¼] has 5/8 of the first and half of the second, [¾, 1] has ¾ of the third and the last.
    wanted = [[(0.625 + 0.5) / 4, (0.375 + 0.5) / 4, 0.25 / 4, (0.75 + 1) / 4]]
    np.testing.assert_allclose(pit_histogram(low, high, 4), wanted, atol=1e-12)
    points = np.array([0.0, 0.25, 0.5, 0.8, 1.0])
    np.testing.assert_allclose(pit_histogram(points, points, 4), [[0.2, 0.2, 0.2, 0.4]])
    np.testing.assert_allclose(central_coverage(points, points, 0.5), 100 * 2 / 5)
    np.testing.assert_allclose(central_coverage(points, points, 1.0), 100)


@pytest.mark.parametrize(("scale", "side"), [(1.0, 0), (0.5, -1), (2.0, 1)])
def test_ages_in_whole_years(scale, side):
    """Labels drawn from normal densities and rounded: right, too narrow and too wide ones."""
    rng = np.random.default_rng(1)
    mean, deviation = rng.uniform(10, 80, 20000), rng.uniform(0.3, 4, 20000)
    label = np.round(rng.normal(mean, deviation))
    said = stats.norm(mean, scale * deviation)
    low, high = said.cdf(label - 0.5), said.cdf(label + 0.5)
    off = [central_coverage(low, high, a).item() - 100 * a for a in (0.5, 0.8, 0.95)]
    shares = pit_histogram(low, high, 10)[0]
    if side == 0:
        np.testing.assert_allclose(off, 0, atol=1.2)  # three standard errors of 20000 labels
        np.testing.assert_allclose(shares, 0.1, atol=0.008)
        # Taken as the truth itself, rounded labels seem to be covered too often or too seldom.
        naive = [100 * np.mean(np.abs(said.cdf(label) - 0.5) <= a / 2) - 100 * a for a in (0.8,)]
        assert abs(naive[0]) > 0.5
    else:
        assert (np.sign(off) == side).all()
        assert np.sign(shares[5] - shares[0]) == side


def test_what_are_no_distribution_functions():
    fine = np.array([0.2, 0.3])
    for low, high in ((fine, np.array([0.5, 0.2])), (-fine, fine), (fine, fine + 0.9)):
        with pytest.raises(ValueError, match="cdf_low and cdf_high must be in order from 0 to 1"):
            central_coverage(low, high, 0.5)
    with pytest.raises(ValueError, match="cdf_high must be finite, got nan for sample 1"):
        pit_histogram(fine, np.array([0.2, np.nan]), 3)
    with pytest.raises(ValueError, match="nominal must be between 0 and 1, got 95"):
        central_coverage(fine, fine, 95)
    with pytest.raises(ValueError, match="bins must be at least 1, got 0"):
        pit_histogram(fine, fine, 0)
    # Sums in float32 may pass the ends by their rounding.
    assert central_coverage(fine - 0.2 - 1e-7, fine + 0.7 + 1e-7, 1.0).tolist() == [100.0]
    nothing = np.zeros(2, bool)
    assert np.isnan(central_coverage(fine, fine, 0.5, valid=nothing)).all()
    assert np.isnan(pit_histogram(fine, fine, 3, valid=nothing)).all()
