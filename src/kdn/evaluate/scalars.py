"""How well predicted numbers, such as ages or intensities, agree with their labels."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

from kdn.evaluate.resamples import Resamples

__all__ = ["f1_at", "icc31"]

Replicates = Float[np.ndarray, " replicates"]


def f1_at(
    target: Float[np.ndarray, " n"],
    prediction: Float[np.ndarray, " n"],
    threshold: float,
    resamples: Resamples,
) -> Replicates:
    """Return the F1 score of detecting labels of at least a threshold, `2·TP/(2·TP + FP + FN)`.

    A label is positive if `target ≥ threshold`, and so is a prediction, as it stands: 1.99 is
    negative at 2. Where published work rounds predictions to whole intensities first, round them
    before.

    Args:
        target: Labels.
        prediction: On the labels' scale.
        threshold: Least positive value, such as 2 for intensities of action units.
        resamples: Of the labels.

    Returns:
        From 0 to 1; NaN where no label and no prediction is positive.

    Raises:
        ValueError: If the threshold is not finite.

    Example:
        >>> target, prediction = np.array([0.0, 2.0, 3.0, 5.0]), np.array([2.0, 1.99, 2.5, 4.0])
        >>> f1_at(target, prediction, 2, Resamples(4)).round(3).item()
        0.667
    """
    if not math.isfinite(threshold):
        raise ValueError(f"threshold must be finite, got {threshold}")
    true, called = target >= threshold, prediction >= threshold
    # 2·TP + FP + FN is the number of positive labels and of positive predictions.
    hits, size = resamples.sums([1.0 * (true & called), 1.0 * true + called]).T
    return np.divide(2.0 * hits, size, out=np.full(len(size), np.nan), where=size > 0)


def icc31(ratings: Float[np.ndarray, "n raters"], resamples: Resamples) -> Replicates:
    """Return the intraclass correlation ICC(3,1): two-way mixed, consistency, a single rater.

    With the mean squares between samples `BMS` and of the residuals `EMS` of the two-way analysis
    of variance without repetition, and k raters, it is

        (BMS − EMS) / (BMS + (k − 1)·EMS).

    A constant that one rater adds to all ratings does not change it; a factor does.

    Args:
        ratings: A row for each sample, such as label and prediction:
            `np.stack([target, prediction], axis=1)`.
        resamples: Of the samples. The result is that of data with each row so many times in it.

    Returns:
        From −1/(k − 1) to 1; NaN where every sample has the same ratings, but for each rater's
        constant.

    Raises:
        ValueError: If there are fewer than two raters.

    References:
        P. E. Shrout and J. L. Fleiss, Intraclass correlations: uses in assessing rater reliability,
        Psychological Bulletin 86 (1979) 420-428, whose example this is.

    Example:
        >>> judges = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8],
        ...                    [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7.0]])
        >>> icc31(judges, Resamples(6)).round(2).item()
        0.71
    """
    raters = ratings.shape[1]
    if raters < 2:
        raise ValueError(f"ratings must be of at least two raters, got {raters}")
    kept = ratings - ratings.sum(axis=0) / max(1, len(ratings))  # small numbers, little rounding
    means = kept.mean(axis=1, keepdims=True)
    between = raters * _squares(means, resamples).sum(axis=1)
    # (W − 1) of both mean squares, W the size of a resample, cancels.
    residual = _squares(kept - means, resamples).sum(axis=1) / (raters - 1)
    below = between + (raters - 1) * residual
    return np.divide(between - residual, below, out=np.full(len(below), np.nan), where=below > 0)


def _squares(
    values: Float[np.ndarray, "n columns"], resamples: Resamples
) -> Float[np.ndarray, "replicates columns"]:
    """Return `Σ c·(x − mean)²` of each column, the mean weighted too, as `Σ c·x² − (Σ c·x)²/Σ c`.

    Rounding of the sums, up to n·ε of the first, is taken for the zero that it is.
    """
    size = resamples.sums([np.ones(len(values))])
    total, square = resamples.sums(values.T), resamples.sums(values.T**2)
    mean = np.divide(total, size, out=np.zeros_like(total), where=size > 0)
    spread = square - total * mean
    return np.where(spread > len(values) * np.finfo(np.float64).eps * square, spread, 0.0)
