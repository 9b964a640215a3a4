"""Scores over seeds, and differences between methods on the same images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from kdn.evaluate import interval
from kdn.study.scoring import Scores

__all__ = ["Summary", "difference", "summarise"]


@dataclass(frozen=True)
class Summary:
    """A score over the seeds of a method, or a difference of two.

    Args:
        mean: Over the seeds.
        spread: Standard deviation over the seeds, NaN for a single one.
        low: Lower end of the 95 % interval of the mean, over resampled images; NaN without.
        high: Upper end.
        seeds: How many.
    """

    mean: float
    spread: float
    low: float
    high: float
    seeds: int

    @property
    def within_seeds(self) -> bool:
        """True if the mean is smaller than the spread over seeds, where that is known."""
        return abs(self.mean) <= self.spread

    @property
    def excludes_zero(self) -> bool:
        """True if the interval does not hold zero."""
        return self.low > 0 or self.high < 0


def summarise(seeds: Sequence[Scores], name: str) -> Summary:
    """Return a score's mean and spread over seeds, and its interval over images.

    The mean over seeds is taken in every resample of the images; the seeds are not resampled, so
    the interval says nothing of other seeds: `spread` does.

    Args:
        seeds: The scores of each seed.
        name: Which one; NaN if a seed does not have it.
    """
    return _summary(_values(seeds, name))


def difference(one: Sequence[Scores], other: Sequence[Scores], name: str) -> Summary:
    """Return `one − other` over the seeds that both have, paired by image and by seed.

    Every resample draws the same images for both, so what makes an image hard for both cancels.

    Args:
        one: Scores of each seed of a method, from seed 0 on.
        other: Of the other method.
        name: Which score.
    """
    count = min(len(one), len(other))
    first, second = _values(one[:count], name), _values(other[:count], name)
    width = min(first.shape[1], second.shape[1])
    with np.errstate(invalid="ignore"):  # infinite minus infinite is not defined, and stays so
        return _summary(first[:, :width] - second[:, :width])


def _values(seeds: Sequence[Scores], name: str) -> Float[np.ndarray, "runs values"]:
    """Return a score and its replicates, a row a seed."""
    rows = [np.asarray(scores.get(name, np.array([math.nan])), np.float64) for scores in seeds]
    width = min((len(row) for row in rows), default=0)
    return np.array([row[:width] for row in rows]).reshape(len(rows), width)


def _summary(values: Float[np.ndarray, "runs values"]) -> Summary:
    if not values.size:
        return Summary(math.nan, math.nan, math.nan, math.nan, 0)
    own = values[:, 0]
    several = len(own) > 1 and bool(np.isfinite(own).all())
    spread = float(own.std(ddof=1)) if several else math.nan
    means = values.mean(axis=0)
    return Summary(float(means[0]), spread, *interval(means[1:]), len(own))
