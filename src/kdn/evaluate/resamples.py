"""Statistics of pooled items and of their bootstrap resamples, whose unit is a group.

The landmarks of a picture err together, as the pictures of one person may do, so groups are drawn,
never items. A resample is kept as how often each group was drawn, one row per replicate, and every
statistic of all replicates is computed from these counts at once: a mean is one matrix product, and
statistics of ranks need one sort in all.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import Bool, Float, Int

__all__ = ["REMOVED", "Resamples", "interval"]

REMOVED = tuple(i / 100 for i in range(100))
"""Shares of items left out at which sparsification curves are compared: 0, 1, …, 99 %."""

_BLOCK = 1 << 18  # weights held at a time, 2 MiB
# Items times replicates up to which statistics of ranks are resampled as often as means; beyond,
# they have fewer replicates, at least 200.
_RANKED = 10_000_000

Items = Float[np.ndarray, " N"]
Replicates = Float[np.ndarray, " replicates"]


class Resamples:
    """How often each group of items occurs in bootstrap draws; the first row is the items alone.

    Every statistic is one number a row: the items' own, then that of every replicate (`interval`).

    Args:
        groups: Number of items that are a group each, or the group of every item, counted from 0.
        count: Replicates; each draws as many groups as there are, with replacement.
        seed: Of the draws.

    Raises:
        ValueError: If there are fewer than no groups or replicates.

    Example:
        >>> two = Resamples(np.array([0, 0, 1]), count=3, seed=0)
        >>> two.counts.astype(int).tolist()
        [[1, 1], [1, 1], [1, 1], [0, 2]]
        >>> two.mean(np.array([1.0, 2.0, 6.0])).tolist()
        [3.0, 3.0, 3.0, 6.0]
    """

    group: Int[np.ndarray, " N"]
    counts: Float[np.ndarray, "replicates groups"]

    def __init__(self, groups: int | Int[np.ndarray, " N"], count: int = 0, seed: int = 0) -> None:
        if count < 0 or (isinstance(groups, int) and groups < 0):
            raise ValueError(f"groups and count must be 0 or more, got {groups}, {count}")
        self.group = np.arange(groups) if isinstance(groups, int) else groups
        size = int(self.group.max()) + 1 if len(self.group) else 0
        shares = np.full(size, 1.0 / max(1, size))
        generator = np.random.default_rng(seed)
        drawn = generator.multinomial(size, shares, size=count) if size else np.zeros((count, 0))
        self.counts = np.concatenate([np.ones((1, size)), drawn])

    def of(self, items: Int[np.ndarray, " M"], count: int | None = None) -> Resamples:
        """Return the same draws of other items.

        Args:
            items: For each of them, the item here whose group it belongs to.
            count: Replicates that are kept, all by default.
        """
        new = object.__new__(Resamples)
        new.group = self.group[items]
        new.counts = self.counts if count is None else self.counts[: 1 + count]
        return new

    @property
    def ranked(self) -> int:
        """Replicates that statistics of ranks have."""
        return min(len(self.counts) - 1, max(200, _RANKED // max(1, len(self.group))))

    def totals(self, columns: Iterable[Items]) -> Float[np.ndarray, "groups columns"]:
        """Return the sum of each column over the items of each group."""
        groups = self.counts.shape[1]
        totals = [np.bincount(self.group, column, groups) for column in columns]
        return np.stack(totals, axis=1).astype(np.float64, copy=False)

    def sums(self, columns: Iterable[Items]) -> Float[np.ndarray, "replicates columns"]:
        """Return the sum of each column over the items of each replicate."""
        return self.counts @ self.totals(columns)

    def means(self, columns: Iterable[Items]) -> Float[np.ndarray, "replicates columns"]:
        """Return the mean of each column, NaN where a replicate has no items."""
        size = self.sums([np.ones(len(self.group))])
        sums = self.sums(columns)
        return np.divide(sums, size, out=np.full(sums.shape, np.nan), where=size > 0)

    def mean(self, values: Items) -> Replicates:
        """Return means of what is not NaN; infinite where one that was drawn is infinite."""
        known = ~np.isnan(values)
        pool, values = self.of(np.flatnonzero(known)), values[known]
        with np.errstate(invalid="ignore"):
            finite = pool.means([np.where(np.isinf(values), 0.0, values)])[:, 0]
        above, below = (pool.sums([1.0 * (values == sign * np.inf)])[:, 0] > 0 for sign in (1, -1))
        finite[above], finite[below], finite[above & below] = np.inf, -np.inf, np.nan
        return finite

    def median(self, values: Items) -> Replicates:
        """Return medians of what is not NaN (of two middle values, the mean)."""
        known = ~np.isnan(values)
        order = np.argsort(values[known], kind="stable")
        ordered, pool = values[known][order], self.of(np.flatnonzero(known)[order])
        result = np.full(1 + self.ranked, np.nan)
        for rows, weights in pool._weights(self.ranked):
            reached = np.ascontiguousarray(np.cumsum(weights, axis=0).T)
            for row, cumulative in enumerate(reached, rows.start):
                drawn = cumulative[-1] if len(cumulative) else 0.0
                if drawn > 0:
                    middle = [np.floor((drawn - 1) / 2) + 1, np.floor(drawn / 2) + 1]
                    low, high = ordered[np.searchsorted(cumulative, middle)]
                    result[row] = low if low == high else 0.5 * (low + high)
        return result

    def pearson(self, x: Items, y: Items) -> Replicates:
        """Return Pearson's coefficient `cov(x, y) / √(var x · var y)`.

        NaN if either is constant, or where a value is infinite, which has a rank but no product.
        """
        if not len(x):
            return np.full(len(self.counts), np.nan)
        with np.errstate(invalid="ignore", divide="ignore"):
            x, y = x - x.mean(), y - y.mean()
            mean_x, mean_y, xx, yy, xy = self.means([x, y, x * x, y * y, x * y]).T
        return _coefficient(xy - mean_x * mean_y, xx - mean_x**2, yy - mean_y**2, xx, yy)

    def spearman(self, x: Items, y: Items) -> Replicates:
        """Return Spearman's coefficient: Pearson's of the ranks, ties sharing their mean rank.

        An item drawn `w` times is a run of `w` equal values, so that ranks follow from cumulative
        weights along an order that is sorted once. NaN if either is constant.

        Example:
            >>> x, y = np.array([1.0, 2.0, 2.0, 4.0]), np.array([1.0, 3.0, 9.0, 27.0])
            >>> Resamples(4).spearman(x, y).round(6).item()
            0.948683
        """
        result = np.full(1 + self.ranked, np.nan)
        if not len(x):
            return result
        order = np.argsort(x, kind="stable")
        x, y = x[order], y[order]
        order_y = np.argsort(y, kind="stable")
        back, ends_x, ends_y = np.argsort(order_y), _tie_ends(x), _tie_ends(y[order_y])
        for rows, weights in self.of(order)._weights(self.ranked):
            rank_x = _centred_ranks(weights, ends_x)
            rank_y = _centred_ranks(weights.take(order_y, axis=0), ends_y).take(back, axis=0)
            size = weights.sum(axis=0)
            weighted_x, weighted_y = weights * rank_x, weights * rank_y
            pairs = ((weighted_x, rank_x), (weighted_y, rank_y), (weighted_x, rank_y))
            with np.errstate(invalid="ignore", divide="ignore"):
                xx, yy, xy = (np.einsum("nr,nr->r", *pair) / size for pair in pairs)
            result[rows] = _coefficient(xy, xx, yy, xx, yy)
        return result

    def sparsification(
        self, key: Items, errors: Items, removed: Float[np.ndarray, " shares"] | None = None
    ) -> Float[np.ndarray, "replicates shares"]:
        """Return the mean error of what is left when the items of the largest key are removed.

        The cumulative error over the kept share is interpolated linearly between items, and items
        of equal key leave together, so that their order does not matter.

        Args:
            key: What is sorted by: the uncertainty, or the error itself for the oracle.
            errors: In any unit.
            removed: Shares in [0, 1), `REMOVED` by default.

        Source: Ilg et al., "Uncertainty estimates and multi-hypotheses networks for optical flow",
        2018.

        Example:
            >>> errors, shares = np.array([1.0, 2.0, 6.0]), np.array([0.0, 1 / 3, 0.5])
            >>> Resamples(3).sparsification(np.array([5.0, 4.0, 9.0]), errors, shares).tolist()
            [[3.0, 1.5, 1.6666666666666667]]
        """
        shares = np.array(REMOVED) if removed is None else np.asarray(removed, np.float64)
        curves = np.full((1 + self.ranked, len(shares)), np.nan)
        if not len(key):
            return curves
        order = np.argsort(key, kind="stable")
        ends, ordered = _tie_ends(key[order]), errors[order]
        for rows, weights in self.of(order)._weights(self.ranked):
            reached = _runs(weights, ends).T
            summed = _runs(weights * ordered[:, None], ends).T
            for row, (kept, total) in enumerate(zip(reached, summed, strict=True), rows.start):
                if kept[-1] > 0:
                    wanted = (1.0 - shares) * kept[-1]
                    curves[row] = np.interp(wanted, kept, total) / wanted
        return curves

    def auroc(self, score: Items, positive: Bool[np.ndarray, " N"]) -> Replicates:
        """Return the probability that a positive item scores above a negative one, ties half.

        The area under the receiver operating characteristic: 1 if the score tells them apart, ½ if
        it knows nothing. With `P` and `N` the weights of both kinds in a run of equal scores, and
        `below` the `N` of all lower runs, it is `Σ P·(below + N/2) / (ΣP · ΣN)`. NaN without an
        item of either kind.

        Raises:
            ValueError: If a score is NaN, which has no rank.

        Example:
            >>> score = np.array([0.1, 0.4, 0.4, 0.9])
            >>> Resamples(4).auroc(score, np.array([False, False, True, True])).item()
            0.875
        """
        result = np.full(1 + self.ranked, np.nan)
        for rows, hits, misses in self._kinds(score, positive):
            wins = np.einsum("gr,gr->r", np.diff(hits, axis=0), 0.5 * (misses[1:] + misses[:-1]))
            pairs = hits[-1] * misses[-1]
            result[rows] = np.divide(wins, pairs, out=result[rows], where=pairs > 0)
        return result

    def average_precision(self, score: Items, positive: Bool[np.ndarray, " N"]) -> Replicates:
        """Return the mean precision over the positive items, `Σ (R_k − R_{k−1}) P_k`.

        `R_k` and `P_k` are recall and precision when all items with at least the `k`-th highest
        score are called positive; equal scores are called together. A score that knows nothing has
        the share of positive items, the base rate. NaN without a positive item.

        Raises:
            ValueError: If a score is NaN, which has no rank.

        Example:
            >>> score = np.array([0.9, 0.4, 0.4, 0.1])
            >>> two = np.array([True, False, True, False])
            >>> Resamples(4).average_precision(score, two).round(4).item()
            0.8333
        """
        result = np.full(1 + self.ranked, np.nan)
        for rows, hits, misses in self._kinds(-score, positive):
            called = (hits + misses)[1:]
            precision = np.divide(hits[1:], called, out=np.zeros_like(called), where=called > 0)
            gained = np.einsum("gr,gr->r", np.diff(hits, axis=0), precision)
            result[rows] = np.divide(gained, hits[-1], out=result[rows], where=hits[-1] > 0)
        return result

    def _kinds(
        self, key: Items, positive: Bool[np.ndarray, " N"]
    ) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
        """Yield weights of positive and negative items up to the end of each run of equal keys."""
        if np.isnan(key).any():
            raise ValueError(f"score must not be NaN, which it is {np.isnan(key).sum()} times")
        if not len(key):
            return
        order = np.argsort(key, kind="stable")
        ends, kinds = _tie_ends(key[order]), positive[order][:, None]
        for rows, weights in self.of(order)._weights(self.ranked):
            hits = np.where(kinds, weights, 0.0)
            yield rows, _runs(hits, ends), _runs(weights - hits, ends)

    def _weights(self, count: int) -> Iterator[tuple[slice, Float[np.ndarray, "N _"]]]:
        """Yield a few replicates at a time with the weight of every item in them.

        Replicates stand side by side in memory, so that summing along items is fast.
        """
        step = max(4, _BLOCK // max(1, len(self.group)))
        for start in range(0, 1 + count, step):
            rows = slice(start, min(start + step, 1 + count))
            yield rows, np.ascontiguousarray(self.counts[rows].T).take(self.group, axis=0)


def interval(values: Replicates, level: float = 0.95) -> tuple[float, float]:
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


def _tie_ends(ordered: Items) -> Int[np.ndarray, " groups"]:
    """Return the index of the last of each run of equal values in a sorted array."""
    return np.flatnonzero(np.append(ordered[1:] != ordered[:-1], len(ordered) > 0))


def _runs(
    weights: Float[np.ndarray, "N _"], ends: Int[np.ndarray, " groups"]
) -> Float[np.ndarray, "points _"]:
    """Return sums up to nothing and up to the end of each run of equal values, per replicate."""
    result = np.zeros((len(ends) + 1, weights.shape[1]))
    result[1:] = np.cumsum(weights, axis=0)[ends]
    return result


def _centred_ranks(
    weights: Float[np.ndarray, "N _"], ends: Int[np.ndarray, " groups"]
) -> Float[np.ndarray, "N _"]:
    """Return mean ranks of sorted, weighted items, less their weighted mean `(Σw + 1)/2`."""
    reached = _runs(weights, ends)
    ranks = 0.5 * (reached[1:] + reached[:-1] - reached[-1])
    return np.repeat(ranks, np.diff(ends, prepend=-1), axis=0)


def _coefficient(
    covariance: Replicates, var_x: Replicates, var_y: Replicates, xx: Replicates, yy: Replicates
) -> Replicates:
    """Return `covariance / √(var x · var y)`, NaN for no variance.

    What is left of the squares `xx` and `yy` about the mean by rounding alone is no variance.
    """
    known = [
        np.where(variance > 1e-12 * np.maximum(square, 1e-300), variance, np.nan)
        for variance, square in ((var_x, xx), (var_y, yy))
    ]
    return np.clip(covariance / np.sqrt(known[0] * known[1]), -1.0, 1.0)
