"""Figures of predictions and heatmaps on disk; no network is needed to draw them.

Every function returns a `matplotlib.figure.Figure` of its own, without a window and without a
change to matplotlib's settings.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from kdn.figures.calibration import calibration_figure
from kdn.figures.curves import (
    ced_figure,
    convergence_figure,
    reliability_figure,
    sparsification_figure,
)
from kdn.figures.gradients import gradient_figure
from kdn.figures.heatmaps import common_samples, heatmap_figure
from kdn.figures.scatter import intervals_figure, uncertainty_figure
from kdn.predictions import Maps, Predictions

__all__ = [
    "calibration_figure",
    "ced_figure",
    "convergence_figure",
    "gradient_figure",
    "heatmap_figure",
    "intervals_figure",
    "reliability_figure",
    "sparsification_figure",
    "uncertainty_figure",
    "write_figures",
]

_DPI = 200


def write_figures(
    named: Mapping[str, Predictions],
    folder: str | Path,
    *,
    maps: Mapping[str, Maps] | None = None,
) -> list[Path]:
    """Draw all figures that the predictions allow, as PNG files, and return the files.

    `ced.png` shows every system; `uncertainty.png`, `sparsification.png` and `reliability.png`
    those that have the columns; `intervals_NAME.png` is of scalars, and `heatmaps_ID.png` stands
    for every face that all maps have.

    Args:
        named: Systems by the name in the figures, with labels.
        folder: Made if it does not exist; files of these names are replaced.
        maps: Heatmaps of the systems, or of some.

    Raises:
        ValueError: If there is no system, or one has no labels.
    """
    for name, predictions in named.items():
        if predictions.target is None or predictions.valid is None or not predictions.valid.any():
            raise ValueError(f"{name}: predictions must have labels to be drawn, got none")
    sure = {name: p for name, p in named.items() if p.uncertainty is not None}
    levelled = {
        name: p
        for name, p in named.items()
        if (p.hdr_level if p.kind == "points" else p.cdf_low) is not None
    }
    if len({predictions.kind for predictions in named.values()}) > 1:
        raise ValueError("named must be all of points or all of scalars, got both")
    figures: dict[str, Figure] = {"ced": ced_figure(named)}
    if sure:
        figures["uncertainty"] = uncertainty_figure(sure)
        figures["sparsification"] = sparsification_figure(sure)
    if levelled:
        figures["reliability"] = reliability_figure(levelled)
    for name, predictions in named.items():
        if predictions.quantiles is not None:
            figures[f"intervals_{_file_name(name)}"] = intervals_figure(predictions)
    for sample in common_samples(maps) if maps else ():
        figures[f"heatmaps_{_file_name(sample)}"] = heatmap_figure(maps or {}, sample=sample)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, drawn in figures.items():
        path = folder / f"{name}.png"
        drawn.savefig(path, dpi=_DPI, facecolor="white", bbox_inches="tight", pad_inches=0.05)
        paths.append(path)
    return paths


def _file_name(text: str) -> str:
    """Return an id with whatever does not belong into a file name replaced."""
    return re.sub(r"[^\w.-]+", "-", text).strip("-.") or "sample"
