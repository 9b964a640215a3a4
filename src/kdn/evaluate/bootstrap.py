"""Confidence intervals by resampling images.

The landmarks of an image err together, so images are drawn, never landmarks. A resample is kept as
how often each image was drawn (`counts`), one row per replicate, and every statistic of all
replicates is computed from the counts at once: a mean is one matrix product, and order statistics
need one sort in all.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float, Int

from kdn.evaluate.pooled import blocks

__all__ = ["interval", "resample_counts", "resampled_mean", "resampled_median"]


def resample_counts(
    images: int, replicates: int, generator: np.random.Generator
) -> Float[np.ndarray, "replicates images"]:
    """Return how often each image occurs in each of `replicates` draws of `images` images.

    Raises:
        ValueError: If `images` or `replicates` is negative.
    """
    if images < 0 or replicates < 0:
        raise ValueError(f"images and replicates must be 0 or more, got {images}, {replicates}")
    if images == 0:
        return np.zeros((replicates, 0))
    shares = np.full(images, 1.0 / images)
    return generator.multinomial(images, shares, size=replicates).astype(np.float64)


def resampled_mean(
    totals: Float[np.ndarray, " images"],
    sizes: Float[np.ndarray, " images"],
    counts: Float[np.ndarray, "replicates images"],
) -> Float[np.ndarray, " replicates"]:
    """Return `Σ counts·totals / Σ counts·sizes` for every replicate.

    For a mean over images `totals` are the values and `sizes` are 1 (0 where an image does not
    count); for a mean over landmarks they are the sum over an image's valid landmarks and their
    number. A total may be infinite: a replicate with such an image is infinite. NaN where the
    sizes of a replicate add up to nothing. Totals of images of size 0 are ignored.
    """
    totals = np.where(sizes > 0, totals, 0.0)
    above, below = (counts @ (totals == sign * np.inf) > 0 for sign in (1.0, -1.0))
    size = counts @ sizes
    total = counts @ np.where(np.isinf(totals), 0.0, totals)
    mean = np.divide(total, size, out=np.full(len(counts), np.nan), where=size > 0)
    mean[above], mean[below] = np.inf, -np.inf
    mean[above & below] = np.nan
    return mean


def resampled_median(
    values: Float[np.ndarray, " N"],
    image: Int[np.ndarray, " N"],
    counts: Float[np.ndarray, "replicates images"],
) -> Float[np.ndarray, " replicates"]:
    """Return the median of pooled values for every replicate (of two middle values, the mean).

    Args:
        values: One per landmark, of all images.
        image: The image of each.
        counts: As from `resample_counts`.
    """
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    result = np.full(len(counts), np.nan)
    for rows, weights in blocks(counts, image[order]):
        reached = np.ascontiguousarray(np.cumsum(weights, axis=0).T)
        for row, cumulative in enumerate(reached, rows.start):
            drawn = cumulative[-1] if len(cumulative) else 0.0
            if drawn > 0:
                middle = [np.floor((drawn - 1) / 2) + 1, np.floor(drawn / 2) + 1]
                low, high = ordered[np.searchsorted(cumulative, middle)]
                result[row] = low if low == high else 0.5 * (low + high)
    return result


def interval(values: Float[np.ndarray, " replicates"], level: float = 0.95) -> tuple[float, float]:
    """Return the percentile interval of a statistic's replicates.

    Its ends are replicates themselves, so that infinite ones do no harm. Replicates that are NaN,
    for which the statistic is not defined, are left out; NaN if none is left.

    Raises:
        ValueError: If the level is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, got {level}")
    kept = values[~np.isnan(values)]
    if not len(kept):
        return math.nan, math.nan
    low = np.quantile(kept, 0.5 - 0.5 * level, method="lower")
    high = np.quantile(kept, 0.5 + 0.5 * level, method="higher")
    return float(low), float(high)
