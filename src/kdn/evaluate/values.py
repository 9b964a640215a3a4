"""How far a predicted number, such as an age or an intensity, is from the label.

Every function returns one number for each row of `counts`: how often, or with what weight, each
sample counts there. With `resample_counts` and a row of ones put before them, the first number is
the metric and the others are its replicates (`interval`). Without `counts` there is that one row.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, Float, Shaped

from kdn.evaluate.bootstrap import resampled_mean

__all__ = ["cumulative_score", "f1_at", "icc31", "kept_values", "mean_absolute_error"]

Counts = Float[np.ndarray, "replicates n"]
Valid = Bool[np.ndarray, " n"]
Replicates = Float[np.ndarray, " replicates"]


def mean_absolute_error(
    target: Float[np.ndarray, " n"],
    prediction: Float[np.ndarray, " n"],
    counts: Counts | None = None,
    *,
    valid: Valid | None = None,
) -> Replicates:
    """Return the mean absolute error `Σ c·|prediction − target| / Σ c`, in the label's unit.

    Args:
        target: Labels; NaN where there is none.
        prediction: What is scored, such as the median of a density, whose expected error is least.
        counts: See above.
        valid: Which samples count; those whose label is not NaN by default.

    Returns:
        One number a row of counts, NaN where nothing counts.

    Raises:
        ValueError: If a number is not finite where it counts.

    Example:
        >>> target, prediction = np.array([20.0, 35.0, np.nan]), np.array([21.0, 32.0, 50.0])
        >>> mean_absolute_error(target, prediction).item()
        2.0
        >>> mean_absolute_error(target, prediction, np.array([[3.0, 1.0, 1.0]])).item()
        1.5
    """
    valid = ~np.isnan(target) if valid is None else valid
    truth, guess = kept_values(valid, target=target, prediction=prediction)
    return resampled_mean(np.abs(guess - truth), valid * 1.0, _rows(counts, len(valid)))


def cumulative_score(
    errors: Float[np.ndarray, " n"],
    threshold: float,
    counts: Counts | None = None,
    *,
    valid: Valid | None = None,
) -> Replicates:
    """Return the cumulative score CS@k: percent of samples with `|error| ≤ k`.

    Args:
        errors: `prediction − target`, or its absolute value.
        threshold: k, in the label's unit; an error of exactly k counts as within.
        counts: See above.
        valid: Which samples count; those whose error is not NaN by default.

    Returns:
        One number a row of counts, NaN where nothing counts.

    Raises:
        ValueError: If an error is not finite where it counts, or if the threshold is NaN or
            negative.

    Example:
        >>> cumulative_score(np.array([0.5, -5.0, 5.1, 9.0]), 5).item()
        50.0
    """
    if not threshold >= 0:
        raise ValueError(f"threshold must be 0 or more, got {threshold}")
    valid = ~np.isnan(errors) if valid is None else valid
    [apart] = kept_values(valid, errors=errors)
    within = 100.0 * (np.abs(apart) <= threshold)
    return resampled_mean(within, valid * 1.0, _rows(counts, len(valid)))


def f1_at(
    target: Float[np.ndarray, " n"],
    prediction: Float[np.ndarray, " n"],
    threshold: float,
    counts: Counts | None = None,
    *,
    valid: Valid | None = None,
) -> Replicates:
    """Return the F1 score of detecting labels of at least a threshold, `2·TP/(2·TP + FP + FN)`.

    A label is positive if `target ≥ threshold`, and so is a prediction, as it stands: 1.99 is
    negative at 2. Where published work rounds predictions to whole intensities first, round them
    before.

    Args:
        target: Labels; NaN where there is none.
        prediction: On the labels' scale.
        threshold: Least positive value, such as 2 for intensities of action units.
        counts: See above.
        valid: Which samples count; those whose label is not NaN by default.

    Returns:
        From 0 to 1, one number a row of counts; NaN where no label and no prediction is positive.

    Raises:
        ValueError: If a number is not finite where it counts, or if the threshold is not finite.

    Example:
        >>> target, prediction = np.array([0.0, 2.0, 3.0, 5.0]), np.array([2.0, 1.99, 2.5, 4.0])
        >>> f1_at(target, prediction, 2).round(3).item()
        0.667
    """
    if not math.isfinite(threshold):
        raise ValueError(f"threshold must be finite, got {threshold}")
    valid = ~np.isnan(target) if valid is None else valid
    truth, guess = kept_values(valid, target=target, prediction=prediction)
    true, found = ((values >= threshold) & valid for values in (truth, guess))
    # 2·TP + FP + FN is the number of positive labels and of positive predictions.
    hits, size = (_rows(counts, len(valid)) @ np.stack([true & found, true * 1.0 + found], 1)).T
    return np.divide(2.0 * hits, size, out=np.full(len(size), np.nan), where=size > 0)


def icc31(
    ratings: Float[np.ndarray, "n raters"],
    counts: Counts | None = None,
    *,
    valid: Valid | None = None,
) -> Replicates:
    """Return the intraclass correlation ICC(3,1): two-way mixed, consistency, a single rater.

    With the mean squares between samples `BMS` and of the residuals `EMS` of the two-way analysis
    of variance without repetition, and k raters, it is

        (BMS − EMS) / (BMS + (k − 1)·EMS).

    A constant that one rater adds to all ratings does not change it; a factor does.

    Args:
        ratings: A row for each sample, such as label and prediction:
            `np.stack([target, prediction], axis=1)`.
        counts: See above. The result is that of data with each row so many times in it.
        valid: Which samples count; those whose first rating is not NaN by default.

    Returns:
        From −1/(k − 1) to 1, one number a row of counts; NaN where every sample has the same
        ratings, but for each rater's constant.

    Raises:
        ValueError: If there are fewer than two raters, or if a rating is not finite where it
            counts.

    References:
        P. E. Shrout and J. L. Fleiss, Intraclass correlations: uses in assessing rater reliability,
        Psychological Bulletin 86 (1979) 420-428, whose example this is.

    Example:
        >>> judges = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8],
        ...                    [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7.0]])
        >>> icc31(judges).round(2).item()
        0.71
    """
    raters = ratings.shape[1]
    if raters < 2:
        raise ValueError(f"ratings must be of at least two raters, got {raters}")
    valid = ~np.isnan(ratings[:, 0]) if valid is None else valid
    [kept] = kept_values(valid, ratings=ratings)
    kept = kept - kept.sum(axis=0) / max(1, valid.sum())  # smaller numbers, less rounding
    means = kept.mean(axis=1, keepdims=True)
    rows = _rows(counts, len(valid))
    between = raters * _squares(means, valid, rows).sum(axis=1)
    # (W − 1) of both mean squares, W the sum of a row of counts, cancels.
    residual = _squares(kept - means, valid, rows).sum(axis=1) / (raters - 1)
    below = between + (raters - 1) * residual
    return np.divide(between - residual, below, out=np.full(len(rows), np.nan), where=below > 0)


def kept_values(
    valid: Valid, **values: Shaped[np.ndarray, "n ..."]
) -> list[Float[np.ndarray, "n ..."]]:
    """Return values in float64, 0 where they do not count.

    Args:
        valid: Which samples count.
        values: Arrays by their name, the first axis of each is that of the samples.

    Raises:
        ValueError: If a value that counts is not finite; the message has its name.
    """
    kept = []
    for name, array in values.items():
        column = valid.reshape(-1, *[1] * (array.ndim - 1))
        numbers = np.where(column, array, 0.0).astype(np.float64)
        wrong = np.argwhere(~np.isfinite(numbers))
        if len(wrong):
            place = tuple(wrong[0])
            raise ValueError(f"{name} must be finite, got {numbers[place]} for sample {place[0]}")
        kept.append(numbers)
    return kept


def _rows(counts: Counts | None, samples: int) -> Counts:
    """Return counts, a row of ones if there are none."""
    return np.ones((1, samples)) if counts is None else counts


def _squares(
    values: Float[np.ndarray, "n columns"], valid: Valid, counts: Counts
) -> Float[np.ndarray, "replicates columns"]:
    """Return `Σ c·(x − mean)²` of each column, the mean weighted too, as `Σ c·x² − (Σ c·x)²/Σ c`.

    Rounding of the sums, up to n·ε of the first, is taken for the zero that it is.
    """
    values = np.where(valid[:, None], values, 0.0)
    size = (counts @ (valid * 1.0))[:, None]
    total, square = counts @ values, counts @ values**2
    mean = np.divide(total, size, out=np.zeros_like(total), where=size > 0)
    spread = square - total * mean
    return np.where(spread > len(values) * np.finfo(np.float64).eps * square, spread, 0.0)
