"""Distribution function, masses of intervals, quantiles and CRPS of kernels on a line."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from kdn.density.kernels import Kernel
from kdn.density.maps import blocks

__all__ = ["LineKernels", "bisect"]

BISECTIONS = 60
"""Halvings of the bracket, to 1e-18 of its width: exact in float64."""


def bisect(cdf: Callable[[Tensor], Tensor], levels: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Return where a distribution function reaches levels, within brackets."""
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        short = cdf(middle) < levels
        low, high = torch.where(short, middle, low), torch.where(short, high, middle)
    return high


class LineKernels(NamedTuple):
    """Kernels on a line.

    Attributes:
        kernel: What they are.
        log_probs: `(*batch, kernels)`.
        probs: Likewise; not from the logarithms, whose rounding would show in quantiles.
        centres: That broadcast to them.
        scale: That broadcast to them.
    """

    kernel: Kernel
    log_probs: Tensor
    probs: Tensor
    centres: Tensor
    scale: Tensor

    def distance(self, values: Tensor) -> Tensor:
        """Return distances from the centres in units of the scales, `(*any, *batch, kernels)`."""
        return (values.unsqueeze(-1) - self.centres) / self.scale

    def cdf(self, values: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Return `Σ p F((y − μ) / s)`, `F` the kernel's distribution function."""
        return (self.probs * self.kernel.cdf(self.distance(values))).sum(-1)

    def log_mass(self, low: Float[Tensor, ...], high: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Return `logsumexp(log p + log(F((high − μ) / s) − F((low − μ) / s)))`."""
        shares = self.kernel.log_mass(self.distance(low), self.distance(high))
        # Where no kernel has a share, a logsumexp of −∞ alone would have NaN for a gradient.
        shared = (shares > -math.inf).any(-1)
        total = (self.log_probs + torch.where(shared.unsqueeze(-1), shares, 0.0)).logsumexp(-1)
        return torch.where(shared, total, -math.inf)

    def icdf(self, levels: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Return the quantiles, by bisection in float64; without gradient.

        A quantile of a mixture lies between the least and the greatest of its kernels' quantiles.
        At level 0 and 1 it is the end of the support; for levels outside [0, 1] it is NaN.
        """
        levels = levels.detach().double()
        exact = LineKernels(self.kernel, *(tensor.detach().double() for tensor in self[1:]))
        standard = self.kernel.quantile(levels)
        standard = torch.where((levels >= 0) & (levels <= 1), standard, math.nan)
        quantiles = exact.centres + exact.scale * standard.unsqueeze(-1)
        filled = exact.probs > 0
        low = quantiles.where(filled, math.inf).amin(-1)
        high = quantiles.where(filled, -math.inf).amax(-1)
        result = bisect(exact.cdf, levels, low, high)
        # There is nothing to halve where the bracket is infinite or NaN.
        return torch.where(standard.isfinite(), result, standard).to(self.log_probs)

    def crps(self, points: Float[Tensor, "maps points"]) -> Float[Tensor, "maps points"] | None:
        """Return the CRPS in closed form, in float64, for `(maps, kernels)`; None without one."""
        shape = self.log_probs.shape
        probs = self.probs.double()
        centres, scale = self.centres.double().expand(shape), self.scale.double().expand(shape)
        none, points = torch.zeros_like(scale).unsqueeze(1), points.double()
        scores = torch.empty_like(points)
        for block in blocks(points.shape[1], shape.numel()):
            apart = points[:, block, None] - centres.unsqueeze(1)
            distance = self.kernel.mean_distance(apart, none, scale.unsqueeze(1))
            if distance is None:
                return None
            scores[:, block] = (distance * probs.unsqueeze(1)).sum(2)
        for block in blocks(shape[1], shape.numel()):
            apart = centres[:, block, None] - centres.unsqueeze(1)
            pairs = self.kernel.mean_distance(apart, scale[:, block, None], scale.unsqueeze(1))
            pairs = pairs * probs[:, block, None] * probs.unsqueeze(1)  # type: ignore[operator]
            scores -= 0.5 * pairs.sum((1, 2)).unsqueeze(1)
        return scores
