"""Metrics of one number a sample, against scikit-learn, analyses of variance and cases by hand."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from kdn.evaluate import Resamples, f1_at, icc31, interval
from plain import resample_counts, weighted

N, REPLICATES = 43, 12


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return labels and predictions, a few of both not valid, and counts; the first row is ones."""
    rng = np.random.default_rng(0)
    target = rng.choice(6, N, p=[0.5, 0.1, 0.1, 0.1, 0.1, 0.1]).astype(float)
    prediction = 0.7 * target + 0.8 + rng.normal(0, 0.8, N)
    valid = rng.random(N) < 0.8
    target[~valid] = np.where(rng.random(N) < 0.5, np.nan, 99.0)[~valid]
    prediction[~valid] = np.where(rng.random(N) < 0.5, np.nan, -50.0)[~valid]
    counts = np.concatenate([np.ones((1, N)), resample_counts(N, REPLICATES - 1, rng)])
    assert 0 < valid.sum() < N
    return target, prediction, valid, counts


def drawn(row: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Return the valid samples of a resample, each as often as it was drawn."""
    rows = np.repeat(np.arange(N), row.astype(int))
    return rows[valid[rows]]


def anova(ratings: np.ndarray) -> float:
    """Return ICC(3,1) from the table of the two-way analysis of variance, written out."""
    n, k = ratings.shape
    grand = ratings.mean()
    total = sum((x - grand) ** 2 for x in ratings.ravel())
    rows = k * sum((row.mean() - grand) ** 2 for row in ratings)
    columns = n * sum((column.mean() - grand) ** 2 for column in ratings.T)
    bms, ems = rows / (n - 1), (total - rows - columns) / ((n - 1) * (k - 1))
    return (bms - ems) / (bms + (k - 1) * ems)


@pytest.mark.parametrize("threshold", [1, 2, 3.5])
def test_f1_is_that_of_scikit_learn(data, threshold):
    target, prediction, valid, counts = data
    for rows in (counts, counts * 0.37):
        got = f1_at(
            target[valid], prediction[valid], threshold, weighted(np.flatnonzero(valid), rows)
        )
        wanted = [
            f1_score(
                target[valid] >= threshold,
                prediction[valid] >= threshold,
                sample_weight=row[valid],
                zero_division=np.nan,  # type: ignore[arg-type]
            )
            for row in rows
        ]
        np.testing.assert_allclose(got, wanted, rtol=1e-13)
    assert len(np.unique(got)) > REPLICATES // 2


def test_f1_by_hand():
    target = np.array([0.0, 1.0, 2.0, 3.0, 5.0])
    prediction = np.array([2.0, 0.3, 1.999, 2.0, 4.5])
    five = Resamples(5)
    # 3 and 5 are found, 2 is missed, 0 is found by mistake: 2·2/(2·2 + 1 + 1).
    assert f1_at(target, prediction, 2, five).tolist() == [pytest.approx(4 / 6)]
    assert f1_at(target, prediction, 5, five).tolist() == [0.0]
    assert np.isnan(f1_at(target, prediction, 6, five)).all()
    assert f1_at(target, target, 2, five).tolist() == [1.0]


def test_the_example_of_shrout_and_fleiss():
    judges = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
    ratings = np.array(judges, float)
    # Their table: BMS 11.24 and EMS 1.02, so (11.24 − 1.02)/(11.24 + 3·1.02).
    assert icc31(ratings, Resamples(6)).item() == pytest.approx(0.7148, abs=5e-4)
    assert icc31(ratings, Resamples(6)).item() == pytest.approx(anova(ratings), rel=1e-12)
    constants = ratings + np.array([0, 100, -3, 0.5])
    np.testing.assert_allclose(
        icc31(constants, Resamples(6)), icc31(ratings, Resamples(6)), rtol=1e-10
    )


@pytest.mark.parametrize("raters", [2, 3])
def test_icc_of_resamples(data, raters):
    target, prediction, valid, counts = data
    third = np.sin(np.arange(N)) + target
    ratings = np.stack([target, prediction, third][:raters], axis=1)
    pool, ratings_of = weighted(np.flatnonzero(valid), counts), ratings[valid]
    got = icc31(ratings_of, pool)
    wanted = [anova(ratings[drawn(row, valid)]) for row in counts]
    np.testing.assert_allclose(got, wanted, rtol=1e-10)
    assert 0.4 < got[0] < 0.95
    np.testing.assert_allclose(icc31(ratings_of + 1e6, pool), got, rtol=1e-6)


def test_icc_at_its_ends():
    x = np.array([0.1, 0.3, 0.9, 0.4, 0.1])
    np.testing.assert_allclose(icc31(np.stack([x, x + 7], 1), Resamples(5)), 1.0, atol=1e-12)
    np.testing.assert_allclose(icc31(np.stack([x, -x], 1), Resamples(5)), -1.0, atol=1e-12)
    np.testing.assert_allclose(icc31(np.stack([x, 0 * x + 0.3], 1), Resamples(5)), 0.0, atol=1e-12)
    constant = np.stack([0 * x + 0.1, 0 * x + 0.7], 1)
    assert np.isnan(icc31(constant, Resamples(5))).all()
    # One sample drawn five times, and one that is drawn not at all.
    counts = np.array([[5.0, 0, 0, 0, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1], [2, 0, 0, 0, 3]])
    got = icc31(np.stack([x, x**2], 1), weighted(np.arange(5), counts))
    assert np.isnan(got).tolist() == [True, True, False, True]


def test_intervals_hold_the_true_icc_as_often_as_they_say():
    """True values of variance 4 and two errors of variance 1: ICC(3,1) is 0.8."""
    rng = np.random.default_rng(5)
    held = 0
    for _ in range(200):
        truth = rng.normal(0, 2, 60)
        ratings = np.stack([truth + rng.normal(0, 1, 60), truth + 3 + rng.normal(0, 1, 60)], 1)
        low, high = interval(icc31(ratings, weighted(np.arange(60), resample_counts(60, 200, rng))))
        held += low <= 0.8 <= high
    assert 0.88 <= held / 200 <= 0.98


def test_what_does_not_fit():
    target = np.array([1.0, 2.0, 4.0])
    with pytest.raises(ValueError, match="threshold must be finite, got nan"):
        f1_at(target, target, np.nan, Resamples(3))
    with pytest.raises(ValueError, match="at least two raters, got 1"):
        icc31(target[:, None], Resamples(3))
    nothing = Resamples(3).of(np.zeros(0, np.int64))
    assert np.isnan(f1_at(np.zeros(0), np.zeros(0), 2, nothing)).all()
    assert np.isnan(icc31(np.zeros((0, 2)), nothing)).all()
