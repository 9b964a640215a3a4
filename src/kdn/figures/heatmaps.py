"""Predicted heatmaps over the face, system by system (the paper's figures 2 and 3)."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from kdn.data.markup import FACE68
from kdn.figures.panels import cells, check_window, mark, peak, picture, zoom
from kdn.figures.style import INK, figure
from kdn.predictions import Maps

__all__ = ["LANDMARKS", "common_samples", "heatmap_figure"]

LANDMARKS = (0, 4, 8, 12, 16, 30, 45, 36, 48, 54)
"""Those of the paper's figures, 0-based: five on the face's boundary, nose, eyes and mouth."""

# From clear to opaque, so that the face shows where the density is low.
_GLOW = LinearSegmentedColormap.from_list(
    "glow", [(1, 0.45, 0, 0), (1, 0.55, 0, 0.65), (1, 0.85, 0.2, 0.9), (1, 1, 0.85, 1)]
)


def heatmap_figure(
    named: Mapping[str, Maps],
    *,
    sample: str | None = None,
    landmarks: Sequence[int] | None = None,
    titles: Sequence[str] | None = None,
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
        titles: Head of each landmark's column; None for its number, counted from 1, and its name
            where the mark-up is known.
        window: Share of the crop's side that a landmark's panel shows.

    Raises:
        ValueError: If there is no system, if they have no sample in common, not this one or no
            such landmark, if there is not one title a landmark, or if the window is not in (0, 1].
    """
    check_window(window)
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
    if titles is not None and len(titles) != len(shown):
        raise ValueError(
            f"titles must be one for each of {len(shown)} landmarks, got {len(titles)}"
        )
    new, axes = figure(len(named), 1 + len(shown), width=1.15, height=1.22)
    for row, (name, maps) in zip(axes, named.items(), strict=True):
        index = maps.ids.index(sample)
        _face(row[0], maps, index)
        row[0].set_ylabel(name, fontsize=8, color=INK, rotation=0, ha="right", va="center")
        for cell, landmark in zip(row[1:], shown, strict=True):
            _landmark(cell, maps, index, landmark, window)
    heads = _numbered(shown, named) if titles is None else titles
    for cell, title in zip(axes[0], ("all", *heads), strict=True):
        cell.set_title(title, fontsize=7, color=INK, pad=3)
    text = (
        f"{sample}    landmarks are numbered from 1",
        "brightness: probability relative to the map's peak",
        "cross: label    ring: hidden label",
    )
    caption = ("    " if len(shown) > 5 else "\n").join(text)
    new.supxlabel(caption, fontsize=8, color=INK)
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


def _numbered(shown: Sequence[int], named: Mapping[str, Maps]) -> list[str]:
    """Return column heads: numbers, and the names of landmarks where all say the mark-up."""
    markups = {maps.markup for maps in named.values()}
    names = FACE68.names if markups == {FACE68.name} else ()
    return [textwrap.fill(f"{i + 1}: {names[i]}", 15) if names else str(i + 1) for i in shown]


def _face(axes: Axes, maps: Maps, index: int) -> None:
    """Draw the whole crop under the heatmaps of all landmarks."""
    relative = _relative(maps.log_probs[index].astype(np.float64))
    _glow(axes, maps, index, relative.max(axis=0))


def _landmark(axes: Axes, maps: Maps, index: int, landmark: int, window: float) -> None:
    """Draw one landmark's heatmap over the part of the crop around its label."""
    log_probs = maps.log_probs[index, landmark].astype(np.float64)
    _glow(axes, maps, index, _relative(log_probs))
    target = maps.target[index, landmark].astype(np.float64)
    labelled = bool(np.isfinite(target).all())
    if labelled:
        mark(axes, target, hidden=not maps.visible[index, landmark])
    centre = target if labelled else peak(maps.grid, log_probs)
    zoom(axes, maps.crops[index], centre, window)


def _glow(axes: Axes, maps: Maps, index: int, relative: Float[np.ndarray, "gh gw"]) -> None:
    """Draw a heatmap, values in [0, 1], where its cells are in the crop."""
    picture(axes, maps.crops[index])
    cells(axes, relative, maps.grid, cmap=_GLOW, vmin=0, vmax=1)
    zoom(axes, maps.crops[index])


def _relative(log_probs: Float[np.ndarray, "*maps gh gw"]) -> Float[np.ndarray, "*maps gh gw"]:
    """Return probabilities relative to the largest of each map."""
    return np.exp(log_probs - log_probs.max(axis=(-2, -1), keepdims=True))
