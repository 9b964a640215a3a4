"""One figure of a diagnosis: coverage, levels, sparsification and risk."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kdn.evaluate import Diagnosis, Part
from kdn.evaluate.levels import NOMINAL
from kdn.figures.style import COLOURS, DASHES, MUTED, figure, panel

__all__ = ["calibration_figure"]

_MOST = len(COLOURS)
_SMALL = {"fontsize": 8, "color": MUTED, "style": "italic"}


def calibration_figure(diagnosis: Diagnosis) -> Figure:
    """Draw coverage against nominal mass, the histogram of levels, sparsification and risk.

    All labels are drawn bold with their 95 % band; the values of the attribute are thin, if the
    diagnosis has one, and otherwise each of several scalars. What the predictions do not have is
    said in its place.

    Args:
        diagnosis: From `kdn.evaluate.diagnose`.
    """
    new, axes = figure(2, 2, width=4.6, height=3.7)
    whole = diagnosis.parts[0]
    kind = "attribute" if any(p.kind == "attribute" for p in diagnosis.parts) else "label"
    scalars = diagnosis.metadata.get("names") is not None
    thin = [p for p in diagnosis.parts if p.kind == kind and p.labels]
    parts = [whole, *(thin if kind == "attribute" or (scalars and len(thin) > 1) else [])]
    parts = parts[:_MOST]
    _coverage(axes[0, 0], parts)
    _levels(axes[0, 1], whole, "PIT" if scalars else "2-D PIT")
    _sparsification(axes[1, 0], parts)
    _risk(axes[1, 1], parts, "" if scalars else " px")
    if len(parts) > 1:
        lines, names = axes[0, 0].get_legend_handles_labels()
        new.legend(
            lines,
            names,
            loc="outside upper center",
            title="mean gap of coverage, points of %",
            title_fontsize=8,
            ncols=4,
            fontsize=8,
            frameon=False,
        )
    return new


def _coverage(axes: Axes, parts: list[Part]) -> None:
    """Draw the share of labels inside regions of 1 to 99 %."""
    whole = parts[0].curves
    if whole.coverage is None:
        _missing(axes, "no column of levels")
    else:
        axes.plot([0, 100], [0, 100], color=MUTED, lw=1, zorder=1)
        _band(axes, 100 * NOMINAL, whole.coverage_low, whole.coverage_high, 100.0)
        for index, part in enumerate(parts):
            if part.curves.coverage is not None:
                label = f"{part.name} ({part.value('mean absolute coverage error'):.1f})"
                axes.plot(100 * NOMINAL, 100 * part.curves.coverage, label=label, **_line(index))
        axes.text(2, 98, "regions too large", va="top", **_SMALL)
        axes.text(98, 2, "regions too small", ha="right", **_SMALL)
        text = f"mean gap {parts[0].value('mean absolute coverage error'):.1f} points of %"
        axes.text(98, 10, text, ha="right", fontsize=8)
        axes.set(xlim=(0, 100), ylim=(0, 100))
    panel(axes, x="nominal mass of the region, %", y="labels inside, %", title="Coverage")


def _levels(axes: Axes, whole: Part, name: str) -> None:
    """Draw the histogram of levels, flat if calibrated."""
    shares = whole.curves.histogram
    if shares is None or whole.uniformity is None:
        _missing(axes, "no column of levels")
    else:
        bins = len(shares)
        middles = (np.arange(bins) + 0.5) / bins
        axes.bar(middles, bins * shares, width=0.94 / bins, color=COLOURS[0], alpha=0.75)
        low, high = whole.curves.histogram_low, whole.curves.histogram_high
        if low is not None and high is not None and not np.isnan(low).all():
            axes.vlines(middles, bins * low, bins * high, color="black", lw=0.9)
        axes.axhline(1.0, color=MUTED, lw=1)
        known = [values for values in (shares, high) if values is not None]
        top = max(2.0, 1.15 * bins * float(np.nanmax(known)))
        axes.set(xlim=(0, 1), ylim=(0, top if np.isfinite(top) else 2.0))
        p_value, least = whole.uniformity.p_value, 1 / (1 + whole.uniformity.replicates)
        text = f"p < {max(0.001, least):.3f}" if p_value <= least else f"p = {p_value:.3f}"
        axes.text(0.98, 0.97, f"uniform: {text}", ha="right", va="top", fontsize=8,
                  transform=axes.transAxes)  # fmt: skip
        hint = "hollow: too sure, humped: not sure enough"
        if name != "PIT":
            hint = "right: too sure, left: not sure enough"
        axes.text(0.02, 0.97, hint, va="top",
                  transform=axes.transAxes, **_SMALL)  # fmt: skip
    panel(axes, x=f"level of the label ({name})", y="labels ÷ expected", title="Levels")


def _sparsification(axes: Axes, parts: list[Part]) -> None:
    """Draw the mean error left as the least sure landmarks are removed, as a share."""
    if parts[0].curves.risk is None:
        _missing(axes, "no column uncertainty")
    else:
        for index, part in enumerate(parts):
            risk, oracle = part.curves.risk, part.curves.oracle
            if risk is None or oracle is None or not risk[-1] > 0:
                continue
            removed, style = np.arange(len(risk)), _line(index)
            axes.plot(removed, 100 * risk[::-1] / risk[-1], **style)
            axes.plot(
                removed, 100 * oracle[::-1] / oracle[-1], **{**style, "lw": 0.7, "alpha": 0.6}
            )
        axes.axhline(100, color=MUTED, lw=0.8)
        axes.text(98, 101, "removed at random", ha="right", va="bottom", **_SMALL)
        axes.text(2, 3, "faint: worst removed first", **_SMALL)
        axes.text(98, 90, f"AUSE {parts[0].value('AUSE'):.3f}", ha="right", va="top", fontsize=8)
        axes.set(xlim=(0, 100), ylim=(0, 112))
    label = "mean error of the rest, % of all"
    panel(axes, x="least sure labels removed, %", y=label, title="Sparsification")


def _risk(axes: Axes, parts: list[Part], unit: str) -> None:
    """Draw the mean error of the surest labels against the share kept."""
    whole = parts[0].curves
    if whole.risk is None or whole.oracle is None:
        _missing(axes, "no column uncertainty")
    else:
        kept = np.arange(1, len(whole.risk) + 1)
        _band(axes, kept, whole.risk_low, whole.risk_high, 1.0)
        for index, part in enumerate(parts):
            if part.curves.risk is not None:
                axes.plot(kept, part.curves.risk, **_line(index))
        axes.plot(kept, whole.oracle, color=MUTED, lw=1, ls=(0, (4, 2)))
        axes.text(
            98,
            0.02,
            "dashed grey: the oracle, of all",
            ha="right",
            va="bottom",
            transform=axes.get_xaxis_transform(),
            **_SMALL,
        )
        text = f"area {parts[0].value('AURC'):.2f}{unit}, oracle "
        text += f"{parts[0].value('AURC of the oracle'):.2f}{unit}"
        axes.text(0.03, 0.96, text, va="top", fontsize=8, transform=axes.transAxes)
        top = 1.25 * max(
            float(np.nanmax(p.curves.risk)) for p in parts if p.curves.risk is not None
        )
        axes.set(xlim=(0, 100), ylim=(0, top if top > 0 else 1.0))
    panel(
        axes,
        x="surest labels kept, %",
        y=f"mean error{',' + unit if unit else ''}",
        title="Risk and share kept",
    )


def _line(index: int) -> dict:
    """Return how the line of a part looks: all landmarks bold, the others thin."""
    return {"color": COLOURS[index], "ls": DASHES[index], "lw": 1.8 if index == 0 else 1.1}


def _band(
    axes: Axes, x: np.ndarray, low: np.ndarray | None, high: np.ndarray | None, scale: float
) -> None:
    """Shade the 95 % interval of all landmarks, if there is one."""
    if low is not None and high is not None and not np.isnan(low).all():
        axes.fill_between(x, scale * low, scale * high, color=COLOURS[0], alpha=0.18, lw=0)


def _missing(axes: Axes, what: str) -> None:
    axes.text(0.5, 0.5, what, ha="center", va="center", transform=axes.transAxes, **_SMALL)
