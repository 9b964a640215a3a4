"""Cumulative distribution and quantiles of densities on a one-dimensional grid."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from kdn.density.parameters import points_batch

if TYPE_CHECKING:
    from kdn.density.distribution import KernelDensity

__all__ = ["cdf", "icdf"]

BISECTIONS = 60
"""Halvings of the bracket, to 1e-18 of its width: exact in float64."""


class _Kernels(NamedTuple):
    """Kernels on a line: masses `(*batch, kernels)`; centres and scales that broadcast to them."""

    probs: Tensor
    centres: Tensor
    scale: Tensor
    gaussian: bool

    def cdf(self, values: Tensor) -> Tensor:
        """Return `Σ p F((y − μ) / scale)` with `F` the kernel's own distribution function."""
        distance = (values.unsqueeze(-1) - self.centres) / self.scale
        below = torch.special.ndtr(distance) if self.gaussian else (distance + 0.5).clamp(0, 1)
        return (self.probs * below).sum(-1)


def cdf(
    density: KernelDensity, values: Float[Tensor, "*any"]
) -> Float[Tensor, "*sample_and_batch"]:
    """Return `P(Y ≤ y)`.

    Args:
        density: A `KernelDensity` on a 1-D grid.
        values: `(*sample, *batch)`, in the grid's frame.

    Raises:
        NotImplementedError: On a 2-D or 3-D grid.
        ValueError: If the shape does not broadcast.
    """
    kernels = _kernels(density)
    points_batch(values, density.event_shape, density.batch_shape)
    return kernels.cdf(values.to(density.raw_logits))


def icdf(
    density: KernelDensity, levels: Float[Tensor, "*any"]
) -> Float[Tensor, "*sample_and_batch"]:
    """Return the quantiles, in the grid's frame, by bisection in float64; without gradient.

    A quantile of a mixture lies between the least and the greatest of its kernels' quantiles. At
    level 0 and 1 it is the end of the support; for levels outside [0, 1] it is NaN.

    Args:
        density: A `KernelDensity` on a 1-D grid.
        levels: `(*sample, *batch)`.

    Raises:
        NotImplementedError: On a 2-D or 3-D grid.
        ValueError: If the shape does not broadcast.
    """
    kernels = _kernels(density)
    points_batch(levels, density.event_shape, density.batch_shape)
    probs, centres, scale = (tensor.detach().double() for tensor in kernels[:3])
    kernels = _Kernels(probs, centres, scale, kernels.gaussian)
    levels = levels.detach().double()
    if kernels.gaussian:
        standard = torch.special.ndtri(levels)
    else:
        standard = torch.where((levels >= 0) & (levels <= 1), levels - 0.5, math.nan)
    own = kernels.centres + kernels.scale * standard.unsqueeze(-1)
    some = kernels.probs > 0
    low = own.where(some, math.inf).amin(-1)
    high = own.where(some, -math.inf).amax(-1)
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        short = kernels.cdf(middle) < levels
        low, high = torch.where(short, middle, low), torch.where(short, high, middle)
    # There is nothing to halve where the bracket is infinite or NaN.
    return torch.where(standard.isfinite(), high, standard).to(density.raw_logits.dtype)


def _kernels(density: KernelDensity) -> _Kernels:
    """Return the kernels of a 1-D density."""
    if density.grid.ndim != 1:
        raise NotImplementedError(f"cdf and icdf need a 1-D grid, this has {density.grid.ndim}-D")
    if density.bandwidth is None:
        scale = density.raw_logits.new_tensor(density.grid.spacing)
    else:
        scale = density.bandwidth if density.per_cell else density.bandwidth.unsqueeze(-1)
    return _Kernels(density.probs, density.centres.squeeze(-2), scale, density.kernel == "gaussian")
