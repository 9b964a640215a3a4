"""Whether large uncertainty goes with large error: Pearson's and Spearman's coefficients.

All is pooled over the landmarks of all images. `…_resampled` gives the coefficient of every
bootstrap replicate from how often each image was drawn.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from kdn.evaluate.pooled import blocks, tie_ends

_Moment = Float[np.ndarray, " replicates"]

__all__ = ["pearson", "pearson_resampled", "spearman", "spearman_resampled"]


def pearson(x: Float[np.ndarray, " N"], y: Float[np.ndarray, " N"]) -> float:
    """Return Pearson's coefficient `cov(x, y) / √(var x · var y)`; NaN if either is constant."""
    return float(pearson_resampled(x, y, np.arange(len(x)), np.ones((1, len(x))))[0])


def spearman(x: Float[np.ndarray, " N"], y: Float[np.ndarray, " N"]) -> float:
    """Return Spearman's coefficient: Pearson's of the ranks, equal values sharing their mean rank.

    NaN if either is constant.

    Example:
        >>> round(spearman(np.array([1.0, 2.0, 2.0, 4.0]), np.array([1.0, 3.0, 9.0, 27.0])), 6)
        0.948683
    """
    return float(spearman_resampled(x, y, np.arange(len(x)), np.ones((1, len(x))))[0])


def pearson_resampled(
    x: Float[np.ndarray, " N"],
    y: Float[np.ndarray, " N"],
    image: Int[np.ndarray, " N"],
    counts: Float[np.ndarray, "replicates images"],
) -> Float[np.ndarray, " replicates"]:
    """Return Pearson's coefficient of every replicate.

    Sums are taken per image, of values about their overall mean, and weighted by the counts. NaN
    where a value is infinite, which has a rank but no product.
    """
    if not len(x):
        return np.full(len(counts), np.nan)
    images = counts.shape[1]
    # An empty replicate is NaN, and everything is where a value is infinite.
    with np.errstate(invalid="ignore", divide="ignore"):
        x, y = x - x.mean(), y - y.mean()
        terms = (np.ones_like(x), x, y, x * x, y * y, x * y)
        size, *sums = (counts @ np.bincount(image, term, images) for term in terms)
        mean_x, mean_y, xx, yy, xy = (total / size for total in sums)
    return _coefficient(xy - mean_x * mean_y, (xx, mean_x), (yy, mean_y))


def spearman_resampled(
    x: Float[np.ndarray, " N"],
    y: Float[np.ndarray, " N"],
    image: Int[np.ndarray, " N"],
    counts: Float[np.ndarray, "replicates images"],
) -> Float[np.ndarray, " replicates"]:
    """Return Spearman's coefficient of every replicate, as if each image stood there so often.

    An element drawn `w` times is a run of `w` equal values, so that ranks follow from cumulative
    weights along an order that is sorted once.
    """
    if not len(x):
        return np.full(len(counts), np.nan)
    order = np.argsort(x, kind="stable")
    x, y, image = x[order], y[order], image[order]
    order_y = np.argsort(y, kind="stable")
    back = np.argsort(order_y)
    ends_x, ends_y = tie_ends(x), tie_ends(y[order_y])
    result = np.full(len(counts), np.nan)
    for rows, weights in blocks(counts, image):
        rank_x = _centred_ranks(weights, ends_x)
        rank_y = _centred_ranks(weights.take(order_y, axis=0), ends_y).take(back, axis=0)
        size = weights.sum(axis=0)
        weighted_x, weighted_y = weights * rank_x, weights * rank_y
        pairs = ((weighted_x, rank_x), (weighted_y, rank_y), (weighted_x, rank_y))
        with np.errstate(invalid="ignore", divide="ignore"):
            xx, yy, xy = (np.einsum("nr,nr->r", *pair) / size for pair in pairs)
        result[rows] = _coefficient(xy, (xx, 0.0), (yy, 0.0))
    return result


def _centred_ranks(
    weights: Float[np.ndarray, "N some"], ends: Int[np.ndarray, " groups"]
) -> Float[np.ndarray, "N some"]:
    """Return mean ranks of sorted, weighted elements, less their weighted mean `(Σw + 1)/2`.

    Args:
        weights: In the order of the values.
        ends: The last of each run of equal values.
    """
    cumulative = np.cumsum(weights, axis=0)
    total = cumulative[-1]
    if len(ends) == len(weights):  # no ties
        return cumulative - 0.5 * (weights + total)
    reached = cumulative[ends]
    before = np.concatenate([np.zeros_like(reached[:1]), reached[:-1]])
    return np.repeat(0.5 * (reached + before - total), np.diff(ends, prepend=-1), axis=0)


def _coefficient(
    covariance: _Moment, x: tuple[_Moment, _Moment | float], y: tuple[_Moment, _Moment | float]
) -> Float[np.ndarray, " replicates"]:
    """Return `covariance / √(var x · var y)` of (mean square, mean) pairs, NaN for no variance."""
    variances = []
    for square, mean in (x, y):
        variance = square - mean * mean
        # What is left of squares about the mean by rounding alone is no variance.
        variances.append(np.where(variance > 1e-12 * np.maximum(square, 1e-300), variance, np.nan))
    return np.clip(covariance / np.sqrt(variances[0] * variances[1]), -1.0, 1.0)
