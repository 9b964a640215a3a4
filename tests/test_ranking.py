"""Area under the ROC and average precision against scikit-learn, with weights, ties, by hand."""

import math

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from kdn.evaluate import auroc, average_precision, resample_counts
from kdn.evaluate.ranking import auroc_resampled, average_precision_resampled


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
        (auroc_resampled, roc_auc_score),
        (average_precision_resampled, average_precision_score),
    ):
        got = ours(score, positive, image, counts)
        wanted = [reference(positive, score, sample_weight=row[image]) for row in counts]
        np.testing.assert_allclose(got, wanted, atol=1e-12)
        assert len(np.unique(got)) > 30


@pytest.mark.parametrize("resampled", [auroc_resampled, average_precision_resampled])
def test_blocks_of_replicates_are_put_together(resampled, monkeypatch):
    score, positive = cases(50, 1, seed=4)
    counts = resample_counts(5, 23, np.random.default_rng(5))
    image = np.arange(50) % 5
    whole = resampled(score, positive, image, counts)
    monkeypatch.setattr("kdn.evaluate.pooled._BLOCK", 1)
    np.testing.assert_array_equal(resampled(score, positive, image, counts), whole)


def test_replicates_without_one_of_the_classes_are_nan():
    score = np.array([1.0, 2.0, 3.0, 0.5])
    positive = np.array([True, False, True, False])
    image = np.array([0, 0, 1, 2])
    counts = np.array([[0.0, 3.0, 0.0], [1.0, 1.0, 1.0], [0.0, 0.0, 3.0], [0.0, 0.0, 0.0]])
    got = auroc_resampled(score, positive, image, counts)
    np.testing.assert_array_equal(got, [np.nan, 0.75, np.nan, np.nan])
    precise = average_precision_resampled(score, positive, image, counts)
    np.testing.assert_allclose(precise, [1.0, (1 + 2 / 3) / 2, np.nan, np.nan])
