"""Bounds of the AUC against linear programmes over all distributions of errors, and by hand."""

import math

import numpy as np
import pytest
from scipy.optimize import linprog

from kdn.evaluate import auc, auc_bounds, failure_rate, least_nme
from kdn.evaluate.bounds import Rule

# Errors in 1/999 of the normaliser: every threshold, just below and just above it, between them,
# and some far beyond. What a distribution can do, one on these can do but for the last 1e-6.
STEPS = np.unique(
    np.concatenate(
        [np.arange(0, 90, 0.25), *(np.arange(1, 75) + off for off in (-1e-6, 1e-6)), [1e3, 1e5]]
    )
)


def terms(rule: str, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Return what an image with each of the errors adds to the AUC, and whether it fails."""
    if rule == "exact":
        # Area under a step at e, from e to t.
        area = [max(0.0, threshold - 100 * s / 999) / threshold for s in STEPS]
        return np.array(area), np.array([100 * s / 999 > threshold for s in STEPS])
    above = [sum(1 for i in range(70) if s < i) / 70 for s in STEPS]
    return np.array(above), np.array([not s < 69 for s in STEPS])


def programme(
    rule: str, threshold: float, nme: float, failure: float | None, sign: int
) -> float | None:
    """Return the least (sign 1) or greatest (−1) AUC of all distributions on `STEPS`, percent."""
    area, failed = terms(rule, threshold)
    rows, right = [np.ones_like(STEPS), 100 * STEPS / 999], [1.0, nme]
    if failure is not None:
        rows.append(failed.astype(float))
        right.append(failure / 100)
    # Rows of errors up to 1e4 % beside rows of ones: scaled, or the solver's tolerance shows.
    scale = np.array([abs(row).max() for row in rows])
    found = linprog(sign * area, A_eq=np.array(rows) / scale[:, None], b_eq=np.array(right) / scale)
    return None if found.status == 2 else 100 * sign * found.fun


NMES = (0.0, 0.3, 1.234, 2.675, 4.0, 6.85, 6.95, 7.5, 20.0)


@pytest.mark.parametrize("nme", NMES)
@pytest.mark.parametrize(("rule", "threshold"), [("exact", 7.0), ("exact", 8.0), ("fan70", 7.0)])
def test_no_distribution_does_better_and_one_does_as_well(rule, threshold, nme):
    low, high = auc_bounds(nme, threshold, rule=rule)
    least = programme(rule, threshold, nme, None, 1)
    greatest = programme(rule, threshold, nme, None, -1)
    assert least is not None
    assert greatest is not None
    assert least == pytest.approx(low, abs=1e-4)
    # One image in a million with a huge error leaves the bound out of reach by that much.
    assert greatest <= high + 1e-6
    assert greatest == pytest.approx(high, abs=0.3)


@pytest.mark.parametrize("failure", [0.5, 10.0, 60.0, 99.0])
@pytest.mark.parametrize("nme", NMES)
@pytest.mark.parametrize(("rule", "threshold"), [("exact", 7.0), ("exact", 8.0), ("fan70", 7.0)])
def test_the_failure_rate_narrows_it(rule, threshold, nme, failure):
    low, high = auc_bounds(nme, threshold, rule=rule, failure=failure)
    least = programme(rule, threshold, nme, failure, 1)
    greatest = programme(rule, threshold, nme, failure, -1)
    # Failures at more than the last threshold alone make up more than this mean.
    assert (least is None) is (nme < least_nme(failure, threshold, rule=rule))
    if least is None or greatest is None:
        return
    assert low - 1e-4 <= least
    assert greatest <= high + 1e-6
    if nme > least_nme(failure, threshold, rule=rule) + 0.1:
        # Errors are a quarter of 1/999 apart, which the exact rule's failures notice.
        assert least == pytest.approx(low, abs=0.4 if rule == "exact" else 1e-4)
        assert greatest == pytest.approx(high, abs=2.5)


def test_any_errors_are_within():
    """Densely: random errors of all sizes, on the thresholds and beside them."""
    rng = np.random.default_rng(2)
    on = np.arange(72) * (100 / 999)
    for size in (1, 2, 5, 40):
        for _ in range(300):
            wild = rng.uniform(0, rng.choice([1.0, 5.0, 9.0, 40.0]), size)
            errors = np.where(rng.uniform(size=size) < 0.5, rng.choice(on, size), wild)
            cases: tuple[tuple[Rule, float], ...] = (("exact", 7), ("exact", 3), ("fan70", 7))
            for rule, threshold in cases:
                area = auc(errors, threshold, rule=rule)
                failure = failure_rate(errors, threshold, rule=rule)
                mean = float(errors.mean())
                low, high = auc_bounds(mean, threshold, rule=rule, failure=failure)
                assert low - 1e-9 <= area <= high + 1e-9
                assert mean >= least_nme(failure, threshold, rule=rule) - 1e-9


def test_bounds_by_hand():
    assert auc_bounds(3.5, 7, rule="exact") == pytest.approx((50.0, 100.0))
    # 34.5/999: half of the errors at 34/999 and half at 35/999 add 35/70 and 34/70.
    nme = 100 * 34.5 / 999
    pair = np.array([34, 35]) * (100 / 999)
    assert auc_bounds(nme, 7, rule="fan70") == pytest.approx((100 * 34.5 / 70, 100 * 69 / 70))
    assert auc(pair, 7, rule="fan70") == pytest.approx(auc_bounds(nme, 7, rule="fan70")[0])
    assert auc_bounds(50.0, 7, rule="fan70", failure=30.0) == pytest.approx((1.0, 69.0))
    assert auc_bounds(50.0, 7, rule="exact", failure=30.0) == pytest.approx((0.0, 70.0))
    assert least_nme(30.0, 8, rule="exact") == pytest.approx(2.4)
    assert least_nme(30.0, 7, rule="fan70") == pytest.approx(30 * 69 / 999)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"nme": -0.1, "threshold": 7, "rule": "exact"}, "nme must be 0 or more, got -0.1"),
        ({"nme": math.nan, "threshold": 7, "rule": "exact"}, "nme must be 0 or more, got nan"),
        ({"nme": 1.0, "threshold": 8, "rule": "fan70"}, "threshold must be 7 by the rule fan70"),
        ({"nme": 1.0, "threshold": 0, "rule": "exact"}, "threshold must be positive"),
        (
            {"nme": 1.0, "threshold": 7, "rule": "exact", "failure": 101.0},
            "failure must be a percentage, got 101",
        ),
    ],
)
def test_bad_arguments(arguments, said):
    with pytest.raises(ValueError, match=said):
        auc_bounds(**arguments)
