"""A density convolved with a Gaussian: without ripples that are narrower than wanted."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

if TYPE_CHECKING:
    from kdn.density.distribution import KernelDensity

__all__ = ["smoothed_bandwidth"]


def smoothed_bandwidth(density: KernelDensity, extra: float) -> Float[Tensor, ...]:
    """Return the bandwidth of a density after convolution with a Gaussian: `√(h² + s²)`.

    Exact for Gaussian kernels: means stay, covariances grow by `s² I`. A uniform kernel becomes the
    Gaussian of its own variance, `h² = spacing² / 12`, which has the mean and the covariance of the
    true convolution and differs from it by less than a hundredth of its peak once `s` is at least
    half a cell.

    Args:
        density: A `KernelDensity`.
        extra: Standard deviation `s`, in the grid's unit.

    Raises:
        ValueError: If `s` is negative or not finite, or the cells of a uniform kernel are not as
            long on all axes.
    """
    if not (math.isfinite(extra) and extra >= 0):
        raise ValueError(f"extra must be 0 or more and finite, got {extra}")
    if density.bandwidth is not None:
        return torch.hypot(density.bandwidth, density.bandwidth.new_tensor(extra))
    spacing = density.grid.spacing
    if max(spacing) - min(spacing) > 1e-9 * max(spacing):
        raise ValueError(f"grid must have cells as long on all axes, got {spacing}")
    bandwidth = math.hypot(spacing[0] / math.sqrt(12), extra)
    return density.raw_logits.new_full(density.batch_shape, bandwidth)
