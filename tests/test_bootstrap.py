"""Statistics from counts equal the same statistics of data that is literally drawn again."""

import math

import numpy as np
import pytest
from scipy import stats

from kdn.evaluate import (
    ause,
    interval,
    nll_median,
    pearson,
    resample_counts,
    sparsification,
    spearman,
)
from kdn.evaluate.bootstrap import resampled_mean, resampled_median
from kdn.evaluate.correlation import pearson_resampled, spearman_resampled
from kdn.evaluate.sparsification import ause_resampled, sparsification_resampled

IMAGES, REPLICATES = 9, 23


@pytest.fixture
def counts() -> np.ndarray:
    return resample_counts(IMAGES, REPLICATES, np.random.default_rng(0))


@pytest.fixture
def pooled() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two values per landmark with ties, and the image of each; images differ in size."""
    rng = np.random.default_rng(1)
    image = np.repeat(np.arange(IMAGES), rng.integers(1, 8, IMAGES))
    x = rng.gamma(2.0, 1.0, len(image)).round(1)
    y = (np.abs(rng.normal(size=len(image))) * x).round(1)
    return x, y, image


def drawn(row: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Indices of the landmarks of a resample, one after the other."""
    return np.concatenate(
        [np.flatnonzero(image == i) for i, times in enumerate(row) for _ in range(int(times))]
    )


def test_counts_are_draws_of_images(counts):
    assert counts.shape == (REPLICATES, IMAGES)
    np.testing.assert_array_equal(counts.sum(axis=1), IMAGES)
    assert len(np.unique(counts, axis=0)) == REPLICATES
    np.testing.assert_array_equal(
        counts, resample_counts(IMAGES, REPLICATES, np.random.default_rng(0))
    )
    with pytest.raises(ValueError, match="must be 0 or more, got 3, -1"):
        resample_counts(3, -1, np.random.default_rng(0))


@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize(
    ("plain", "resampled"),
    [(pearson, pearson_resampled), (spearman, spearman_resampled), (ause, ause_resampled)],
)
def test_associations_of_resamples(counts, pooled, plain, resampled, shuffled):
    x, y, image = pooled
    if shuffled:
        order = np.random.default_rng(2).permutation(len(image))
        x, y, image = x[order], y[order], image[order]
    wanted = [plain(x[rows], y[rows]) for rows in (drawn(row, image) for row in counts)]
    np.testing.assert_allclose(resampled(x, y, image, counts), wanted, atol=1e-12)


def test_sparsification_of_resamples(counts, pooled):
    x, y, image = pooled
    removed = np.array([0.0, 0.1, 0.5, 0.97])
    wanted = [sparsification(x[r], y[r], removed) for r in (drawn(row, image) for row in counts)]
    got = sparsification_resampled(x, y, image, counts, removed)
    np.testing.assert_allclose(got, wanted, atol=1e-12)


def test_association_of_resamples_without_ties(counts, pooled):
    rng = np.random.default_rng(3)
    image = pooled[2]
    x, y = rng.normal(size=(2, len(image)))
    resamples = [drawn(row, image) for row in counts]
    wanted = [np.asarray(stats.spearmanr(x[rows], y[rows]))[0] for rows in resamples]
    np.testing.assert_allclose(spearman_resampled(x, y, image, counts), wanted, atol=1e-12)


def test_medians_of_resamples(counts, pooled):
    x, _, image = pooled
    x = np.where(x > np.quantile(x, 0.7), np.inf, x)
    wanted = [
        nll_median(-x[rows][None], np.ones((1, len(rows)), bool))
        for rows in (drawn(row, image) for row in counts)
    ]
    np.testing.assert_array_equal(resampled_median(x, image, counts), wanted)
    assert np.isinf(wanted).sum() < REPLICATES


def test_means_of_resamples(counts, pooled):
    x, _, image = pooled
    totals, sizes = np.bincount(image, x), np.bincount(image).astype(float)
    wanted = [x[drawn(row, image)].mean() for row in counts]
    np.testing.assert_allclose(resampled_mean(totals, sizes, counts), wanted)


def test_means_with_infinite_and_missing_values(counts):
    values = np.arange(float(IMAGES))
    values[2], values[5] = np.inf, np.nan
    got = resampled_mean(values, (~np.isnan(values)).astype(float), counts)
    np.testing.assert_array_equal(np.isinf(got), counts[:, 2] > 0)
    finite = np.isfinite(got)
    assert 0 < finite.sum() < REPLICATES
    there = [i for i in range(IMAGES) if i not in (2, 5)]
    wanted = counts[finite][:, there] @ values[there] / counts[finite][:, there].sum(axis=1)
    np.testing.assert_allclose(got[finite], wanted)
    assert np.isnan(resampled_mean(values, np.zeros(IMAGES), counts)).all()


def test_interval_is_of_percentiles():
    values = np.random.default_rng(4).permutation(1001.0 * np.arange(1001) / 1000)
    low, high = interval(values)
    assert low == pytest.approx(25.025)
    assert high == pytest.approx(975.975)
    assert interval(np.array([1.0, np.nan, 2.0])) == (1.0, 2.0)
    assert interval(np.array([1.0] * 39 + [np.inf] * 2)) == (1.0, np.inf)
    assert all(math.isnan(end) for end in interval(np.full(3, np.nan)))
    assert all(math.isnan(end) for end in interval(np.zeros(0)))
    with pytest.raises(ValueError, match="level must be between 0 and 1, got 95"):
        interval(values, 95)


def test_intervals_hold_the_truth_as_often_as_they_say():
    """Means of 40 images whose landmarks err together: 95 % intervals hold the truth in about 93 %.

    Resampling landmarks instead of images gives intervals of half the width, and about 65 %.
    """
    rng = np.random.default_rng(5)
    held = 0
    for _ in range(300):
        totals = rng.normal(size=40) * 5 + rng.normal(size=(5, 40)).sum(axis=0)
        counts = resample_counts(40, 200, rng)
        low, high = interval(resampled_mean(totals, np.full(40, 5.0), counts))
        held += low <= 0 <= high
    assert 0.9 <= held / 300 <= 0.98
