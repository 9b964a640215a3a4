"""An exponential moving average of weights and batch statistics."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["update_average"]


def update_average(average: nn.Module, model: nn.Module, *, decay: float, step: int) -> None:
    """Move an averaged copy of a model towards it: `a ← d·a + (1 − d)·w`.

    The decay warms up, `d = min(decay, (1 + step) / (10 + step))`, so that the first weights are
    soon forgotten. Buffers of floating point, such as the statistics of batch normalisation, are
    averaged likewise; others are copied.

    Args:
        average: The averaged copy, changed in place.
        model: The model that is trained.
        decay: Weight of the past, in [0, 1).
        step: Optimiser steps done before this one.
    """
    weight = 1 - min(decay, (1 + step) / (10 + step))
    with torch.no_grad():
        for ours, theirs in zip(average.parameters(), model.parameters(), strict=True):
            ours.lerp_(theirs, weight)
        for ours, theirs in zip(average.buffers(), model.buffers(), strict=True):
            if ours.is_floating_point():
                ours.lerp_(theirs, weight)
            else:
                ours.copy_(theirs)
