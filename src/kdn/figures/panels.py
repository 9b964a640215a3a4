"""Panels that show a part of a crop with the cells of a grid and a label on it.

Axes are in crop pixels with integer pixel centres.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.path import Path

from kdn.grid import Grid

__all__ = ["cells", "check_window", "mark", "peak", "picture", "zoom"]

# A cross that is open in the middle, so that it does not hide a sharp peak.
_CROSS = Path(
    [(-1, 0), (-0.4, 0), (0.4, 0), (1, 0), (0, -1), (0, -0.4), (0, 0.4), (0, 1)],
    [Path.MOVETO, Path.LINETO] * 4,
)


def check_window(window: float) -> None:
    """Raise unless `window` is a share of a crop's side.

    Raises:
        ValueError: If it is not in (0, 1].
    """
    if not 0 < window <= 1:
        raise ValueError(f"window must be in (0, 1], got {window}")


def picture(
    axes: Axes, crop: UInt8[np.ndarray, "h w 3"], *, darkest: float = 0.0, lightest: float = 0.6
) -> None:
    """Draw a crop in grey and dimmed, so that what lies on it is seen.

    Args:
        axes: Loses its ticks and frame.
        crop: RGB.
        darkest: Grey that black becomes, 0 to 1.
        lightest: Grey that white becomes.
    """
    grey = crop.astype(np.float64) @ (0.299, 0.587, 0.114) / 255
    shown = darkest + (lightest - darkest) * grey
    axes.imshow(shown, cmap="gray", vmin=0, vmax=1, interpolation="bilinear")
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)


def cells(axes: Axes, values: Float[np.ndarray, "gh gw"], grid: Grid, **shown) -> None:
    """Draw one value a cell where the cells are; what is `shown` goes to `Axes.imshow`."""
    (left, top), (right, bottom) = grid.low, grid.high
    extent = (left, right, bottom, top)
    axes.imshow(values, extent=extent, interpolation="nearest", **shown)


def mark(
    axes: Axes,
    target: Float[np.ndarray, " 2"],
    *,
    hidden: bool = False,
    colour: str = "#56d7ff",
    outline: str = "black",
) -> None:
    """Mark a label by a cross, or by a ring where the landmark is hidden."""
    axes.plot(
        *target,
        marker="o" if hidden else _CROSS,
        ms=8,
        mec=colour,
        mfc="none",
        mew=1.0,
        path_effects=[patheffects.withStroke(linewidth=2.4, foreground=outline)],
    )


def zoom(
    axes: Axes,
    crop: UInt8[np.ndarray, "h w 3"],
    centre: Float[np.ndarray, " 2"] | None = None,
    window: float = 1.0,
) -> None:
    """Show the part of a crop around a point, or as near to it as the crop's edges allow.

    Args:
        axes: Whose limits are set.
        crop: The picture.
        centre: The point, crop px; None for the whole crop.
        window: Share of the crop's sides that is shown.
    """
    height, width = crop.shape[:2]
    pixels = Grid.of_heatmap(height=height, width=width, stride=1)
    middle = pixels.low if centre is None else (float(centre[0]), float(centre[1]))
    share = 1.0 if centre is None else window
    (left, right), (top, bottom) = (
        _span(*ends, share) for ends in zip(middle, pixels.low, pixels.high, strict=True)
    )
    axes.set(xlim=(left, right), ylim=(bottom, top))


def peak(grid: Grid, values: Float[np.ndarray, "gh gw"]) -> Float[np.ndarray, " 2"]:
    """Return the centre of the cell with the largest value, in the grid's frame."""
    row, column = np.unravel_index(values.argmax(), values.shape)
    return np.array(grid.origin) + (column, row) * np.array(grid.spacing)


def _span(middle: float, low: float, high: float, window: float) -> tuple[float, float]:
    """Return the ends, inside the crop, of the part of an axis that is shown."""
    shown = window * (high - low)
    start = min(max(middle - shown / 2, low), high - shown)
    return start, start + shown
