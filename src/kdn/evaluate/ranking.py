"""Whether a score ranks the positive cases above the negative ones (occluded above visible, say).

All is pooled over the landmarks of all images. `…_resampled` gives the value of every bootstrap
replicate from how often each image was drawn.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

from kdn.evaluate.pooled import blocks, tie_ends

__all__ = ["auroc", "auroc_resampled", "average_precision", "average_precision_resampled"]


def auroc(score: Float[np.ndarray, " N"], positive: Bool[np.ndarray, " N"]) -> float:
    """Return the area under the receiver operating characteristic, in [0, 1].

    It is the probability that a positive case scores above a negative one, equal scores counting
    half: 1 if the score tells them apart, ½ if it knows nothing. NaN without a case of either kind.

    Args:
        score: Larger where positive is more likely.
        positive: True for positive cases.

    Raises:
        ValueError: If a score is NaN, which has no rank.

    Example:
        >>> score = np.array([0.1, 0.4, 0.4, 0.9])
        >>> auroc(score, np.array([False, False, True, True]))
        0.875
    """
    return float(
        auroc_resampled(score, positive, np.arange(len(score)), np.ones((1, len(score))))[0]
    )


def auroc_resampled(
    score: Float[np.ndarray, " N"],
    positive: Bool[np.ndarray, " N"],
    image: Int[np.ndarray, " N"],
    counts: Float[np.ndarray, "replicates images"],
) -> Float[np.ndarray, " replicates"]:
    """Return the area of every replicate, as if each image stood there so often.

    With `P` and `N` the weights of both kinds in a run of equal scores, and `below` the `N` of all
    lower runs, the area is `Σ P·(below + N/2) / (ΣP · ΣN)`: one sort serves all replicates.

    Raises:
        ValueError: If a score is NaN, which has no rank.
    """
    _require_numbers(score)
    result = np.full(len(counts), np.nan)
    if not len(score):
        return result
    order = np.argsort(score, kind="stable")
    ends, is_positive = tie_ends(score[order]), positive[order][:, None]
    for rows, weights in blocks(counts, image[order]):
        drawn = np.where(is_positive, weights, 0.0)
        above = _runs(drawn, ends)
        below = _runs(weights - drawn, ends)
        wins = np.einsum("gr,gr->r", np.diff(above, axis=0), 0.5 * (below[1:] + below[:-1]))
        pairs = above[-1] * below[-1]
        result[rows] = np.divide(wins, pairs, out=result[rows], where=pairs > 0)
    return result


def average_precision(score: Float[np.ndarray, " N"], positive: Bool[np.ndarray, " N"]) -> float:
    """Return the mean precision over the positive cases, `Σ (R_k − R_{k−1}) P_k`, in [0, 1].

    `R_k` and `P_k` are recall and precision when all cases with at least the `k`-th highest score
    are called positive; equal scores are called together. 1 if the score tells the kinds apart; a
    score that knows nothing has the share of positive cases, the base rate, which has to be named
    beside it. NaN without a positive case.

    Args:
        score: Larger where positive is more likely.
        positive: True for positive cases.

    Raises:
        ValueError: If a score is NaN, which has no rank.

    Example:
        >>> score = np.array([0.9, 0.4, 0.4, 0.1])
        >>> round(average_precision(score, np.array([True, False, True, False])), 4)
        0.8333
    """
    one = np.ones((1, len(score)))
    return float(average_precision_resampled(score, positive, np.arange(len(score)), one)[0])


def average_precision_resampled(
    score: Float[np.ndarray, " N"],
    positive: Bool[np.ndarray, " N"],
    image: Int[np.ndarray, " N"],
    counts: Float[np.ndarray, "replicates images"],
) -> Float[np.ndarray, " replicates"]:
    """Return the average precision of every replicate, as if each image stood there so often.

    Raises:
        ValueError: If a score is NaN, which has no rank.
    """
    _require_numbers(score)
    result = np.full(len(counts), np.nan)
    if not len(score):
        return result
    order = np.argsort(-score, kind="stable")
    ends, is_positive = tie_ends(-score[order]), positive[order][:, None]
    for rows, weights in blocks(counts, image[order]):
        found = _runs(np.where(is_positive, weights, 0.0), ends)
        called = _runs(weights, ends)[1:]
        precision = np.divide(found[1:], called, out=np.zeros_like(called), where=called > 0)
        gained = np.einsum("gr,gr->r", np.diff(found, axis=0), precision)
        result[rows] = np.divide(gained, found[-1], out=result[rows], where=found[-1] > 0)
    return result


def _require_numbers(score: Float[np.ndarray, " N"]) -> None:
    if np.isnan(score).any():
        raise ValueError(f"score must not be NaN, which it is {np.isnan(score).sum()} times")


def _runs(
    weights: Float[np.ndarray, "N some"], ends: Int[np.ndarray, " groups"]
) -> Float[np.ndarray, "points some"]:
    """Return sums up to nothing and up to the end of each run of equal scores, per replicate."""
    result = np.zeros((len(ends) + 1, weights.shape[1]))
    result[1:] = np.cumsum(weights, axis=0)[ends]
    return result
