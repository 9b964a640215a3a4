"""The report of a study: Markdown with figures, tables, and scores over seeds as text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from kdn.data.paths import replacing
from kdn.evaluate import interval
from kdn.study.results import Scores

__all__ = [
    "Picture",
    "Summary",
    "Table",
    "difference",
    "number",
    "summarise",
    "with_interval",
    "write_report",
]


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
    seed_scores = values[:, 0]
    several = len(seed_scores) > 1 and bool(np.isfinite(seed_scores).all())
    spread = float(seed_scores.std(ddof=1)) if several else math.nan
    means = values.mean(axis=0)
    return Summary(float(means[0]), spread, *interval(means[1:]), len(seed_scores))


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


def write_report(folder: Path, title: str, blocks: Sequence[str | Picture]) -> Path:
    """Write `report.md` with `figures/*.png` beside it.

    Args:
        folder: Made if it does not exist.
        title: Of the report.
        blocks: Markdown and pictures, in order.

    Returns:
        The Markdown file.
    """
    for old in folder.glob("figures/*.png"):  # of a report with more in it
        old.unlink()
    lines = [f"# {title}"]
    for block in blocks:
        if isinstance(block, str):
            lines.append(block)
            continue
        file = f"figures/{block.name}.png"
        with replacing(folder / file) as temporary:
            block.figure.savefig(
                temporary,
                format="png",
                dpi=_DPI,
                facecolor="white",
                bbox_inches="tight",
                pad_inches=0.05,
            )
        lines.append(f"![{block.text}]({file})\n\n*{block.text}*")
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
        return "\n\n".join(text for text in (f"### {self.title}", body, self.note) if text)


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
