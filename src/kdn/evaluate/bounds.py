"""The two rules for an AUC, and what an NME and a failure rate say of it, whatever the errors."""

from __future__ import annotations

import math
from typing import Literal, get_args

import numpy as np

__all__ = ["FAN70", "Rule", "auc_bounds", "check_auc", "check_rule", "least_nme"]

Rule = Literal["exact", "fan70"]
"""The area itself, or the reference FAN's sum over 70 thresholds."""

FAN70 = np.arange(70) / 999
"""The thresholds of the reference FAN, as shares of the normaliser."""


def check_rule(threshold: float, rule: Rule) -> None:
    """Raise unless there is such a rule, and for this threshold.

    Args:
        threshold: In percent.
        rule: Name of the rule.

    Raises:
        ValueError: If the rule is unknown, if `fan70` is asked for at a threshold other than 7, or
            if the threshold is not positive and finite.
    """
    if rule not in get_args(Rule):
        raise ValueError(f"rule must be 'exact' or 'fan70', got {rule!r}")
    if rule == "fan70" and threshold != 7:
        raise ValueError(f"threshold must be 7 by the rule fan70, got {threshold}")
    if not (math.isfinite(threshold) and threshold > 0):
        raise ValueError(f"threshold must be positive and finite, got {threshold}")


def auc_bounds(
    nme: float, threshold: float, *, rule: Rule, failure: float | None = None
) -> tuple[float, float]:
    """Return the lowest and the highest AUC that errors with this mean can have.

    Both rules average a function `f` of each image's error `e` (as a fraction, `t` the threshold):

    * `exact`: `f(e) = max(0, 1 − e/t)`;
    * `fan70`: the share of the thresholds `i/999`, `i` = 0…69, that are above `e`. Those up to
      `i = ⌊999 e⌋` are not, which leaves `f(e) = (69 − ⌊999 e⌋)/70` below 70/999 and 0 from there.

    **Lowest.** A convex function below `f` is, at the mean error, below the mean of `f` (Jensen).
    The exact `f` is convex itself. That of `fan70` falls in steps; `⌊x⌋ ≤ x` gives the convex
    `g(e) = max(0, (69 − 999 e)/70) ≤ f(e)`, and `f = g` at every `e = k/999`. So

        exact:  AUC ≥ max(0, 1 − NME/t)        fan70:  AUC ≥ max(0, (69 − 999 NME)/70)

    and neither bound can be raised: errors at two neighbouring `k/999` (or, for the exact rule,
    all alike) reach it with any mean.

    **Highest.** One image in many with a huge error makes up any mean while all others have none,
    so nothing above zero bounds the AUC from above but `f(0)`: 1, and 69/70 for `fan70`, whose
    first threshold, 0, is above no error.

    **With the failure rate** `F`, the share of errors that the last threshold does not reach
    (`e > t`; for `fan70`, `e ≥ 69/999`), failures add nothing and the others at most `f(0)`:

        exact:  AUC ≤ 1 − F                    fan70:  (1 − F)/70 ≤ AUC ≤ (1 − F)·69/70

    Each image that does not fail by `fan70` is below its last threshold, hence the first bound.
    The bound from the NME stays as it is: the errors that reach it may have failures just at the
    last threshold, where `g` is zero.

    Args:
        nme: Mean error of the images, in percent.
        threshold: In percent.
        rule: By which the AUC is computed; `fan70` at 7 only.
        failure: Percentage of images that fail at the threshold by the same rule, if known. What
            it says of the NME itself is `least_nme`.

    Returns:
        Both in percent.

    Raises:
        ValueError: If the rule is unknown, if `fan70` is asked for at a threshold other than 7, or
            if `nme` is negative or `failure` no percentage.

    Example:
        >>> [round(bound, 2) for bound in auc_bounds(2.92, 7, rule="exact")]
        [58.29, 100.0]
        >>> [round(bound, 2) for bound in auc_bounds(2.92, 7, rule="fan70", failure=5.0)]
        [56.9, 93.64]
    """
    check_rule(threshold, rule)
    if not nme >= 0:
        raise ValueError(f"nme must be 0 or more, got {nme}")
    kept = 1.0 - _share(failure)
    if rule == "exact":
        return 100.0 * max(0.0, 1.0 - nme / threshold), 100.0 * kept
    low = max(0.0, (69 - 9.99 * nme) / 70)
    if failure is not None:
        low = max(low, kept / 70)
    return 100.0 * low, 100.0 * kept * 69 / 70


def least_nme(failure: float, threshold: float, *, rule: Rule) -> float:
    """Return the lowest NME that errors with this failure rate can have, in percent.

    Every failure has an error of at least the last threshold, and no error is negative: `F·t`, and
    by `fan70`, whose last threshold is 69/999, `F·69/999`.

    Args:
        failure: Percentage of images that fail.
        threshold: In percent.
        rule: By which they fail.

    Raises:
        ValueError: As `auc_bounds`.

    Example:
        >>> least_nme(50.0, 7, rule="exact")
        3.5
    """
    check_rule(threshold, rule)
    last = threshold if rule == "exact" else 100.0 * float(FAN70[-1])
    return _share(failure) * last


def check_auc(nme: float, auc: float, threshold: float, *, rule: Rule = "exact") -> None:
    """Raise unless some set of errors has both this NME and this AUC (`auc_bounds`).

    A pair outside the bounds was not computed from the same errors by this rule.

    Args:
        nme: In percent.
        auc: In percent.
        threshold: In percent.
        rule: By which the AUC was computed.

    Raises:
        RuntimeError: If there is none; the message has both numbers.

    Example:
        >>> check_auc(2.49, 67.3, 7)
    """
    if math.isnan(nme) or math.isnan(auc):  # no image counted, so that there is nothing to check
        return
    low, high = auc_bounds(nme, threshold, rule=rule)
    name = f"AUC@{threshold:g} ({rule})"
    if auc < low - 1e-9:  # rounding of sums of percentages
        raise RuntimeError(
            f"{name} must be at least {low:.6g} where the NME is {nme:.6g}, got {auc:.6g}"
        )
    if auc > high + 1e-9:
        raise RuntimeError(f"{name} must be at most {high:.6g}, got {auc:.6g}")


def _share(failure: float | None) -> float:
    """Return a percentage as a share, none where it is not known."""
    if failure is None:
        return 0.0
    if not 0 <= failure <= 100:
        raise ValueError(f"failure must be a percentage, got {failure}")
    return failure / 100.0
