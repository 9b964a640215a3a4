"""The two rules by which an area under the CED is summed."""

from __future__ import annotations

import math
from typing import Literal, get_args

import numpy as np

__all__ = ["FAN70", "Rule", "check_rule"]

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
