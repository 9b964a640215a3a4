"""Whether densities are calibrated where labels are rounded, as ages in whole years are.

A label y that was rounded to a multiple of r says no more than that the truth lies between
`y − r/2` and `y + r/2`, so the distribution function F is known at both ends: `cdf_low` is
`F(y − r/2)` and `cdf_high` is `F(y + r/2)`. The probability integral transform of the truth, given
its label, is taken as uniform between the two. Both functions then hold what they say on average if
the predicted masses of the rounded labels are right.

`counts` are those of `kdn.evaluate.values`.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from kdn.evaluate.bootstrap import resampled_mean
from kdn.evaluate.values import kept_values

__all__ = ["central_coverage", "pit_histogram"]

_ROUNDING = 1e-6  # of distribution functions that were summed in float32

Values = Float[np.ndarray, " n"]
Counts = Float[np.ndarray, "replicates n"]


def central_coverage(
    cdf_low: Values,
    cdf_high: Values,
    nominal: float,
    counts: Counts | None = None,
    *,
    valid: Bool[np.ndarray, " n"] | None = None,
) -> Float[np.ndarray, " replicates"]:
    """Return the expected percentage of labels in the central interval of mass `nominal`.

    The central interval holds what lies between the quantiles `(1 − a)/2` and `(1 + a)/2`, a the
    nominal mass. Of a rounded label it holds the share of `[cdf_low, cdf_high]` that lies in
    `[(1 − a)/2, (1 + a)/2]`, and where both ends are equal (no rounding, or no mass there) all or
    nothing.

    Args:
        cdf_low: `F(y − r/2)`.
        cdf_high: `F(y + r/2)`.
        nominal: Between 0 and 1.
        counts: See above.
        valid: Which samples count; those whose `cdf_low` is not NaN by default.

    Returns:
        One number a row of counts, NaN where nothing counts; `100·nominal` is right.

    Raises:
        ValueError: If `nominal` is not between 0 and 1, or if the ends are not finite, not in
            [0, 1] or in the wrong order where they count.

    Example:
        >>> low, high = np.array([0.0, 0.4, 0.2]), np.array([0.5, 0.6, 0.2])
        >>> central_coverage(low, high, 0.5).round(2).item()  # ½, 1 and 0
        50.0
    """
    if not 0 <= nominal <= 1:
        raise ValueError(f"nominal must be between 0 and 1, got {nominal}")
    valid = ~np.isnan(cdf_low) if valid is None else valid
    low, high = _ends(cdf_low, cdf_high, valid)
    first, last = 0.5 - 0.5 * nominal, 0.5 + 0.5 * nominal
    shared = (np.minimum(high, last) - np.maximum(low, first)).clip(0.0)
    inside = ((low >= first) & (low <= last)).astype(np.float64)
    width = high - low
    share = np.divide(shared, width, out=inside, where=width > 0).clip(0.0, 1.0)
    counts = np.ones((1, len(valid))) if counts is None else counts
    return resampled_mean(100.0 * share, valid * 1.0, counts)


def pit_histogram(
    cdf_low: Values,
    cdf_high: Values,
    bins: int,
    counts: Counts | None = None,
    *,
    valid: Bool[np.ndarray, " n"] | None = None,
) -> Float[np.ndarray, "replicates bins"]:
    """Return the histogram, not randomised, of the probability integral transform.

    The transform of a sample is spread evenly from `cdf_low` to `cdf_high`; what is returned is the
    mean share of it in each of `bins` equal parts of [0, 1]. Where both ends are equal all of it is
    in one bin, which includes its lower end (the last one both ends).

    Args:
        cdf_low: `F(y − r/2)`.
        cdf_high: `F(y + r/2)`.
        bins: Number of bins, at least 1.
        counts: See above.
        valid: Which samples count; those whose `cdf_low` is not NaN by default.

    Returns:
        Shares that add up to 1, one row a row of counts, NaN where nothing counts; `1/bins` each
        where densities are calibrated. ∪ is too narrow, ∩ too wide, a slope is a bias.

    Raises:
        ValueError: If there is no bin, or if the ends are not finite, not in [0, 1] or in the wrong
            order where they count.

    References:
        C. Czado, T. Gneiting and L. Held, Predictive model assessment for count data, Biometrics 65
        (2009) 1254-1261.

    Example:
        >>> pit_histogram(np.array([0.0, 0.75]), np.array([0.5, 0.75]), 4).tolist()
        [[0.25, 0.25, 0.0, 0.5]]
    """
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins}")
    valid = ~np.isnan(cdf_low) if valid is None else valid
    low, high = _ends(cdf_low, cdf_high, valid)
    edges = np.arange(bins + 1) / bins
    width = (high - low)[:, None]
    own = (np.searchsorted(edges, low, side="right") - 1).clip(0, bins - 1)
    points = (own[:, None] == np.arange(bins)).astype(np.float64)
    shared = np.minimum(high[:, None], edges[1:]) - np.maximum(low[:, None], edges[:-1])
    shares = np.divide(shared.clip(0.0), width, out=points, where=width > 0)
    counts = np.ones((1, len(valid))) if counts is None else counts
    size = (counts @ (valid * 1.0))[:, None]
    total = counts @ (shares * valid[:, None])
    return np.divide(total, size, out=np.full(total.shape, np.nan), where=size > 0)


def _ends(
    cdf_low: Values, cdf_high: Values, valid: Bool[np.ndarray, " n"]
) -> list[Float[np.ndarray, " n"]]:
    """Return both ends, within [0, 1] and in order."""
    low, high = kept_values(valid, cdf_low=cdf_low, cdf_high=cdf_high)
    wrong = np.flatnonzero((low < -_ROUNDING) | (high > 1 + _ROUNDING) | (low > high + _ROUNDING))
    if len(wrong):
        i = wrong[0]
        raise ValueError(
            f"cdf_low and cdf_high must be in order from 0 to 1, got {low[i]} and {high[i]} for "
            f"sample {i}"
        )
    low = low.clip(0.0, 1.0)
    return [low, np.maximum(low, high.clip(0.0, 1.0))]
