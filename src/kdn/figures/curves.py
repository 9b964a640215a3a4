"""Curves with one line a system: errors, reliability and sparsification."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from kdn.data.markup import markup_of_facts
from kdn.evaluate import auc, ced, image_errors
from kdn.evaluate.labelled import Labelled, labelled
from kdn.evaluate.levels import NOMINAL
from kdn.evaluate.resamples import REMOVED
from kdn.figures.style import MUTED, figure, legend, panel, styled
from kdn.predictions import Predictions

__all__ = [
    "ced_figure",
    "convergence_figure",
    "pooled_errors",
    "reliability_figure",
    "sparsification_figure",
]

_MOST = 4  # times the threshold: how far an axis reaches for a system that is far off


def ced_figure(
    named: Mapping[str, Predictions], *, normaliser: str = "box", threshold: float | None = None
) -> Figure:
    """Draw the share of images whose error is at most a threshold, one line a system.

    Args:
        named: Systems by the name in the legend.
        normaliser: What errors of points are divided by: `box`, `inter-ocular`, `inter-pupil`,
            `diagonal`. Those of scalars are in their unit, and every label counts by itself.
        threshold: Where the area ends, 7 % for points and 5 for scalars; the axis ends there too,
            unless a system has most images beyond it.

    Raises:
        ValueError: If there is no system, if one has no labels or its mark-up has no such length.
    """
    new, axes = figure(1, 1, width=6.4, height=3.3)
    axes = axes[0, 0]
    points = all(predictions.kind == "points" for predictions in named.values())
    threshold = threshold or (7.0 if points else 5.0)
    each = {name: _image_errors(name, record, normaliser) for name, record in named.items()}
    # Up to where all have most of their images, unless that would press the best to the edge.
    medians = [1.2 * float(np.nanmedian(errors)) for errors in each.values()] or [threshold]
    right = max(threshold, min(medians), min(max(medians), _MOST * threshold))
    for (name, _), colour, dashes in styled(named):
        errors = each[name]
        steps = np.unique(np.concatenate([[0.0, right], errors[errors < right]]))
        mean, area = float(np.nanmean(errors)), auc(errors, threshold, rule="exact")
        label = f"{name}: {mean:.2f} / {area:.1f}"
        curve = ced(errors, steps)
        axes.step(steps, curve, where="post", color=colour, ls=dashes, lw=1.6, label=label)
    axes.set(xlim=(0, right), ylim=(0, 101))
    if right > threshold:
        axes.axvline(threshold, color=MUTED, lw=1, zorder=1)
    what, mean = ("images", "NME %") if points else ("labels", "MAE")
    label = f"NME, % of {_length_name(normaliser)}" if points else "absolute error"
    panel(axes, x=label, y=f"{what} with at most that, %")
    legend(new, axes, place="outside right upper", title=f"{mean} / AUC@{threshold:g} % (exact)")
    return new


def reliability_figure(named: Mapping[str, Predictions]) -> Figure:
    """Draw how many labels lie in the regions that should hold 1, 2, …, 99 % of them.

    Regions of highest density for points, central intervals for scalars.

    Raises:
        ValueError: If there is no system, or one has no levels.
    """
    new, axes = figure(1, 1, width=5.9, height=3.6)
    axes = axes[0, 0]
    axes.plot([0, 100], [0, 100], color=MUTED, lw=1, zorder=1)
    for (name, predictions), colour, dashes in styled(named):
        coverage = _labelled(name, predictions).coverage
        if coverage is None:
            raise ValueError(f"{name}: levels must be given to draw reliability, got None")
        gap = 100 * np.abs(coverage[0] - NOMINAL).mean()
        label = f"{name}: {gap:.1f}"
        axes.plot(100 * NOMINAL, 100 * coverage[0], color=colour, ls=dashes, lw=1.6, label=label)
    italic = {"fontsize": 8, "color": MUTED, "style": "italic"}
    axes.text(2, 98, "regions too large", va="top", **italic)
    axes.text(98, 2, "regions too small", ha="right", **italic)
    axes.set(xlim=(0, 100), ylim=(0, 100), aspect="equal")
    panel(axes, x="nominal mass of the region, %", y="labels inside, %")
    legend(new, axes, place="outside right upper", title="mean gap, points of %")
    return new


def sparsification_figure(
    named: Mapping[str, Predictions], *, normaliser: str | None = "box"
) -> Figure:
    """Draw the mean error of the labels left when the least sure are removed.

    Beside each system stands its oracle, thin, which removes the worst first.

    Args:
        named: Systems by the name in the legend.
        normaliser: What uncertainties and errors of points are divided by; None for image pixels
            as they are.

    Raises:
        ValueError: If there is no system, or one has no labels or no uncertainty.
    """
    new, axes = figure(1, 1, width=6.2, height=3.3)
    axes = axes[0, 0]
    removed = np.array(REMOVED)
    for (name, predictions), colour, dashes in styled(named):
        data, uncertainty, errors = pooled_errors(name, predictions, normaliser)
        curve, oracle = (
            data.items.sparsification(key, errors)[0] / errors.mean()
            for key in (uncertainty, errors)
        )
        label = f"{name}: {(curve - oracle).mean():.3f}"
        axes.plot(100 * removed, 100 * curve, color=colour, ls=dashes, lw=1.6, label=label)
        axes.plot(100 * removed, 100 * oracle, color=colour, ls=dashes, lw=0.8, alpha=0.6)
    axes.axhline(100, color=MUTED, lw=0.8)
    axes.text(2, 101, "removed at random", fontsize=8, color=MUTED, style="italic", va="bottom")
    axes.text(2, 3, "thin: worst removed first", fontsize=8, color=MUTED, style="italic")
    axes.set(xlim=(0, 100), ylim=(0, 112))
    what = "image px" if normaliser is None else f"errors ÷ {normaliser}"
    if any(predictions.kind == "scalars" for predictions in named.values()):
        what = "the label's unit"
    panel(axes, x="least sure labels removed, %", y="mean error of the rest, % of that of all")
    legend(new, axes, place="outside right upper", title=f"AUSE ({what})")
    return new


def pooled_errors(
    name: str, predictions: Predictions, normaliser: str | None
) -> tuple[Labelled, Float[np.ndarray, " N"], Float[np.ndarray, " N"]]:
    """Return the labels that count, and the uncertainty and error of each.

    Args:
        name: The system, for errors.
        predictions: With labels and uncertainties.
        normaliser: What both are divided by, a share then; None for image pixels as they are.
            Nothing is of scalars.

    Raises:
        ValueError: If there are no labels or uncertainties.
    """
    if predictions.uncertainty is None:
        raise ValueError(f"{name}: uncertainty must be given, got None")
    data = _labelled(name, predictions)
    length = _length(name, data, normaliser)
    data = data.only(np.broadcast_to(~np.isnan(length)[:, None], data.used.shape))
    each = length[np.nonzero(data.used)[0]]
    return data, data.column("uncertainty") / each, data.errors[data.used] / each


def _image_errors(name: str, predictions: Predictions, normaliser: str) -> np.ndarray:
    """Return the error of every image in percent, NaN where it does not count."""
    data = _labelled(name, predictions)
    if predictions.kind == "scalars":
        return data.errors[data.used]
    return image_errors(data.errors, data.used, _length(name, data, normaliser))


def _labelled(name: str, predictions: Predictions) -> Labelled:
    """Return the labels of a system that count."""
    try:
        return labelled(predictions, bootstrap=0, seed=0)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def _length(name: str, data: Labelled, normaliser: str | None) -> Float[np.ndarray, " n"]:
    """Return what the errors of every sample are divided by."""
    if normaliser is None or data.predictions.kind == "scalars":
        return np.ones(len(data.used))
    if normaliser not in ("box", "diagonal"):
        markup_of_facts(data.predictions.metadata)  # says what is wrong with the mark-up
    if normaliser not in data.lengths:
        known = ", ".join(data.lengths)
        raise ValueError(f"{name}: normaliser must be one of {known}: {normaliser!r}")
    return data.lengths[normaliser]


def _length_name(normaliser: str) -> str:
    """Return a normaliser as an axis says it."""
    return {"box": "√(w·h) of the landmark box", "diagonal": "the landmark box's diagonal"}.get(
        normaliser, f"the {normaliser} distance"
    )


def convergence_figure(
    curves: Mapping[str, Float[np.ndarray, " epochs"]],
    *,
    marks: Mapping[str, int] | None = None,
    title: str = "",
) -> Figure:
    """Draw the training loss over the epoch, one line a setting.

    Losses are drawn as they are. Those of different kernels differ by a constant, so lines are to
    be compared by how soon they flatten, not by their height.

    Args:
        curves: Mean loss of each epoch, the first being epoch 1, by the name in the legend. They
            need not be equally long.
        marks: For some settings an epoch, counted from 1, that gets a dot.
        title: Above the lines.

    Raises:
        ValueError: If there is no curve, or a mark names no curve or none of its epochs.
    """
    new, axes = figure(1, 1, width=6.4, height=3.4)
    axes = axes[0, 0]
    for (name, losses), colour, dashes in styled(curves):
        epochs = np.arange(1, len(losses) + 1)
        axes.plot(epochs, losses, color=colour, ls=dashes, lw=1.5, label=name)
        if marks and name in marks:
            epoch = marks[name]
            if not 1 <= epoch <= len(losses):
                raise ValueError(f"marks must be 1 to {len(losses)} for {name}, got {epoch}")
            dot = {"marker": "o", "ms": 5.5, "mfc": "white", "mec": colour, "mew": 1.4}
            axes.plot([epoch], [losses[epoch - 1]], ls="", zorder=3, **dot)
    unknown = sorted(set(marks or {}) - set(curves))
    if unknown:
        raise ValueError(f"marks must name curves, got {', '.join(unknown)}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    panel(axes, x="epoch", y="training loss, nats", title=title)
    legend(new, axes, place="outside right upper")
    return new
