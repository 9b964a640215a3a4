"""Predicted uncertainty against error, landmark by landmark (the paper's figure 1)."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from kdn.figures.curves import pooled_errors
from kdn.figures.style import COLOURS, INK, figure, legend, panel
from kdn.predictions import QUANTILES, Predictions

__all__ = ["intervals_figure", "uncertainty_figure"]

_SHADES = LinearSegmentedColormap.from_list("ink", ["#dbe9f6", "#6aaed6", "#1f5f9e", "#08203f"])
_BINS = 12
_COLUMNS = 4


def uncertainty_figure(
    named: Mapping[str, Predictions], *, normaliser: str | None = None
) -> Figure:
    """Draw the error of every landmark over its uncertainty, systems side by side.

    Both axes are logarithmic and shared. The line is the mean error under a round Gaussian of that
    uncertainty, `√(π/2)` times its length (of scalars, `√(2/π)` times the deviation): dots (means
    of twelve equal parts) above it say that the system is too sure of itself.

    Args:
        named: Systems by their title.
        normaliser: What both are divided by; None for image pixels as they are. Dividing both by
            the same length raises Pearson's coefficient.

    Raises:
        ValueError: If there is no system, or one has no labels or no uncertainty.
    """
    if not named:
        raise ValueError("named must hold at least one system, got none")
    scale = 1.0 if normaliser is None else 100.0
    scalars = any(predictions.kind == "scalars" for predictions in named.values())
    pairs, correlations = {}, {}
    for name, predictions in named.items():
        data, uncertainty, errors = pooled_errors(name, predictions, normaliser)
        pairs[name] = (scale * uncertainty, scale * errors)
        correlations[name] = (
            f"Spearman {data.items.spearman(uncertainty, errors)[0]:.2f}, "
            f"Pearson {data.items.pearson(uncertainty, errors)[0]:.2f}"
        )
    x_limits, y_limits = (
        _limits(np.concatenate([pair[axis] for pair in pairs.values()])) for axis in (0, 1)
    )
    unit = "image px" if normaliser is None else f"% of {normaliser}"
    rows = math.ceil(len(pairs) / _COLUMNS)
    columns = math.ceil(len(pairs) / rows)
    new, axes = figure(rows, columns, width=3.3, height=3.5, sharex=True, sharey=True)
    x_label = "standard deviation" if scalars else f"uncertainty |Cov|$^{{1/4}}$, {unit}"
    clouds = []
    for i, (name, (x, y)) in enumerate(pairs.items()):
        cell = axes.flat[i]
        clouds.append(_cloud(cell, x, y, x_limits, y_limits, scalars=scalars))
        title = f"{name}\n{correlations[name]}"
        error = "absolute error" if scalars else f"error, {unit}"
        label = error if i % columns == 0 else ""
        lowest = i + columns >= len(pairs)
        panel(cell, x=x_label if lowest else "", y=label, title=title)
        cell.tick_params(labelbottom=lowest)
    for cell in axes.flat[len(pairs) :]:
        cell.set_visible(False)
    most = max(cloud.get_array().max() for cloud in clouds)
    for cloud in clouds:
        cloud.set_norm(LogNorm(1, max(2, most)))
    bar = new.colorbar(clouds[0], ax=list(axes.flat), pad=0.02, aspect=35)
    bar.set_label("labels per hexagon", fontsize=8, color=INK)
    bar.ax.tick_params(labelsize=7)
    bar.ax.yaxis.set_major_formatter(FuncFormatter(_plain))
    bar.outline.set_visible(False)
    legend(new, axes.flat[0], loc="outside lower center", columns=min(columns, 2))
    return new


def intervals_figure(predictions: Predictions, *, most: int = 400, seed: int = 0) -> Figure:
    """Draw predictions of scalars with their central 90 % intervals over the labels.

    Args:
        predictions: With labels and quantiles; a panel for each scalar.
        most: Samples that are drawn, at random.
        seed: Of that.

    Raises:
        ValueError: If there are no labels or no quantiles.
    """
    target, quantiles = predictions.target, predictions.quantiles
    if target is None or quantiles is None or predictions.values is None:
        raise ValueError("predictions must be scalars with labels and quantiles to be drawn")
    rows = math.ceil(predictions.count / _COLUMNS)
    columns = math.ceil(predictions.count / rows)
    new, axes = figure(rows, columns, width=3.6, height=3.3)
    order = np.random.default_rng(seed).permutation(len(predictions))
    ends = [QUANTILES.index(level) for level in (0.05, 0.95)]
    for index, (cell, name) in enumerate(zip(axes.flat, predictions.names, strict=False)):
        chosen = order[~np.isnan(target[order, index])][:most]
        label, low_high = target[chosen, index], quantiles[chosen, index][:, ends]
        cell.vlines(label, *low_high.T, color=COLOURS[5], lw=0.6, alpha=0.5)
        cell.plot(label, predictions.values[chosen, index], ".", color=COLOURS[0], ms=3)
        if len(label):
            span = [float(label.min()), float(label.max())]
            cell.plot(span, span, color=INK, lw=1)
        panel(cell, x="label", y="prediction, 90 % interval", title=name)
    for cell in axes.flat[predictions.count :]:
        cell.set_visible(False)
    return new


def _cloud(
    axes: Axes,
    x: Float[np.ndarray, " N"],
    y: Float[np.ndarray, " N"],
    x_limits: tuple[float, float],
    y_limits: tuple[float, float],
    *,
    scalars: bool,
):
    """Draw one system; return what the colour bar shows."""
    left, right, low, high = (math.log10(end) for end in (*x_limits, *y_limits))
    shades = axes.hexbin(
        np.clip(x, *x_limits),
        np.clip(y, *y_limits),
        gridsize=34,
        xscale="log",
        yscale="log",
        extent=(left, right, low, high),
        mincnt=1,
        cmap=_SHADES,
        linewidths=0.1,
    )
    ends = np.array(x_limits)
    expected = math.sqrt(2 / math.pi if scalars else math.pi / 2) * ends
    axes.plot(
        ends,
        expected,
        color=COLOURS[1],
        lw=1.4,
        label=f"mean error under a {'' if scalars else 'round '}Gaussian",
    )
    parts = np.array_split(np.argsort(x, kind="stable"), _BINS)
    means = [(np.median(x[rows]), y[rows].mean()) for rows in parts if len(rows)]
    axes.plot(
        *zip(*means, strict=True),
        ls="",
        marker="o",
        ms=4.5,
        mfc="white",
        mec=COLOURS[1],
        mew=1.3,
        label="mean error of each twelfth, by uncertainty",
    )
    axes.set(xlim=x_limits, ylim=y_limits)
    for axis, (low, high) in ((axes.xaxis, x_limits), (axes.yaxis, y_limits)):
        # Within two decades the tens alone would leave an axis with a tick or none.
        steps = (1.0,) if high > 100 * low else (1.0, 2.0, 5.0)
        axis.set_major_locator(LogLocator(subs=steps))
        axis.set_major_formatter(FuncFormatter(_plain))
        axis.set_minor_formatter(NullFormatter())
    return shades


def _plain(value: float, _: int | None) -> str:
    """Return a tick as a plain number, 0.1 instead of a power."""
    return f"{value:g}"


def _limits(values: Float[np.ndarray, " N"]) -> tuple[float, float]:
    """Return where a logarithmic axis begins and ends: nearly all positive finite values."""
    kept = values[np.isfinite(values) & (values > 0)]
    if not len(kept):
        return 0.1, 10.0
    low, high = np.quantile(kept, [0.002, 0.999])
    return float(low) / 1.3, float(high) * 1.3
