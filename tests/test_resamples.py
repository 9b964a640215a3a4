"""Statistics from counts equal the same statistics of data that is literally drawn again."""

import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import average_precision_score, roc_auc_score

from kdn.evaluate import Resamples, interval
from plain import (
    auroc,
    average_precision,
    pearson,
    resample_counts,
    sparsification,
    spearman,
    weighted,
)

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
    drawn = Resamples(IMAGES, REPLICATES, seed=0)
    np.testing.assert_array_equal(drawn.counts[0], 1.0)
    np.testing.assert_array_equal(drawn.counts[1:], counts)
    with pytest.raises(ValueError, match="must be 0 or more, got 3, -1"):
        Resamples(3, -1)


@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize(
    ("plain", "resampled"), [(pearson, Resamples.pearson), (spearman, Resamples.spearman)]
)
def test_associations_of_resamples(counts, pooled, plain, resampled, shuffled):
    x, y, image = pooled
    if shuffled:
        order = np.random.default_rng(2).permutation(len(image))
        x, y, image = x[order], y[order], image[order]
    wanted = [plain(x[rows], y[rows]) for rows in (drawn(row, image) for row in counts)]
    np.testing.assert_allclose(resampled(weighted(image, counts), x, y), wanted, atol=1e-12)


def test_sparsification_of_resamples(counts, pooled):
    x, y, image = pooled
    removed = np.array([0.0, 0.1, 0.5, 0.97])
    wanted = [sparsification(x[r], y[r], removed) for r in (drawn(row, image) for row in counts)]
    got = weighted(image, counts).sparsification(x, y, removed)
    np.testing.assert_allclose(got, wanted, atol=1e-12)


def test_association_of_resamples_without_ties(counts, pooled):
    rng = np.random.default_rng(3)
    image = pooled[2]
    x, y = rng.normal(size=(2, len(image)))
    resamples = [drawn(row, image) for row in counts]
    wanted = [np.asarray(stats.spearmanr(x[rows], y[rows]))[0] for rows in resamples]
    np.testing.assert_allclose(weighted(image, counts).spearman(x, y), wanted, atol=1e-12)


def test_medians_of_resamples(counts, pooled):
    x, _, image = pooled
    x = np.where(x > np.quantile(x, 0.7), np.inf, x)
    with np.errstate(invalid="ignore"):
        wanted = [np.median(x[rows]) for rows in (drawn(row, image) for row in counts)]
    wanted = np.nan_to_num(wanted, nan=np.inf, posinf=np.inf)  # ∞ − ∞ of two middle values
    np.testing.assert_array_equal(weighted(image, counts).median(x), wanted)
    assert np.isinf(wanted).sum() < REPLICATES


def test_means_of_resamples(counts, pooled):
    x, _, image = pooled
    wanted = [x[drawn(row, image)].mean() for row in counts]
    np.testing.assert_allclose(weighted(image, counts).mean(x), wanted)


def test_means_with_infinite_and_missing_values(counts):
    values = np.arange(float(IMAGES))
    values[2], values[5] = np.inf, np.nan
    got = weighted(np.arange(IMAGES), counts).mean(values)
    np.testing.assert_array_equal(np.isinf(got), counts[:, 2] > 0)
    finite = np.isfinite(got)
    assert 0 < finite.sum() < REPLICATES
    there = [i for i in range(IMAGES) if i not in (2, 5)]
    wanted = counts[finite][:, there] @ values[there] / counts[finite][:, there].sum(axis=1)
    np.testing.assert_allclose(got[finite], wanted)
    assert np.isnan(weighted(np.arange(IMAGES), counts).mean(np.full(IMAGES, np.nan))).all()


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
        values = np.repeat(rng.normal(size=40), 5) + rng.normal(size=200)
        counts = resample_counts(40, 200, rng)
        low, high = interval(weighted(np.repeat(np.arange(40), 5), counts).mean(values))
        held += low <= 0 <= high
    assert 0.9 <= held / 300 <= 0.98


