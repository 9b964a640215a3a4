"""The training loss of several settings, epoch by epoch."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from kdn.figures.style import figure, legend, panel, styled

__all__ = ["convergence_figure"]


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
