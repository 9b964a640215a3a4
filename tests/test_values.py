"""Metrics of one number a sample, against scikit-learn, analyses of variance and cases by hand."""

import numpy as np
import pytest
from sklearn.metrics import f1_score
from sklearn.metrics import mean_absolute_error as mae_of_sklearn

from kdn.evaluate import (
    cumulative_score,
    f1_at,
    icc31,
    interval,
    mean_absolute_error,
    resample_counts,
)

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


def test_mean_absolute_errors_are_those_of_scikit_learn(data):
    target, prediction, valid, counts = data
    for rows in (counts, counts * 0.37):
        got = mean_absolute_error(target, prediction, rows, valid=valid)
        wanted = [
            mae_of_sklearn(target[valid], prediction[valid], sample_weight=row[valid])
            for row in rows
        ]
        np.testing.assert_allclose(got, wanted, rtol=1e-13)
    one = mean_absolute_error(target, prediction, valid=valid)
    np.testing.assert_allclose(one, got[:1], rtol=1e-13)


@pytest.mark.parametrize("threshold", [1, 2, 3.5])
def test_f1_is_that_of_scikit_learn(data, threshold):
    target, prediction, valid, counts = data
    for rows in (counts, counts * 0.37):
        got = f1_at(target, prediction, threshold, rows, valid=valid)
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


@pytest.mark.parametrize("threshold", [0, 0.5, 1.25])
def test_cumulative_scores_of_resamples(data, threshold):
    target, prediction, valid, counts = data
    errors = prediction - target
    got = cumulative_score(errors, threshold, counts, valid=valid)
    resamples = [errors[drawn(row, valid)] for row in counts]
    wanted = [100 * np.mean([abs(e) <= threshold for e in some]) for some in resamples]
    np.testing.assert_allclose(got, wanted, rtol=1e-13)


def test_cumulative_scores_by_hand():
    errors = np.array([5.0, -5.0, 5.0001, -7.0, 0.0, np.nan])
    assert cumulative_score(errors, 5).tolist() == [60.0]
    assert cumulative_score(errors, 0).tolist() == [20.0]
    assert cumulative_score(errors, np.inf).tolist() == [100.0]
    valid = np.array([True, False, True, False, False, False])
    assert cumulative_score(errors, 5, valid=valid).tolist() == [50.0]


def test_f1_by_hand():
    target = np.array([0.0, 1.0, 2.0, 3.0, 5.0, np.nan])
    prediction = np.array([2.0, 0.3, 1.999, 2.0, 4.5, 5.0])
    # 3 and 5 are found, 2 is missed, 0 is found by mistake: 2·2/(2·2 + 1 + 1).
    assert f1_at(target, prediction, 2).tolist() == [pytest.approx(4 / 6)]
    assert f1_at(target, prediction, 5).tolist() == [0.0]
    assert np.isnan(f1_at(target, prediction, 6)).all()
    assert f1_at(target, target, 2).tolist() == [1.0]


def test_the_example_of_shrout_and_fleiss():
    judges = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
    ratings = np.array(judges, float)
    # Their table: BMS 11.24 and EMS 1.02, so (11.24 − 1.02)/(11.24 + 3·1.02).
    assert icc31(ratings).item() == pytest.approx(0.7148, abs=5e-4)
    assert icc31(ratings).item() == pytest.approx(anova(ratings), rel=1e-12)
    constants = ratings + np.array([0, 100, -3, 0.5])
    np.testing.assert_allclose(icc31(constants), icc31(ratings), rtol=1e-10)


@pytest.mark.parametrize("raters", [2, 3])
def test_icc_of_resamples(data, raters):
    target, prediction, valid, counts = data
    third = np.sin(np.arange(N)) + target
    ratings = np.stack([target, prediction, third][:raters], axis=1)
    got = icc31(ratings, counts, valid=valid)
    wanted = [anova(ratings[drawn(row, valid)]) for row in counts]
    np.testing.assert_allclose(got, wanted, rtol=1e-10)
    assert 0.4 < got[0] < 0.95
    np.testing.assert_allclose(icc31(ratings + 1e6, counts, valid=valid), got, rtol=1e-6)


def test_icc_at_its_ends():
    x = np.array([0.1, 0.3, 0.9, 0.4, 0.1])
    np.testing.assert_allclose(icc31(np.stack([x, x + 7], 1)), 1.0, atol=1e-12)
    np.testing.assert_allclose(icc31(np.stack([x, -x], 1)), -1.0, atol=1e-12)
    np.testing.assert_allclose(icc31(np.stack([x, 0 * x + 0.3], 1)), 0.0, atol=1e-12)
    constant = np.stack([0 * x + 0.1, 0 * x + 0.7], 1)
    assert np.isnan(icc31(constant)).all()
    # One sample drawn five times, and one that is drawn not at all.
    counts = np.array([[5.0, 0, 0, 0, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1], [2, 0, 0, 0, 3]])
    got = icc31(np.stack([x, x**2], 1), counts)
    assert np.isnan(got).tolist() == [True, True, False, True]


def test_missing_labels_do_not_count():
    target = np.array([1.0, np.nan, 4.0, 2.0])
    prediction = np.array([3.0, 100.0, 3.0, 2.0])
    assert mean_absolute_error(target, prediction).tolist() == [1.0]
    both = np.stack([target, prediction], 1)
    kept = both[[0, 2, 3]]
    np.testing.assert_allclose(icc31(both), anova(kept))
    nothing = np.zeros(4, bool)
    for got in (
        mean_absolute_error(target, prediction, valid=nothing),
        cumulative_score(target - prediction, 5, valid=nothing),
        f1_at(target, prediction, 2, valid=nothing),
        icc31(both, valid=nothing),
    ):
        assert got.shape == (1,)
        assert np.isnan(got).all()


def test_predictions_that_are_missing_are_not_left_out_in_silence():
    target, prediction = np.array([1.0, 2.0, 4.0]), np.array([3.0, np.nan, 3.0])
    said = "prediction must be finite, got nan for sample 1"
    with pytest.raises(ValueError, match=said):
        mean_absolute_error(target, prediction)
    with pytest.raises(ValueError, match=said):
        f1_at(target, prediction, 2)
    with pytest.raises(ValueError, match="ratings must be finite, got nan for sample 1"):
        icc31(np.stack([target, prediction], 1))
    valid = np.array([True, False, True])
    assert mean_absolute_error(target, prediction, valid=valid).tolist() == [1.5]
    with pytest.raises(ValueError, match="errors must be finite, got inf for sample 0"):
        cumulative_score(np.array([np.inf, 1.0]), 5)
    with pytest.raises(ValueError, match="threshold must be 0 or more, got -1"):
        cumulative_score(target, -1)
    with pytest.raises(ValueError, match="threshold must be finite, got nan"):
        f1_at(target, target, np.nan)
    with pytest.raises(ValueError, match="at least two raters, got 1"):
        icc31(target[:, None])


def test_intervals_hold_the_true_icc_as_often_as_they_say():
    """True values of variance 4 and two errors of variance 1: ICC(3,1) is 0.8."""
    rng = np.random.default_rng(5)
    held = 0
    for _ in range(200):
        truth = rng.normal(0, 2, 60)
        ratings = np.stack([truth + rng.normal(0, 1, 60), truth + 3 + rng.normal(0, 1, 60)], 1)
        low, high = interval(icc31(ratings, resample_counts(60, 200, rng)))
        held += low <= 0.8 <= high
    assert 0.88 <= held / 200 <= 0.98
