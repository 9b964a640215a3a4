"""Random points of a mixture of kernels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

if TYPE_CHECKING:
    from kdn.density.distribution import KernelDensity

__all__ = ["sample"]


def sample(
    density: KernelDensity, sample_shape: Sequence[int], generator: torch.Generator | None
) -> Float[Tensor, "*sample_batch_and_event"]:
    """Return points `(*sample, *batch, *event)`: a kernel by its probability, then a place in it.

    Args:
        density: A `KernelDensity`.
        sample_shape: Leading dimensions.
        generator: Source of randomness, on the density's device; torch's own if None.
    """
    grid, count, maps = density.grid, math.prod(sample_shape), math.prod(density.batch_shape)
    with torch.no_grad():
        probs = density.probs.reshape(maps, grid.numel)
        drawn = torch.multinomial(probs, max(1, count), replacement=True, generator=generator)
        drawn = drawn[:, :count]
        centres = density.centres.expand(*density.batch_shape, grid.ndim, grid.numel)
        index = drawn.unsqueeze(1).expand(maps, grid.ndim, count)
        points = centres.reshape(maps, grid.ndim, grid.numel).gather(2, index)
        if density.bandwidth is None:
            place = torch.empty_like(points).uniform_(-0.5, 0.5, generator=generator)
            points = points + place * points.new_tensor(grid.spacing)[:, None]
        else:
            place = torch.empty_like(points).normal_(generator=generator)
            bandwidth = density.bandwidth.reshape(maps, grid.numel if density.per_cell else 1)
            points = points + place * bandwidth.expand(maps, grid.numel).gather(1, drawn)[:, None]
    return points.permute(2, 0, 1).reshape(
        *sample_shape, *density.batch_shape, *density.event_shape
    )
