"""Which rows of a published table are impossible under which rule of the AUC.

    python benchmarks/check_published_table.py docs/tables/published.csv

A CSV file with the columns method, nme, auc, and perhaps dataset, threshold, failure; in percent,
with the digits that were printed. The exit code is 0 if every row fits at least one rule, 1 if a
row fits none or cannot be read.
"""

from __future__ import annotations

import argparse
import csv
import math
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import get_args

from kdn.evaluate.bounds import Rule, auc_bounds, least_nme

PUBLISHED = Path(__file__).parents[1] / "docs" / "tables" / "published.csv"

_PRINTED = re.compile(r"[0-9]+(\.[0-9]*)?|\.[0-9]+")
_COLUMNS = ("method", "dataset", "nme", "auc", "threshold", "failure")
_NEEDED = ("method", "nme", "auc")
_ROUNDING = 1e-9  # of the bounds' own arithmetic


@dataclass(frozen=True)
class Printed:
    """A percentage as a table prints it, and what it may have been before it was rounded.

    Args:
        text: As printed.
        low: Half a unit of its last digit less, and never negative.
        high: Half a unit more.

    Example:
        >>> Printed.of("57.6")
        Printed(text='57.6', low=57.55, high=57.65)
    """

    text: str
    low: float
    high: float

    @classmethod
    def of(cls, text: str, *, most: float | None = None) -> Printed:
        """Return what a printed number means.

        Args:
            text: Digits with or without a point.
            most: The highest value there is.

        Raises:
            ValueError: If it is not such a number, or above `most`.
        """
        if not _PRINTED.fullmatch(text):
            raise ValueError(f"must be a number such as 2.92, got {text!r}")
        half = Decimal((0, (5,), -len(text.partition(".")[2]) - 1))
        value = Decimal(text)
        if most is not None and value > most:
            raise ValueError(f"must be at most {most:g}, got {text!r}")
        high = float(value + half)
        return cls(
            text, float(max(value - half, Decimal(0))), high if most is None else min(high, most)
        )


@dataclass(frozen=True)
class Row:
    """One row of a published table; all numbers are in percent.

    Args:
        name: Method and data set.
        nme: Normalised mean error.
        auc: Area under the CED up to the threshold.
        threshold: Taken as exact.
        failure: Share of images above the threshold, if the table has it.
    """

    name: str
    nme: Printed
    auc: Printed
    threshold: float = 7.0
    failure: Printed | None = None


def judge(row: Row) -> dict[Rule, str]:
    """Return for every rule why a row is impossible by it, "" where it is possible.

    The most favourable of all numbers that round to the printed ones is taken: a row is called
    impossible only if no errors at all would have been printed so. A rule that does not exist at
    the row's threshold is not among the keys.
    """
    rules: list[Rule] = ["exact", "fan70"] if row.threshold == 7 else ["exact"]
    return {rule: _contradiction(row, rule) for rule in rules}


def _contradiction(row: Row, rule: Rule) -> str:
    """Return what makes a row impossible by a rule, "" for nothing.

    The bounds fall with NME and failure rate: the lowest AUC is that of the highest of both, the
    highest AUC that of the lowest failure rate.
    """
    rarest, commonest = (row.failure.low, row.failure.high) if row.failure else (None, None)
    low, _ = auc_bounds(row.nme.high, row.threshold, rule=rule, failure=commonest)
    _, high = auc_bounds(row.nme.high, row.threshold, rule=rule, failure=rarest)
    if row.auc.high < low - _ROUNDING:
        where = f"the NME is ≤ {row.nme.high:g}"
        if low > auc_bounds(row.nme.high, row.threshold, rule=rule)[0]:
            where = f"the failure rate is ≤ {commonest:g}"
        return f"AUC must be at least {low:.3f} where {where}"
    if row.auc.low > high + _ROUNDING:
        where = "" if rarest is None else f" where the failure rate is ≥ {rarest:g}"
        return f"AUC must be at most {high:.3f}{where}"
    least = 0.0 if rarest is None else least_nme(rarest, row.threshold, rule=rule)
    if row.nme.high < least - _ROUNDING:
        return f"NME must be at least {least:.3f} where the failure rate is ≥ {rarest:g}"
    return ""


def read_table(
    path: str | Path, *, threshold: float = 7.0, problems: list[str] | None = None
) -> list[Row]:
    """Read the rows of a table as it was published.

    A CSV file with a header: `method`, `nme`, `auc`, and if there are any `dataset`, `threshold`
    and `failure`, in any order and any case. Other columns are ignored. Numbers are in percent,
    with as many digits as were printed; `threshold` and `failure` may be empty.

    Args:
        path: The file.
        threshold: Of rows that do not say theirs, in percent.
        problems: Where to put one line about each row that cannot be read (it is then left out);
            None to let such rows raise.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it has no such columns, or no rows, or, without `problems`, if a row cannot
            be read; the message names file, line and column.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    rows, found = [], []
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            lines = csv.reader(file)
            places = _places(path, next(lines, []))
            for cells in lines:
                if not any(cell.strip() for cell in cells):
                    continue
                try:
                    rows.append(_row(cells, places, threshold))
                except ValueError as error:
                    found.append(f"{path}:{lines.line_num}: {error}")
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a CSV file in UTF-8 ({error})") from error
    if problems is not None:
        problems.extend(found)
    elif found:
        raise ValueError("\n".join(found))
    if not rows and not found:
        raise ValueError(f"{path}: no rows below the header")
    return rows


def _places(path: Path, header: Sequence[str]) -> dict[str, int]:
    """Return where the columns are, by name."""
    names = [name.strip().casefold() for name in header]
    for name in _COLUMNS:
        if name in _NEEDED and name not in names:
            raise ValueError(f"{path}:1: column {name!r} is missing, the header must have it")
        if names.count(name) > 1:
            raise ValueError(f"{path}:1: column {name!r} stands there {names.count(name)} times")
    return {name: names.index(name) for name in _COLUMNS if name in names}


def _row(cells: Sequence[str], places: Mapping[str, int], threshold: float) -> Row:
    """Return one row from its cells."""
    if len(cells) <= max(places.values()):
        raise ValueError(f"expected {max(places.values()) + 1} cells or more, got {len(cells)}")
    said = {name: cells[place].strip() for name, place in places.items()}
    numbers = {}
    for name, most in (("nme", None), ("auc", 100.0), ("failure", 100.0), ("threshold", None)):
        if said.get(name) or name in _NEEDED:
            try:
                numbers[name] = Printed.of(said[name], most=most)
            except ValueError as error:
                raise ValueError(f"{name} {error}") from error
    own = numbers.pop("threshold", None)
    if own is not None and not float(own.text) > 0:
        raise ValueError(f"threshold must be positive, got {own.text!r}")
    return Row(
        name=", ".join(said[name] for name in ("method", "dataset") if said.get(name)),
        threshold=threshold if own is None else float(own.text),
        **numbers,
    )


def check(table: Path, threshold: float = 7.0) -> int:
    """Print the verdict on every row; return the exit code.

    Args:
        table: The file.
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


def main() -> int:
    """Check the table that is named, the paper's by default."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("table", type=Path, nargs="?", default=PUBLISHED)
    parser.add_argument("--threshold", type=float, default=7.0)
    arguments = parser.parse_args()
    try:
        return check(arguments.table, arguments.threshold)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
