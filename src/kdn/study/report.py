"""The report of a study: a Markdown file with its figures beside it, and the tables in it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from kdn.data.paths import replacing
from kdn.study.compare import Summary

__all__ = ["Picture", "Table", "number", "with_interval", "write_report"]

_DPI = 130
_LONG = 1e5  # from here on a number is written with its power of ten


@dataclass(frozen=True)
class Picture:
    """A figure of a report.

    Args:
        name: Of its file, without ending.
        figure: What is drawn.
        text: What it shows.
    """

    name: str
    figure: Figure
    text: str


def write_report(folder: Path, title: str, parts: Sequence[str | Picture]) -> Path:
    """Write `report.md` with `figures/*.png` beside it.

    Args:
        folder: Made if it does not exist.
        title: Of the report.
        parts: Markdown and pictures, in order.

    Returns:
        The Markdown file.
    """
    for old in folder.glob("figures/*.png"):  # of a report with more in it
        old.unlink()
    lines = [f"# {title}"]
    for part in parts:
        if isinstance(part, str):
            lines.append(part)
            continue
        file = f"figures/{part.name}.png"
        with replacing(folder / file) as temporary:
            part.figure.savefig(
                temporary,
                format="png",
                dpi=_DPI,
                facecolor="white",
                bbox_inches="tight",
                pad_inches=0.05,
            )
        lines.append(f"![{part.text}]({file})\n\n*{part.text}*")
    path = folder / "report.md"
    with replacing(path) as temporary:
        temporary.write_text("\n\n".join(lines) + "\n", encoding="utf-8")
    return path


@dataclass(frozen=True)
class Table:
    """Text in rows and columns.

    Args:
        title: Above it.
        head: One text a column.
        rows: As many texts each.
        note: What is to be said below it.

    Raises:
        ValueError: If a row has another number of columns.
    """

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.head):
                raise ValueError(f"{self.title}: rows must have {len(self.head)} columns: {row}")

    def markdown(self) -> str:
        """Return the table as Markdown, with its title and its note."""
        lines = [self.head, ["---"] * len(self.head), *self.rows]
        body = "\n".join("| " + " | ".join(line) + " |" for line in lines)
        return "\n\n".join(part for part in (f"### {self.title}", body, self.note) if part)


def number(value: float, digits: int) -> str:
    """Return a number as text: ∞ and "–" (not defined) where it is none."""
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = f"{value:.{digits}f}" if abs(value) < _LONG else f"{value:.1e}"
    return text.replace("-", "−").replace("e+", "e")


def with_interval(summary: Summary, digits: int, *, sign: bool = False) -> str:
    """Return a score as `mean ± spread (low to high)`, leaving out what there is not.

    Args:
        summary: The score.
        digits: After the point.
        sign: Write a plus before what is positive.
    """
    plus = "+" if sign and summary.mean > 0 and math.isfinite(summary.mean) else ""
    text = plus + number(summary.mean, digits)
    if math.isfinite(summary.spread):
        text += f" ± {number(summary.spread, digits)}"
    if math.isfinite(summary.low) and math.isfinite(summary.high):
        text += f" ({number(summary.low, digits)} to {number(summary.high, digits)})"
    return text
