"""Whether densities keep their promise: coverage, the levels of labels, and a test of them.

What a density says of a label is a span of levels, `low` to `high`: of regions of highest density
the mass that is denser than the label, and with it all that is exactly as dense; of a number the
mass below it, and below all that may have been rounded to it. The level of the truth is taken as
uniform between the two, which makes levels of right densities uniform on [0, 1], ties or none.

Source: Czado, Gneiting & Held, Predictive model assessment for count data, Biometrics 65 (2009)
1254-1261 (the transform that is not randomised).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from kdn.evaluate.resamples import Resamples

__all__ = [
    "NOMINAL",
    "Uniformity",
    "bin_shares",
    "central_share",
    "level_spans",
    "share_up_to",
    "uniformity_test",
]

NOMINAL = np.arange(1, 100) / 100
"""Masses of the regions whose coverage is compared: 1, 2, …, 99 %."""

_STEPS = 100  # midpoints of [0, 1] at which distribution functions are compared
_ROUNDING = 1e-3  # more than rounding adds to a sum of masses

Levels = Float[np.ndarray, "*any"]


def level_spans(low: Levels, high: Levels) -> tuple[Levels, Levels]:
    """Return spans of levels within [0, 1] and in order, as rounding may not have left them.

    Raises:
        ValueError: If one is NaN, or further off than by rounding.
    """
    wrong = ~((low >= -_ROUNDING) & (high <= 1 + _ROUNDING) & (low <= high + _ROUNDING))
    if wrong.any():
        first = tuple(np.argwhere(wrong)[0])
        raise ValueError(
            f"levels must be in order from 0 to 1, got {low[first]} to {high[first]} for "
            f"{'.'.join(map(str, first))}"
        )
    low = np.clip(low, 0.0, 1.0)
    return low, np.maximum(low, np.clip(high, 0.0, 1.0))


def share_up_to(low: Levels, high: Levels, level: float) -> Levels:
    """Return the share of each span that is at most `level`: the coverage of a region of that mass.

    All or nothing where both ends are equal.

    Example:
        >>> low, high = np.array([0.2, 0.5, 0.4, 0.9]), np.array([0.2, 0.5, 0.8, 0.9])
        >>> share_up_to(low, high, 0.5).round(2).tolist()
        [1.0, 1.0, 0.25, 0.0]
    """
    whole = (low <= level).astype(np.float64)
    return np.divide(level - low, high - low, out=whole, where=high > low).clip(0.0, 1.0)


def central_share(low: Levels, high: Levels, nominal: float) -> Levels:
    """Return the share of each span within the central interval of mass `nominal`.

    That is between the levels `(1 − a)/2` and `(1 + a)/2`, both ends included.

    Example:
        >>> low, high = np.array([0.0, 0.4, 0.2]), np.array([0.5, 0.6, 0.2])
        >>> central_share(low, high, 0.5).tolist()
        [0.5, 1.0, 0.0]
    """
    first, last = 0.5 - 0.5 * nominal, 0.5 + 0.5 * nominal
    whole = ((low >= first) & (low <= last)).astype(np.float64)
    inside = np.minimum(high, last) - np.maximum(low, first)
    return np.divide(inside, high - low, out=whole, where=high > low).clip(0.0, 1.0)


def bin_shares(low: Levels, high: Levels, bins: int) -> Iterator[Levels]:
    """Yield the share of each span in each of equal parts of [0, 1], lower ends included."""
    below = np.zeros(low.shape)
    for edge in np.arange(1, bins) / bins:
        whole = (low < edge).astype(np.float64)
        up_to = np.divide(edge - low, high - low, out=whole, where=high > low).clip(0.0, 1.0)
        yield up_to - below
        below = up_to
    yield 1.0 - below


@dataclass(frozen=True)
class Uniformity:
    """A Cramér–von Mises test with the group as its unit.

    Args:
        statistic: `Σ_labels · ∫ (F̂(u) − u)² du`.
        p_value: Share of sign changes with a statistic at least as large, at least
            `1 / (replicates + 1)`.
        groups: Groups with at least one level.
        replicates: Sign changes drawn.
    """

    statistic: float
    p_value: float
    groups: int
    replicates: int


def uniformity_test(
    share: Callable[[float], Float[np.ndarray, " N"]],
    resamples: Resamples,
    *,
    replicates: int = 1000,
    seed: int = 0,
) -> Uniformity:
    """Test whether levels are uniform on [0, 1], groups being independent and labels not.

    With `g_i(u)` the number of levels of group `i` up to `u` less the number expected, the
    statistic is `∫ (Σ g_i(u))² du / N`. If levels are uniform, every `g_i` has mean zero however
    much the labels of a group depend on each other, and its sign may be turned: the statistics of
    `∫ (Σ ± g_i(u))² du / N` are what it is compared with (a wild bootstrap that imposes the
    hypothesis; exact if deviations of a group are as likely as their opposites). A test that took
    landmarks for independent would reject right densities: 68 landmarks that all lie in the tail
    together are one surprise, not 68.

    The statistic is Cramér–von Mises's and not Anderson–Darling's, whose weight at the ends would
    test the thousandths to which levels are computed.

    Args:
        share: For a level `u`, the share of each label's span up to it (`share_up_to`).
        resamples: Of the labels, for their groups.
        replicates: Sign changes drawn.
        seed: Of the draws.

    Raises:
        ValueError: If there is no label, or `replicates` is not positive.

    Example:
        >>> levels = np.random.default_rng(1).uniform(size=200)
        >>> groups = Resamples(np.repeat(np.arange(50), 4))
        >>> uniformity_test(lambda u: share_up_to(levels, levels, u), groups).p_value > 0.05
        True
        >>> uniformity_test(lambda u: share_up_to(levels**2, levels**2, u), groups).p_value < 0.01
        True
    """
    if replicates < 1:
        raise ValueError(f"replicates must be positive, got {replicates}")
    count = len(resamples.group)
    if not count:
        raise ValueError("levels must hold at least one, got none")
    steps = (np.arange(_STEPS) + 0.5) / _STEPS
    sizes = resamples.totals([np.ones(count)])
    deviations = resamples.totals(share(u) for u in steps.tolist()) - sizes * steps
    deviations = deviations[sizes[:, 0] > 0]
    statistic = float(np.square(deviations.sum(axis=0)).mean() / count)
    generator = np.random.default_rng(seed)
    signs = generator.integers(0, 2, (replicates, len(deviations))) * 2.0 - 1.0
    drawn = np.square(signs @ deviations).mean(axis=1) / count
    # Sums in another order differ by rounding, and a sign change of all groups is the same one.
    larger = int((drawn >= statistic * (1.0 - 1e-9)).sum())
    return Uniformity(statistic, (1 + larger) / (1 + replicates), len(deviations), replicates)
