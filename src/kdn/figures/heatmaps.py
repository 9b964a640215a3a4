"""Predicted heatmaps over the face, system by system (the paper's figures 2 and 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.path import Path

from kdn.figures.style import INK, figure
from kdn.grid import Grid
from kdn.predictions import Maps

__all__ = ["LANDMARKS", "common_samples", "heatmap_figure"]

LANDMARKS = (0, 4, 8, 12, 16, 30, 45, 36, 48, 54)
"""Those of the paper's figures, 0-based: five on the face's boundary, nose, eyes and mouth."""

# From clear to opaque, so that the face shows where the density is low.
_GLOW = LinearSegmentedColormap.from_list(
    "glow", [(1, 0.45, 0, 0), (1, 0.55, 0, 0.65), (1, 0.85, 0.2, 0.9), (1, 1, 0.85, 1)]
)
_OUTLINE = [patheffects.withStroke(linewidth=2.4, foreground="black")]
# A cross that is open in the middle, so that it does not hide a sharp peak.
_CROSS = Path(
    [(-1, 0), (-0.4, 0), (0.4, 0), (1, 0), (0, -1), (0, -0.4), (0, 0.4), (0, 1)],
    [Path.MOVETO, Path.LINETO] * 4,
)


def heatmap_figure(
    named: Mapping[str, Maps],
    *,
    sample: str | None = None,
    landmarks: Sequence[int] | None = None,
    window: float = 0.4,
) -> Figure:
    """Draw the heatmaps of one face: a row a system, a column a landmark.

    The first column shows the whole crop under all heatmaps. Brightness is the probability of a
    cell relative to the peak of its map: a flat map is an unsure one. The cross is the label, or a
    ring where the landmark is hidden.

    Args:
        named: Systems by the name at their row.
        sample: Id of the face; None for the first that all systems have.
        landmarks: 0-based; None for the paper's ten, or the first ten of another mark-up.
        window: Share of the crop's side that a landmark's panel shows.

    Raises:
        ValueError: If there is no system, if they have no sample in common, not this one or no
            such landmark, or if the window is not in (0, 1].
    """
    if not 0 < window <= 1:
        raise ValueError(f"window must be in (0, 1], got {window}")
    if sample is None:
        common = common_samples(named)
        if not common:
            raise ValueError("named must have a sample in common to be drawn, got none")
        sample = common[0]
    for name, maps in named.items():
        if sample not in maps.ids:
            raise ValueError(f"sample must be one that {name} has, got {sample!r}")
    count = min(maps.log_probs.shape[1] for maps in named.values())
    shown = tuple(landmarks) if landmarks is not None else _default_landmarks(count)
    if any(not 0 <= landmark < count for landmark in shown):
        raise ValueError(f"landmarks must be 0 to {count - 1}, got {shown}")
    new, axes = figure(len(named), 1 + len(shown), width=1.15, height=1.22)
    for row, (name, maps) in zip(axes, named.items(), strict=True):
        index = maps.ids.index(sample)
        _face(row[0], maps, index)
        row[0].set_ylabel(name, fontsize=8, color=INK, rotation=0, ha="right", va="center")
        for cell, landmark in zip(row[1:], shown, strict=True):
            _landmark(cell, maps, index, landmark, window)
    titles = ["all", *(str(landmark + 1) for landmark in shown)]
    for cell, title in zip(axes[0], titles, strict=True):
        cell.set_title(title, fontsize=8, color=INK, pad=3)
    said = (
        sample,
        "landmarks are numbered from 1",
        "brightness: probability relative to the map's peak",
        "cross: label",
        "ring: hidden label",
    )
    new.supxlabel("    ".join(said), fontsize=8, color=INK)
    return new


def common_samples(named: Mapping[str, Maps]) -> tuple[str, ...]:
    """Return the ids that all systems have, in the first one's order.

    Raises:
        ValueError: If there is no system.
    """
    if not named:
        raise ValueError("named must hold at least one system, got none")
    first, *rest = named.values()
    return tuple(name for name in first.ids if all(name in maps.ids for maps in rest))


def _default_landmarks(count: int) -> tuple[int, ...]:
    """Return which landmarks are drawn when none are asked for."""
    return LANDMARKS if count == 68 else tuple(range(min(10, count)))


def _face(axes: Axes, maps: Maps, index: int) -> None:
    """Draw the whole crop under the heatmaps of all landmarks."""
    relative = _relative(maps.log_probs[index].astype(np.float64))
    _picture(axes, maps.crops[index])
    _glow(axes, maps, relative.max(axis=0))


def _landmark(axes: Axes, maps: Maps, index: int, landmark: int, window: float) -> None:
    """Draw one landmark's heatmap over the part of the crop around its label."""
    log_probs = maps.log_probs[index, landmark].astype(np.float64)
    _picture(axes, maps.crops[index])
    _glow(axes, maps, _relative(log_probs))
    target = maps.target[index, landmark].astype(np.float64)
    labelled = bool(np.isfinite(target).all())
    if labelled:
        hidden = not maps.visible[index, landmark]
        axes.plot(
            *target,
            marker="o" if hidden else _CROSS,
            ms=8,
            mec="#56d7ff",
            mfc="none",
            mew=1.0,
            path_effects=_OUTLINE,
        )
    centre = target if labelled else _peak(maps, log_probs)
    (left, right), (top, bottom) = (
        _span(float(middle), *edges, window)
        for middle, edges in zip(centre, _edges(maps), strict=True)
    )
    axes.set(xlim=(left, right), ylim=(bottom, top))


def _edges(maps: Maps) -> list[tuple[float, float]]:
    """Return where the crop begins and ends on the axes x and y, crop pixels."""
    height, width = maps.crops.shape[1:3]
    pixels = Grid.of_heatmap(height=height, width=width, stride=1)
    return list(zip(pixels.low, pixels.high, strict=True))


def _span(middle: float, low: float, high: float, window: float) -> tuple[float, float]:
    """Return the ends, inside the crop, of the part of an axis that is shown."""
    shown = window * (high - low)
    start = min(max(middle - shown / 2, low), high - shown)
    return start, start + shown


def _picture(axes: Axes, crop: UInt8[np.ndarray, "h w 3"]) -> None:
    """Draw a crop in grey and dimmed, so that what lies on it is seen."""
    grey = crop.astype(np.float64) @ (0.299, 0.587, 0.114)
    axes.imshow(0.6 * grey, cmap="gray", vmin=0, vmax=255, interpolation="bilinear")
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _glow(axes: Axes, maps: Maps, relative: Float[np.ndarray, "gh gw"]) -> None:
    """Draw a heatmap, values in [0, 1], where its cells are in the crop."""
    (left, top), (right, bottom) = maps.grid.low, maps.grid.high
    axes.imshow(
        relative,
        cmap=_GLOW,
        vmin=0,
        vmax=1,
        extent=(left, right, bottom, top),
        interpolation="nearest",
    )
    across, down = _edges(maps)
    axes.set(xlim=across, ylim=down[::-1])


def _relative(log_probs: Float[np.ndarray, "*maps gh gw"]) -> Float[np.ndarray, "*maps gh gw"]:
    """Return probabilities relative to the largest of each map."""
    return np.exp(log_probs - log_probs.max(axis=(-2, -1), keepdims=True))


def _peak(maps: Maps, log_probs: Float[np.ndarray, "gh gw"]) -> np.ndarray:
    """Return the centre of the most probable cell, crop px."""
    row, column = np.unravel_index(log_probs.argmax(), log_probs.shape)
    return np.array(maps.grid.origin) + (column, row) * np.array(maps.grid.spacing)
