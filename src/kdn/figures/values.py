"""One figure of predicted values: PIT, coverage, error against deviation, labels and intervals."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kdn.evaluate.bootstrap import resample_counts
from kdn.evaluate.rounded import central_coverage, pit_histogram
from kdn.figures.style import COLOURS, DASHES, MUTED, figure, panel
from kdn.predictions import QUANTILES, Predictions

__all__ = ["values_figure"]

_BINS = 20
_NOMINAL = np.linspace(0.02, 0.98, 49)
_GROUPS = 10


def values_figure(predictions: Predictions, *, bootstrap: int = 200, seed: int = 0) -> Figure:
    """Draw four panels: PIT, coverage, error against deviation, and intervals against labels.

    * The histogram of the probability integral transform, flat if densities are calibrated, with
      the 95 % intervals of its bins.
    * Coverage of central intervals against their nominal mass.
    * The mean absolute error of ten equal groups of samples, from surest to least sure, against
      their mean standard deviation; the line is that of a Gaussian, `√(2/π)·deviation`.
    * Prediction and central 90 % interval against the label, of up to 400 samples.

    Several values have a line each; the histogram and the last panel are those of the first.

    Args:
        predictions: With labels and the columns of a density.
        bootstrap: Resamples of the intervals.
        seed: Of the resampling, and of which samples are drawn.

    Raises:
        ValueError: If there are no labels or no columns of a density.
    """
    for name in ("target", "cdf_low", "cdf_high", "uncertainty", "quantiles"):
        if getattr(predictions, name) is None:
            raise ValueError(f"predictions must have a column of {name} to be drawn, got none")
    new, axes = figure(2, 2, width=4.6, height=3.7)
    rng = np.random.default_rng(seed)
    _pit(axes[0, 0], predictions, bootstrap, rng)
    _coverage(axes[0, 1], predictions)
    _errors(axes[1, 0], predictions)
    _intervals(axes[1, 1], predictions, rng)
    if len(predictions.names) > 1:
        lines, names = axes[0, 1].get_legend_handles_labels()
        new.legend(lines, names, loc="outside upper center", ncols=6, fontsize=8, frameon=False)
    return new


def _column(predictions: Predictions, part: str, position: int) -> np.ndarray:
    """Return a field of one value, of the samples that have its label."""
    labelled = ~np.isnan(np.asarray(predictions.target)[:, position])
    return getattr(predictions, part)[labelled, position]


def _pit(axes: Axes, predictions: Predictions, bootstrap: int, rng: np.random.Generator) -> None:
    """Draw the histogram of the PIT of the first value."""
    ends = _column(predictions, "cdf_low", 0), _column(predictions, "cdf_high", 0)
    shares = _BINS * pit_histogram(*ends, _BINS)[0]
    middles = (np.arange(_BINS) + 0.5) / _BINS
    axes.bar(middles, shares, width=0.94 / _BINS, color=COLOURS[0], alpha=0.75)
    if bootstrap:
        counts = resample_counts(len(ends[0]), bootstrap, rng)
        drawn = _BINS * pit_histogram(*ends, _BINS, counts)
        low, high = np.nanquantile(drawn, [0.025, 0.975], axis=0)
        axes.vlines(middles, low, high, color="black", lw=0.9)
    axes.axhline(1.0, color=MUTED, lw=1)
    axes.set(xlim=(0, 1), ylim=(0, max(2.0, 1.3 * float(np.nanmax(shares)))))
    said = {"fontsize": 8, "color": MUTED, "style": "italic", "transform": axes.transAxes}
    axes.text(0.02, 0.97, "hollow: too sure, humped: not sure enough", va="top", **said)
    title = f"PIT, {predictions.names[0]}"
    panel(axes, x="density's mass below the label", y="labels ÷ expected", title=title)


def _coverage(axes: Axes, predictions: Predictions) -> None:
    """Draw the share of labels in central intervals of 2 to 98 %."""
    axes.plot([0, 100], [0, 100], color=MUTED, lw=1)
    for position, name in enumerate(predictions.names):
        low, high = (_column(predictions, part, position) for part in ("cdf_low", "cdf_high"))
        held = [float(central_coverage(low, high, nominal)[0]) for nominal in _NOMINAL]
        axes.plot(100 * _NOMINAL, held, label=name, **_line(position))
    axes.set(xlim=(0, 100), ylim=(0, 100))
    panel(axes, x="nominal mass of the interval, %", y="labels inside, %", title="Coverage")


def _errors(axes: Axes, predictions: Predictions) -> None:
    """Draw the mean error of groups of samples against their mean deviation."""
    most = 0.0
    for position, name in enumerate(predictions.names):
        target, value, deviation = (
            _column(predictions, part, position) for part in ("target", "values", "uncertainty")
        )
        groups = np.array_split(np.argsort(deviation, kind="stable"), _GROUPS)
        groups = [group for group in groups if len(group)]
        error = [float(np.abs(value[group] - target[group]).mean()) for group in groups]
        spread = [float(deviation[group].mean()) for group in groups]
        axes.plot(spread, error, marker="o", ms=3, label=name, **_line(position))
        most = max([most, *spread])
    axes.plot([0, most], [0, most * np.sqrt(2 / np.pi)], color=MUTED, lw=1)
    axes.set(xlim=(0, None), ylim=(0, None))
    title = "Errors of tenths of the samples"
    panel(axes, x="mean standard deviation", y="mean absolute error", title=title)


def _intervals(axes: Axes, predictions: Predictions, rng: np.random.Generator) -> None:
    """Draw predictions with their 90 % intervals over the labels, of the first value."""
    target, value = (_column(predictions, part, 0) for part in ("target", "values"))
    ends = _column(predictions, "quantiles", 0)[:, [QUANTILES.index(q) for q in (0.05, 0.95)]]
    some = rng.permutation(len(target))[:400]
    axes.vlines(target[some], ends[some, 0], ends[some, 1], color=COLOURS[5], lw=0.6, alpha=0.5)
    axes.plot(target[some], value[some], ".", color=COLOURS[0], ms=3)
    span = [float(target[some].min()), float(target[some].max())]
    axes.plot(span, span, color=MUTED, lw=1)
    title = f"Predictions and 90 % intervals, {predictions.names[0]}"
    panel(axes, x="label", y="prediction", title=title)


def _line(index: int) -> dict:
    """Return how the line of a value is drawn."""
    return {
        "color": COLOURS[index % len(COLOURS)],
        "ls": DASHES[index % len(DASHES)],
        "lw": 1.6 if index == 0 else 1.0,
    }