def cases(size: int, digits: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores that know a little, rounded so that some are equal, and what they should rank."""
    rng = np.random.default_rng(seed)
    positive = rng.uniform(size=size) < 0.3
    return (rng.normal(size=size) + 0.7 * positive).round(digits), positive


@pytest.mark.parametrize("digits", [0, 1, 9])
def test_area_equals_scikit_learn(digits):
    score, positive = cases(211, digits, seed=0)
    assert auroc(score, positive) == pytest.approx(roc_auc_score(positive, score), abs=1e-12)


@pytest.mark.parametrize("digits", [0, 1, 9])
def test_average_precision_equals_scikit_learn(digits):
    score, positive = cases(211, digits, seed=0)
    wanted = average_precision_score(positive, score)
    assert average_precision(score, positive) == pytest.approx(wanted, abs=1e-12)


def test_average_precision_by_hand():
    """Called in turn: 7 (wrong), 5 (right, 1 of 2), both 2s (2 of 4), 1 (wrong)."""
    score = np.array([5.0, 2.0, 2.0, 7.0, 1.0])
    positive = np.array([True, True, False, False, False])
    assert average_precision(score, positive) == pytest.approx(0.5 * 1 / 2 + 0.5 * 2 / 4)


def test_average_precision_at_its_ends():
    score, positive = cases(60, 9, seed=1)
    assert average_precision(positive.astype(float), positive) == 1.0
    assert average_precision(np.full(60, 0.3), positive) == pytest.approx(positive.mean())
    assert average_precision(np.where(positive, np.inf, -np.inf), positive) == 1.0
    assert average_precision(score, np.ones(60, bool)) == 1.0
    assert math.isnan(average_precision(score, np.zeros(60, bool)))
    assert math.isnan(average_precision(np.zeros(0), np.zeros(0, bool)))
    with pytest.raises(ValueError, match="score must not be NaN, which it is 1 times"):
        average_precision(np.array([1.0, np.nan]), np.array([True, False]))


def test_area_by_hand():
    """Of 2·3 pairs three are won, one is tied and two are lost."""
    score = np.array([5.0, 2.0, 2.0, 7.0, 1.0])
    positive = np.array([True, True, False, False, False])
    assert auroc(score, positive) == pytest.approx((2 + 1.5) / 6)


def test_area_at_its_ends():
    score, positive = cases(60, 9, seed=1)
    assert auroc(positive.astype(float), positive) == 1.0
    assert auroc(-positive.astype(float), positive) == 0.0
    assert auroc(np.full(60, 0.3), positive) == 0.5
    assert auroc(-score, positive) == pytest.approx(1 - auroc(score, positive))
    assert auroc(np.where(positive, np.inf, -np.inf), positive) == 1.0
    assert math.isnan(auroc(score, np.ones(60, bool)))
    assert math.isnan(auroc(score, np.zeros(60, bool)))
    assert math.isnan(auroc(np.zeros(0), np.zeros(0, bool)))
    with pytest.raises(ValueError, match="score must not be NaN, which it is 2 times"):
        auroc(np.array([1.0, np.nan, np.nan]), np.array([True, False, True]))


@pytest.mark.parametrize("digits", [1, 9])
def test_replicates_equal_scikit_learn_with_weights(digits):
    """Images of unequal size, in no order, and one of 23 without a landmark."""
    score, positive = cases(300, digits, seed=2)
    rng = np.random.default_rng(3)
    image = rng.integers(0, 22, 300) ** 2 // 21
    counts = resample_counts(23, 40, rng)
    for ours, reference in (
        (Resamples.auroc, roc_auc_score),
        (Resamples.average_precision, average_precision_score),
    ):
        got = ours(weighted(image, counts), score, positive)
        wanted = [reference(positive, score, sample_weight=row[image]) for row in counts]
        np.testing.assert_allclose(got, wanted, atol=1e-12)
        assert len(np.unique(got)) > 30


@pytest.mark.parametrize("resampled", [Resamples.auroc, Resamples.average_precision])
def test_blocks_of_replicates_are_put_together(resampled, monkeypatch):
    score, positive = cases(50, 1, seed=4)
    counts = resample_counts(5, 23, np.random.default_rng(5))
    image = np.arange(50) % 5
    whole = resampled(weighted(image, counts), score, positive)
    monkeypatch.setattr("kdn.evaluate.resamples._BLOCK", 1)
    np.testing.assert_array_equal(resampled(weighted(image, counts), score, positive), whole)


def test_replicates_without_one_of_the_classes_are_nan():
    score = np.array([1.0, 2.0, 3.0, 0.5])
    positive = np.array([True, False, True, False])
    image = np.array([0, 0, 1, 2])
    counts = np.array([[0.0, 3.0, 0.0], [1.0, 1.0, 1.0], [0.0, 0.0, 3.0], [0.0, 0.0, 0.0]])
    got = weighted(image, counts).auroc(score, positive)
    np.testing.assert_array_equal(got, [np.nan, 0.75, np.nan, np.nan])
    precise = weighted(image, counts).average_precision(score, positive)
    np.testing.assert_allclose(precise, [1.0, (1 + 2 / 3) / 2, np.nan, np.nan])
