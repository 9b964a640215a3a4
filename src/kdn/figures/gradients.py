"""What a training step does to each cell of a heatmap (the paper's appendix B)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.colors import FuncNorm, LinearSegmentedColormap
from matplotlib.figure import Figure

from kdn.figures.panels import cells, check_window, mark, peak, picture, zoom
from kdn.figures.style import INK, figure
from kdn.grid import Grid

__all__ = ["gradient_figure"]

# Clear at 0, so that the face shows where a step changes nothing.
_STEP = LinearSegmentedColormap.from_list(
    "step",
    [
        (0.0, (0.02, 0.19, 0.50, 1.0)),
        (0.25, (0.13, 0.45, 0.78, 0.85)),
        (0.5, (1.0, 1.0, 1.0, 0.0)),
        (0.75, (0.87, 0.30, 0.22, 0.85)),
        (1.0, (0.50, 0.0, 0.08, 1.0)),
    ],
)
_HALO = [patheffects.withStroke(linewidth=2.0, foreground="white")]


def gradient_figure(
    stages: Mapping[str, Float[np.ndarray, "landmarks gh gw"]],
    *,
    crop: UInt8[np.ndarray, "h w 3"],
    target: Float[np.ndarray, "landmarks 2"],
    grid: Grid,
    landmarks: Sequence[int],
    window: float = 0.5,
) -> Figure:
    """Draw the gradient of the loss with respect to the logits: a row a stage, a column a landmark.

    A step of descent raises the logit of blue cells and lowers that of red ones. Stages differ by
    orders of magnitude, so each panel has a scale of its own, from minus to plus the largest size
    of its map's gradient, which is written in it. Colours go with the square root of the size:
    what a step takes from many cells and gives to a few is seen on both sides. The cross is the
    label.

    Args:
        stages: By the name at their row, the gradient `p − r` of each landmark's map: probability
            less responsibility.
        crop: What the network saw, RGB.
        target: Labels, crop px, NaN where not valid.
        grid: The cells, in crop pixels.
        landmarks: Which are drawn, 0-based.
        window: Share of the crop's side that a panel shows.

    Raises:
        ValueError: If there is no stage or no landmark to draw, if a stage's shape is not that of
            target and grid, if there is no such landmark, or if the window is not in (0, 1].
    """
    check_window(window)
    if not stages or not landmarks:
        raise ValueError(
            f"stages and landmarks must not be empty, got {len(stages)} and {len(landmarks)}"
        )
    wanted = (len(target), *grid.shape)
    for name, gradient in stages.items():
        if gradient.shape != wanted:
            raise ValueError(f"{name}: a stage must have shape {wanted}, got {gradient.shape}")
    if any(not 0 <= landmark < len(target) for landmark in landmarks):
        raise ValueError(f"landmarks must be 0 to {len(target) - 1}, got {tuple(landmarks)}")
    new, axes = figure(len(stages), len(landmarks), width=1.25, height=1.3)
    for row, (name, gradient) in zip(axes, stages.items(), strict=True):
        row[0].set_ylabel(name, fontsize=8, color=INK, rotation=0, ha="right", va="center")
        for cell, landmark in zip(row, landmarks, strict=True):
            values = gradient[landmark].astype(np.float64)
            _gradient(cell, values, crop, target[landmark].astype(np.float64), grid, window)
    for cell, landmark in zip(axes[0], landmarks, strict=True):
        cell.set_title(str(landmark + 1), fontsize=8, color=INK, pad=3)
    text = (
        "blue: a step raises the logit    red: it lowers it",
        "number: largest |p − r|, the end of the scale (square root)",
        "cross: label    landmarks are numbered from 1",
    )
    caption = ("    " if len(landmarks) > 5 else "\n").join(text)
    new.supxlabel(caption, fontsize=8, color=INK)
    return new


def _gradient(
    axes: Axes,
    values: Float[np.ndarray, "gh gw"],
    crop: UInt8[np.ndarray, "h w 3"],
    target: Float[np.ndarray, " 2"],
    grid: Grid,
    window: float,
) -> None:
    """Draw one map over the part of the crop around its label."""
    sizes = np.abs(values)
    largest = float(sizes.max())
    end = largest or 1.0  # a map of zeros is drawn as such
    picture(axes, crop, darkest=0.55, lightest=1.0)
    cells(axes, values, grid, cmap=_STEP, norm=FuncNorm((_root, _square), -end, end))
    labelled = bool(np.isfinite(target).all())
    if labelled:
        mark(axes, target, colour="black", outline="white")
    zoom(axes, crop, target if labelled else peak(grid, sizes), window)
    axes.text(
        *(0.04, 0.04),
        f"{largest:.2g}",
        transform=axes.transAxes,
        fontsize=6.5,
        color=INK,
        path_effects=_HALO,
    )


def _root(values: np.ndarray) -> np.ndarray:
    """Return square roots of sizes with the signs kept."""
    return np.sign(values) * np.sqrt(np.abs(values))


def _square(roots: np.ndarray) -> np.ndarray:
    """Return what `_root` is the root of."""
    return roots * np.abs(roots)
