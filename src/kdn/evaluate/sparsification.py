"""Whether leaving out the least sure landmarks leaves out the worst ones.

Source: Ilg et al., "Uncertainty estimates and multi-hypotheses networks for optical flow", 2018.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from kdn.evaluate.pooled import blocks, tie_ends

__all__ = ["REMOVED", "ause", "ause_resampled", "sparsification", "sparsification_resampled"]

REMOVED = tuple(i / 100 for i in range(100))
"""Shares of landmarks left out at which the curves are compared: 0, 1, …, 99 %."""


def sparsification(
    key: Float[np.ndarray, " N"],
    errors: Float[np.ndarray, " N"],
    removed: Float[np.ndarray, " shares"],
) -> Float[np.ndarray, " shares"]:
    """Return the mean error of what is left when the landmarks of the largest key are removed.

    The cumulative error over the kept share is interpolated linearly between landmarks, and
    landmarks of equal key leave together, so that their order does not matter.

    Args:
        key: What is sorted by: the uncertainty, or the error itself for the oracle.
        errors: One per landmark, in any unit.
        removed: Shares in [0, 1).

    Example:
        >>> errors = np.array([1.0, 2.0, 6.0])
        >>> sparsification(np.array([5.0, 4.0, 9.0]), errors, np.array([0.0, 1 / 3, 0.5])).tolist()
        [3.0, 1.5, 1.6666666666666667]
    """
    shares = np.asarray(removed, np.float64)
    once = np.ones((1, len(key)))
    return sparsification_resampled(key, errors, np.arange(len(key)), once, shares)[0]


def ause(uncertainty: Float[np.ndarray, " N"], errors: Float[np.ndarray, " N"]) -> float:
    """Return the area under the sparsification error, as a share of the mean error.

    `mean over f of (curve(f) − oracle(f)) / curve(0)`, f = 0, 1, …, 99 % removed. 0 when
    uncertainty sorts as the error does; independent of the unit of either. NaN if nothing errs.
    """
    once = np.ones((1, len(errors)))
    return float(ause_resampled(uncertainty, errors, np.arange(len(errors)), once)[0])


def ause_resampled(
    uncertainty: Float[np.ndarray, " N"],
    errors: Float[np.ndarray, " N"],
    image: Int[np.ndarray, " N"],
    counts: Float[np.ndarray, "replicates images"],
) -> Float[np.ndarray, " replicates"]:
    """Return the AUSE of every replicate, given how often each image was drawn."""
    removed = np.array(REMOVED)
    curve = sparsification_resampled(uncertainty, errors, image, counts, removed)
    oracle = sparsification_resampled(errors, errors, image, counts, removed)
    whole = np.where(curve[:, 0] > 0, curve[:, 0], np.nan)
    return (curve - oracle).mean(axis=1) / whole


def sparsification_resampled(
    key: Float[np.ndarray, " N"],
    errors: Float[np.ndarray, " N"],
    image: Int[np.ndarray, " N"],
    counts: Float[np.ndarray, "replicates images"],
    removed: Float[np.ndarray, " shares"],
) -> Float[np.ndarray, "replicates shares"]:
    """Return the curve of every replicate, given how often each image was drawn."""
    curves = np.full((len(counts), len(removed)), np.nan)
    if not len(key):
        return curves
    order = np.argsort(key, kind="stable")
    ends, ordered = tie_ends(key[order]), errors[order]
    for rows, weights in blocks(counts, image[order]):
        reached = _cumulative(weights, ends)
        summed = _cumulative(weights * ordered[:, None], ends)
        for row, (kept, total) in enumerate(zip(reached, summed, strict=True), rows.start):
            if kept[-1] > 0:
                wanted = (1.0 - removed) * kept[-1]
                curves[row] = np.interp(wanted, kept, total) / wanted
    return curves


def _cumulative(
    values: Float[np.ndarray, "N some"], ends: Int[np.ndarray, " groups"]
) -> Float[np.ndarray, "some points"]:
    """Return sums up to 0 and up to the end of each run of equal keys, per replicate."""
    result = np.zeros((values.shape[1], len(ends) + 1))
    cumulative = np.cumsum(values, axis=0)
    result[:, 1:] = (cumulative if len(ends) == len(values) else cumulative[ends]).T
    return result
