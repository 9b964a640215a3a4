"""Curves with one line a system: CED, reliability and sparsification."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int
from matplotlib.figure import Figure

from kdn.data.markup import markup_of_facts
from kdn.evaluate import (
    auc,
    ause,
    ced,
    coverage,
    image_errors,
    normalisers,
    point_errors,
    sparsification,
)
from kdn.evaluate.sparsification import REMOVED
from kdn.figures.style import MUTED, figure, legend, panel, styled
from kdn.predictions import Predictions

_MOST = 4  # times the threshold: how far an axis reaches for a system that is far off

__all__ = ["ced_figure", "pooled_errors", "reliability_figure", "sparsification_figure"]


def ced_figure(
    named: Mapping[str, Predictions], *, normaliser: str = "box", threshold: float = 7.0
) -> Figure:
    """Draw the share of images whose error is at most a threshold, one line a system.

    Args:
        named: Systems by the name in the legend.
        normaliser: What errors are divided by: `box`, `inter-ocular`, `inter-pupil`, `diagonal`.
        threshold: Where the area ends, percent; the axis ends there too, unless a system has most
            images beyond it.

    Raises:
        ValueError: If there is no system, if one has no labels or its mark-up has no such length.
    """
    new, axes = figure(1, 1, width=6.4, height=3.3)
    axes = axes[0, 0]
    found = {name: _image_errors(name, given, normaliser) for name, given in named.items()}
    # Up to where all have most of their images, unless that would press the best to the edge.
    medians = [1.2 * float(np.nanmedian(errors)) for errors in found.values()] or [threshold]
    right = max(threshold, min(medians), min(max(medians), _MOST * threshold))
    for (name, _), colour, dashes in styled(named):
        errors = found[name]
        steps = np.unique(np.concatenate([[0.0, right], errors[errors < right]]))
        mean, area = float(np.nanmean(errors)), auc(errors, threshold, rule="exact")
        label = f"{name}: {mean:.2f} / {area:.1f}"
        curve = ced(errors, steps)
        axes.step(steps, curve, where="post", color=colour, ls=dashes, lw=1.6, label=label)
    axes.set(xlim=(0, right), ylim=(0, 101))
    if right > threshold:
        axes.axvline(threshold, color=MUTED, lw=1, zorder=1)
    panel(axes, x=f"NME, % of {_said(normaliser)}", y="images with at most that NME, %")
    title = f"NME % / AUC@{threshold:g} % (exact)"
    legend(new, axes, place="outside right upper", title=title)
    return new


def reliability_figure(named: Mapping[str, Predictions]) -> Figure:
    """Draw how many labels lie in the regions that should hold 1, 2, …, 99 % of them.

    Raises:
        ValueError: If there is no system, or one has no `hdr_level`.
    """
    new, axes = figure(1, 1, width=5.9, height=3.6)
    axes = axes[0, 0]
    nominal = np.arange(1, 100)
    axes.plot([0, 100], [0, 100], color=MUTED, lw=1, zorder=1)
    for (name, predictions), colour, dashes in styled(named):
        if predictions.hdr_level is None or predictions.valid is None:
            raise ValueError(f"{name}: hdr_level must be given to draw reliability, got None")
        level, valid = predictions.hdr_level, predictions.valid
        held = np.array([coverage(level, valid, share / 100) for share in nominal])
        gap = np.abs(held - nominal).mean()
        axes.plot(nominal, held, color=colour, ls=dashes, lw=1.6, label=f"{name}: {gap:.1f}")
    said = {"fontsize": 8, "color": MUTED, "style": "italic"}
    axes.text(2, 98, "regions too large", va="top", **said)
    axes.text(98, 2, "regions too small", ha="right", **said)
    axes.set(xlim=(0, 100), ylim=(0, 100), aspect="equal")
    panel(axes, x="nominal mass of the region, %", y="labels inside, %")
    legend(new, axes, place="outside right upper", title="mean gap, points of %")
    return new


def sparsification_figure(
    named: Mapping[str, Predictions], *, normaliser: str | None = "box"
) -> Figure:
    """Draw the mean error of the landmarks left when the least sure are removed.

    Beside each system stands its oracle, thin, which removes the worst landmarks first.

    Args:
        named: Systems by the name in the legend.
        normaliser: What uncertainties and errors are divided by; None for image pixels as they
            are.

    Raises:
        ValueError: If there is no system, or one has no labels or no uncertainty.
    """
    new, axes = figure(1, 1, width=6.2, height=3.3)
    axes = axes[0, 0]
    removed = np.array(REMOVED)
    for (name, predictions), colour, dashes in styled(named):
        uncertainty, errors, _ = pooled_errors(name, predictions, normaliser)
        curve, oracle = (
            100 * sparsification(key, errors, removed) / errors.mean()
            for key in (uncertainty, errors)
        )
        label = f"{name}: {ause(uncertainty, errors):.3f}"
        axes.plot(100 * removed, curve, color=colour, ls=dashes, lw=1.6, label=label)
        axes.plot(100 * removed, oracle, color=colour, ls=dashes, lw=0.8, alpha=0.6)
    axes.axhline(100, color=MUTED, lw=0.8)
    axes.text(2, 101, "removed at random", fontsize=8, color=MUTED, style="italic", va="bottom")
    axes.text(2, 3, "thin: worst removed first", fontsize=8, color=MUTED, style="italic")
    axes.set(xlim=(0, 100), ylim=(0, 112))
    what = "image px" if normaliser is None else f"errors ÷ {normaliser}"
    panel(axes, x="least sure landmarks removed, %", y="mean error of the rest, % of that of all")
    legend(new, axes, place="outside right upper", title=f"AUSE ({what})")
    return new


def pooled_errors(
    name: str, predictions: Predictions, normaliser: str | None
) -> tuple[Float[np.ndarray, " N"], Float[np.ndarray, " N"], Int[np.ndarray, " N"]]:
    """Return uncertainty, error and sample of all valid landmarks.

    Args:
        name: The system, for errors.
        predictions: With labels and uncertainties.
        normaliser: What both are divided by, a share then; None for image pixels as they are.

    Raises:
        ValueError: If there are no labels or uncertainties.
    """
    if predictions.uncertainty is None:
        raise ValueError(f"{name}: uncertainty must be given, got None")
    target, valid, length = _lengths(name, predictions, normaliser)
    used = valid & ~np.isnan(length)[:, None]
    image = np.nonzero(used)[0]
    errors = point_errors(predictions.prediction, target)[used] / length[image]
    return predictions.uncertainty[used] / length[image], errors, image


def _image_errors(name: str, predictions: Predictions, normaliser: str) -> np.ndarray:
    """Return the error of every image in percent, NaN where it does not count."""
    target, valid, length = _lengths(name, predictions, normaliser)
    return image_errors(point_errors(predictions.prediction, target), valid, length)


def _lengths(name: str, predictions: Predictions, normaliser: str | None) -> tuple:
    """Return target, valid and the normaliser of every sample."""
    target, valid = predictions.target, predictions.valid
    if target is None or valid is None:
        raise ValueError(f"{name}: predictions must have labels to be drawn, got no target")
    if normaliser is None:
        return target, valid, np.ones(len(target))
    markup = None
    if normaliser not in ("box", "diagonal"):
        markup = markup_of_facts(predictions.metadata)
    lengths = normalisers(target, valid, markup)
    if normaliser not in lengths:
        raise ValueError(f"{name}: normaliser must be one of {', '.join(lengths)}: {normaliser!r}")
    return target, valid, lengths[normaliser]


def _said(normaliser: str) -> str:
    """Return a normaliser as an axis says it."""
    return {"box": "√(w·h) of the landmark box", "diagonal": "the landmark box's diagonal"}.get(
        normaliser, f"the {normaliser} distance"
    )
