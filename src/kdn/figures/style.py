"""How figures look: sizes, colours and axes, set on each object and never globally."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["COLOURS", "DASHES", "INK", "MUTED", "figure", "legend", "panel", "styled"]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's, which the colour-blind tell apart, in an order whose greys differ too."""

DASHES = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), "-.", (0, (6, 1, 1, 1, 1, 1)), (0, (8, 3)), ":")
"""They go with the colours, so that a print in black and white can be read."""

INK = "#222222"
"""Colour of words and numbers."""

MUTED = "#6b6b6b"
"""Colour of axes, and of lines and words that stand back."""

_FAINT = "#e4e4e4"

Place = Literal["outside right upper", "outside lower center"]

Item = TypeVar("Item")


def figure(rows: int, columns: int, *, width: float, height: float, **options) -> tuple:
    """Return a figure without a window and its axes `(rows, columns)`; sizes in inches a panel."""
    new = Figure(figsize=(width * columns, height * rows), layout="constrained")
    axes = new.subplots(rows, columns, squeeze=False, **options)
    return new, axes


def panel(axes: Axes, *, x: str, y: str, title: str = "") -> None:
    """Label axes and take away what is not needed to read them."""
    axes.set_xlabel(x, fontsize=9, color=INK)
    axes.set_ylabel(y, fontsize=9, color=INK)
    if title:
        axes.set_title(title, fontsize=10, color=INK, loc="left")
    axes.tick_params(labelsize=8, color=MUTED, labelcolor=INK, length=3)
    axes.grid(visible=True, color=_FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(MUTED)


def legend(new: Figure, axes: Axes, *, loc: Place, title: str = "", columns: int = 1) -> None:
    """Add a legend outside all axes of a figure, where it cannot hide a curve."""
    handles, labels = axes.get_legend_handles_labels()
    new.legend(
        handles,
        labels,
        loc=loc,  # pyright: ignore[reportArgumentType] (its stub has no "outside" places)
        title=title or None,
        ncols=columns,
        handlelength=3.2,  # two of the longest dashes
        fontsize=8,
        title_fontsize=8,
        alignment="left",
        frameon=False,
    )


def styled(named: Mapping[str, Item]) -> list[tuple[tuple[str, Item], str, Any]]:
    """Return each system with its colour and dashes; no two of the first 49 look alike.

    Raises:
        ValueError: If there is no system.
    """
    if not named:
        raise ValueError("named must hold at least one system, got none")
    return [
        (item, COLOURS[i % len(COLOURS)], DASHES[(i + i // len(COLOURS)) % len(DASHES)])
        for i, item in enumerate(named.items())
    ]
