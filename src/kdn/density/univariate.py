"""Distribution function, masses of intervals and quantiles of densities on a 1-D grid."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from kdn.density.parameters import points_batch

if TYPE_CHECKING:
    from kdn.density.distribution import KernelDensity

__all__ = ["cdf", "icdf", "log_mass"]

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
        distance = self.distance(values)
        below = torch.special.ndtr(distance) if self.gaussian else (distance + 0.5).clamp(0, 1)
        return (self.probs * below).sum(-1)

    def distance(self, values: Tensor) -> Tensor:
        """Return distances from the centres in units of the scales, `(*any, *batch, kernels)`."""
        return (values.unsqueeze(-1) - self.centres) / self.scale


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


def log_mass(
    density: KernelDensity, low: Float[Tensor, "*any"], high: Float[Tensor, "*any"]
) -> Float[Tensor, "*sample_and_batch"]:
    """Return `log P(low < Y ≤ high)` in nats, with gradients.

    `logsumexp_c(log p_c + log(F((high − μ_c) / h_c) − F((low − μ_c) / h_c)))`. For Gaussian kernels
    the difference is taken in the tail where both are small, so that it is exact to rounding and
    finite however far the interval lies; of uniform kernels it is the length that they share with
    the interval, and −∞ where they share none. It is the likelihood of a label that is known to lie
    in an interval, such as one that was rounded.

    Args:
        density: A `KernelDensity` on a 1-D grid.
        low: Lower ends, `(*sample, *batch)`, in the grid's frame.
        high: Upper ends, above the lower ones.

    Raises:
        NotImplementedError: On a 2-D or 3-D grid.
        ValueError: If a shape does not broadcast.

    Example:
        >>> from kdn.density import KernelDensity
        >>> from kdn.grid import Grid
        >>> density = KernelDensity(torch.zeros(1), Grid((1,), (5.0,), (1.0,)), bandwidth=2.0)
        >>> round(density.log_mass(torch.tensor(3.0), torch.tensor(7.0)).exp().item(), 4)
        0.6827
    """
    kernels = _kernels(density)
    for ends in (low, high):
        points_batch(ends, density.event_shape, density.batch_shape)
    below, above = (kernels.distance(ends.to(density.raw_logits)) for ends in (low, high))
    if kernels.gaussian:
        own = _log_normal_mass(below, above)
    else:
        own = _log_shared((above + 0.5).clamp(0, 1) - (below + 0.5).clamp(0, 1))
    # Where no kernel has a share, a logsumexp of −∞ alone would have NaN for a gradient.
    some = (own > -math.inf).any(-1)
    total = (density.logits + torch.where(some.unsqueeze(-1), own, 0.0)).logsumexp(-1)
    return torch.where(some, total, -math.inf)


def _log_shared(length: Tensor) -> Tensor:
    """Return the logarithm of lengths from 0, with a gradient of 0 at 0."""
    shared = length > 0
    return torch.where(shared, torch.where(shared, length, 1.0).log(), -math.inf)


def _log_normal_mass(low: Tensor, high: Tensor) -> Tensor:
    """Return `log(Φ(high) − Φ(low))` for `low < high`.

    With the interval mirrored into the lower tail where its middle is positive, the difference is
    `log Φ(b) + log(1 − e^(log Φ(a) − log Φ(b)))`, in which nothing cancels.
    """
    mirrored = low + high > 0
    low, high = torch.where(mirrored, -high, low), torch.where(mirrored, -low, high)
    greater = _log_ndtr(high)
    return greater + _log1mexp(greater - _log_ndtr(low))


def _log_ndtr(x: Tensor) -> Tensor:
    """Return `log Φ(x)`; `log(erfcx(−x/√2) / 2) − x²/2` in the lower tail.

    The gradient of torch's own is a difference of numbers as large as x²; in float32 it is wrong by
    a twentieth at −1000, and soon in all digits.
    """
    lower = x < -1
    tail, other = torch.where(lower, x, -1.0), torch.where(lower, 0.0, x)
    of_tail = (0.5 * torch.special.erfcx(-tail * math.sqrt(0.5))).log() - 0.5 * tail.square()
    return torch.where(lower, of_tail, torch.log1p(-0.5 * torch.erfc(other * math.sqrt(0.5))))


def _log1mexp(x: Tensor) -> Tensor:
    """Return `log(1 − e^(−x))` for `x > 0`, by whichever form loses no digits (Mächler 2012)."""
    near = x < math.log(2)
    small, large = torch.where(near, x, 1.0), torch.where(near, 1.0, x)
    return torch.where(near, (-torch.expm1(-small)).log(), torch.log1p(-torch.exp(-large)))


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
