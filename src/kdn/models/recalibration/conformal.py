"""Levels that hold what they promise: split-conformal radii on the level of highest density."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

__all__ = ["ConformalLevels"]


@dataclass(frozen=True)
class ConformalLevels:
    """Which level of a density's own a region must have to hold a label as often as is said.

    With the levels `u` of the labels of `n` held-out samples, `P(p(Y) > p(y))` as the densities
    themselves say, a region of nominal level `α` is made of all points whose own level is at most
    the `(⌊(n + 1) α⌋ + 1)`-th smallest of them (everything, where there are not so many). It holds
    the label of a further sample with a probability of at least `α` and, without ties, at most
    `α + 1/(n + 1)`, whatever the model, as long as the samples are exchangeable: drawn from the
    same source, none of them trained on. The corrected level of a point is the least nominal level
    whose region holds it, `#{uᵢ < u} / (n + 1)`.

    *Per label* this holds for every label. *Pooled*, the levels of all labels are taken
    together, each sample's weights adding up to 1: then the share of a further sample's labels
    that lie within their regions is `α` or more on average, though single labels may have less.

    Args:
        levels: `(n, labels)`, levels of the true labels, NaN where there is none.
        pooled: Take the labels together.

    Raises:
        ValueError: If a level is not in [0, 1], or a label (pooled: all) is not there.

    Source: split-conformal prediction (Papadopoulos et al. 2002, Lei et al. 2018); the pooled form
    is conformal risk control (Angelopoulos et al. 2022) of the share left outside.

    Example:
        >>> held_out = np.array([[0.1, 0.4], [0.3, 0.2], [0.5, np.nan]])
        >>> levels = ConformalLevels(held_out)
        >>> levels.own(0.5)  # of 3 and 2 labels
        array([0.5, 0.4])
        >>> levels.corrected(np.array([[0.2, 0.3]])).round(3)
        array([[0.25 , 0.333]])
    """

    levels: Float[np.ndarray, "n labels"]
    pooled: bool = False

    def __post_init__(self) -> None:
        known = ~np.isnan(self.levels)
        values = self.levels[known]
        # A thousandth is more than what rounding adds to a sum of masses.
        if not bool(((values >= -1e-3) & (values <= 1 + 1e-3)).all()):
            raise ValueError(f"levels must be in [0, 1], got {values.min()} to {values.max()}")
        counts = known.sum(axis=0)
        if not (counts.any() if self.pooled else len(counts) and counts.all()):
            missing = np.flatnonzero(counts == 0).tolist()
            raise ValueError(f"levels must have one of each label, got none of {missing[:5]}")

    def own(self, nominal: float) -> Float[np.ndarray, " labels"]:
        """Return the densities' own levels whose regions hold a label this often, `(labels,)`.

        1, the whole plane, where there are too few labels for the promise.

        Raises:
            ValueError: If `nominal` is not in [0, 1].
        """
        if not 0 <= nominal <= 1:
            raise ValueError(f"nominal must be in [0, 1], got {nominal}")
        result = np.ones(self.levels.shape[1])
        for label, (levels, before) in enumerate(self._columns):
            # The first whose corrected level exceeds the nominal one lies on the edge.
            at = int(np.searchsorted(before, nominal, side="right")) - 1
            result[label] = levels[at] if at < len(levels) else 1.0
        return result

    def corrected(
        self, level: Float[np.ndarray, "*any labels"]
    ) -> Float[np.ndarray, "*any labels"]:
        """Return the least nominal level whose region holds a point of this own level.

        NaN stays NaN.
        """
        result = np.empty(level.shape)
        for label, (levels, before) in enumerate(self._columns):
            result[..., label] = before[np.searchsorted(levels, level[..., label], side="left")]
        return np.where(np.isnan(level), math.nan, result)

    def corrected_tie(
        self, level: Float[np.ndarray, "*any labels"], tie: Float[np.ndarray, "*any labels"]
    ) -> Float[np.ndarray, "*any labels"]:
        """Return how far up the nominal level of a point may be taken at random.

        Corrected levels have steps of `1 / (n + 1)`. A random share of the step added to them, and
        of what is due to points as dense, makes them uniform, exactly, for exchangeable samples.

        Args:
            level: Own levels.
            tie: Mass that is exactly as dense.
        """
        result = np.empty(level.shape)
        for label, (levels, before) in enumerate(self._columns):
            low = np.searchsorted(levels, level[..., label], side="left")
            high = np.searchsorted(levels, (level + tie)[..., label], side="left")
            result[..., label] = np.append(before, 1.0)[high + 1] - before[low]
        return np.where(np.isnan(level), math.nan, result)

    @cached_property
    def _columns(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return each label's `m` sorted levels, and `m + 1` shares of what is below them.

        The shares are those below each level, and in the end of all, of a whole that counts the
        further sample too.
        """
        known = ~np.isnan(self.levels)
        if not self.pooled:
            columns = [np.sort(self.levels[known[:, i], i]) for i in range(known.shape[1])]
            return [(c, np.arange(len(c) + 1) / (len(c) + 1)) for c in columns]
        each = known.sum(axis=1, keepdims=True)
        weights = np.broadcast_to(1.0 / np.maximum(each, 1), known.shape)[known]
        values = self.levels[known]
        order = np.argsort(values, kind="stable")
        total = np.count_nonzero(each) + 1
        before = np.concatenate([[0.0], np.cumsum(weights[order])]) / total
        return [(values[order], before)] * known.shape[1]
