"""The area under the ROC against scikit-learn, with weights, ties and cases done by hand."""

import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from kdn.metrics import auroc, resample_counts
from kdn.metrics.ranking import auroc_resampled


def cases(size: int, digits: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores that know a little, rounded so that some are equal, and what they should rank."""
    rng = np.random.default_rng(seed)
    positive = rng.uniform(size=size) < 0.3
    return (rng.normal(size=size) + 0.7 * positive).round(digits), positive


@pytest.mark.parametrize("digits", [0, 1, 9])
def test_area_equals_scikit_learn(digits):
    score, positive = cases(211, digits, seed=0)
    assert auroc(score, positive) == pytest.approx(roc_auc_score(positive, score), abs=1e-12)


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
    got = auroc_resampled(score, positive, image, counts)
    wanted = [roc_auc_score(positive, score, sample_weight=row[image]) for row in counts]
    np.testing.assert_allclose(got, wanted, atol=1e-12)
    assert len(np.unique(got)) > 30


def test_blocks_of_replicates_are_put_together(monkeypatch):
    score, positive = cases(50, 1, seed=4)
    counts = resample_counts(5, 23, np.random.default_rng(5))
    image = np.arange(50) % 5
    whole = auroc_resampled(score, positive, image, counts)
    monkeypatch.setattr("kdn.metrics.pooled._BLOCK", 1)
    np.testing.assert_array_equal(auroc_resampled(score, positive, image, counts), whole)


def test_replicates_without_one_of_the_classes_are_nan():
    score = np.array([1.0, 2.0, 3.0, 0.5])
    positive = np.array([True, False, True, False])
    image = np.array([0, 0, 1, 2])
    counts = np.array([[0.0, 3.0, 0.0], [1.0, 1.0, 1.0], [0.0, 0.0, 3.0], [0.0, 0.0, 0.0]])
    got = auroc_resampled(score, positive, image, counts)
    np.testing.assert_array_equal(got, [np.nan, 0.75, np.nan, np.nan])
