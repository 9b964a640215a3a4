"""`kdn lint-table`."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import get_args

from kdn.evaluate.lint import judge, read_table
from kdn.evaluate.rules import Rule

__all__ = ["lint_table"]


def lint_table(table: Path, *, threshold: float = 7.0) -> int:
    """Say which rows of a published table are impossible under which rule of the AUC.

    The exit code is 0 if every row fits at least one rule, 1 if a row fits none or cannot be read.

    Args:
        table: A CSV file with the columns method, nme, auc, and perhaps dataset, threshold,
            failure; in percent, with the digits that were printed.
        threshold: Of rows that do not say theirs, in percent.
    """
    if not (math.isfinite(threshold) and threshold > 0):
        raise ValueError(f"threshold must be positive and finite, got {threshold}")
    problems: list[str] = []
    rows = read_table(table, threshold=threshold, problems=problems)
    fits: dict[str, int] = dict.fromkeys(get_args(Rule), 0)
    nowhere = []
    for row in rows:
        verdict = judge(row)
        failure = f", failure {row.failure.text}" if row.failure else ""
        print(f"{row.name}: NME {row.nme.text}, AUC@{row.threshold:g} {row.auc.text}{failure}")
        for rule in fits:
            if rule not in verdict:
                print(f"  {rule:<6} is a rule for AUC@7 only")
                continue
            reason = verdict[rule]
            print(f"  {rule:<6} " + (f"impossible: {reason}" if reason else "possible"))
            fits[rule] += not reason
        if all(verdict.values()):
            nowhere.append(row.name)
    counts = ", ".join(f"{count} possible by {rule}" for rule, count in fits.items())
    print(f"{len(rows)} rows: {counts}, {len(nowhere)} by no rule")
    for name in nowhere:
        print(f"by no rule: {name}")
    for problem in problems:
        print(f"left out: {problem}", file=sys.stderr)
    return 1 if nowhere or problems else 0
