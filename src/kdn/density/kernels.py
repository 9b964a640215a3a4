"""The kernels of a density as plain lists, and the few of them that matter.

The searches in `modes` and `regions` look at a density as `maps × kernels`: the batch flattened to
one dimension, each map a list of Gaussian kernels with a log-probability, a centre and a
bandwidth. Most cells of a peaked map hold next to nothing, so a list is cut down before anything
is computed for all pairs of kernels and points.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

if TYPE_CHECKING:
    from kdn.density.distribution import KernelDensity

__all__ = ["Kernels", "flat_bandwidth", "flat_logits", "is_separable", "kernels_of"]


class Kernels(NamedTuple):
    """Gaussian kernels of several maps: `p(y) = Σ_k p_k N(y; centre_k, bandwidth_k² I)`.

    Attributes:
        log_probs: `(maps, kernels)`; −∞ marks a place that is not filled.
        centres: `(maps, kernels, ndim)`, in the grid's frame.
        bandwidth: `(maps, kernels)`, standard deviations in the grid's unit.
    """

    log_probs: Tensor
    centres: Tensor
    bandwidth: Tensor

    @property
    def log_weights(self) -> Tensor:
        """Log of what each kernel adds to the density at its own centre, `log p_k K_k(0)`."""
        ndim = self.centres.shape[-1]
        return self.log_probs - ndim * (self.bandwidth.log() + 0.5 * math.log(2 * math.pi))

    def take(self, index: Tensor) -> Kernels:
        """Return the kernels with the indices `(maps, taken)`."""
        rows = torch.arange(len(index), device=index.device).unsqueeze(1)
        return Kernels(*(field[rows, index] for field in self))

    def maps(self, index: Tensor | slice) -> Kernels:
        """Return the kernels of some of the maps."""
        return Kernels(*(field[index] for field in self))

    def without_tail(self, log_size: Tensor, tail: Tensor | float) -> Kernels:
        """Return the kernels less the smallest ones, whose sizes together are below `tail`.

        Args:
            log_size: `(maps, kernels)`, by what the kernels are ordered and added up.
            tail: What may be left out, per map.
        """
        ordered, order = log_size.sort(dim=1, descending=True)
        rest = ordered.exp().flip(1).cumsum(1).flip(1)
        tail = torch.as_tensor(tail, dtype=rest.dtype, device=rest.device)
        count = int((rest > tail.reshape(-1, 1)).sum(1).max().clamp(min=1))
        return self.take(order[:, :count])

    def log_density(
        self, points: Float[Tensor, "maps points ndim"]
    ) -> Float[Tensor, "maps points"]:
        """Return the log-density at points as a product of matrices.

        `−|y − μ|²/2h² = (|y|², y, 1) · (−1/2h², μ/h², −|μ|²/2h²)`, which loses
        `|y − o|²/2h² · ε` to rounding, `ε` being that of the dtype and `o` the mean of the map.
        """
        middle = (self.log_probs.exp().unsqueeze(-1) * self.centres).sum(1, keepdim=True)
        centres, points = self.centres - middle, points - middle
        peak = self.log_weights.amax(1, keepdim=True)
        inverse = self.bandwidth.pow(-2)
        constant = self.log_weights - peak - 0.5 * centres.square().sum(-1) * inverse
        right = torch.cat(
            [(centres * inverse.unsqueeze(-1)).mT, torch.stack([-0.5 * inverse, constant], 1)], 1
        )
        squares = points.square().sum(-1, keepdim=True)
        left = torch.cat([points, squares, torch.ones_like(squares)], -1)
        return (left @ right).exp_().sum(-1).log_() + peak


def is_separable(density: KernelDensity) -> bool:
    """Return whether the density on a product of axes is a product of matrices."""
    return density.separable


def flat_logits(density: KernelDensity) -> Float[Tensor, "maps *cells"]:
    """Return the normalised log-probabilities with the batch flattened.

    Raises:
        ValueError: If one is NaN, with which no search ends well.
    """
    logits = density.logits.detach().reshape(-1, *density.grid.shape)
    if bool(logits.isnan().any()):
        raise ValueError("logits must be finite or -inf, got NaN or +inf")
    return logits


def flat_bandwidth(density: KernelDensity) -> Tensor:
    """Return the bandwidth as `(maps,)`, or as `(maps, kernels)` where it differs by cell.

    Raises:
        ValueError: If the kernels are uniform, which have none.
    """
    if density.bandwidth is None:
        raise ValueError("density must have Gaussian kernels, got uniform ones")
    shape = (-1, math.prod(density.grid.shape)) if density.per_cell else (-1,)
    return density.bandwidth.detach().to(density.logits.dtype).reshape(shape)


def kernels_of(density: KernelDensity) -> Kernels:
    """Return all kernels of a Gaussian density, in the order of the cells."""
    log_probs = flat_logits(density).flatten(1)
    bandwidth = flat_bandwidth(density)
    if not density.per_cell:
        bandwidth = bandwidth.unsqueeze(1).expand_as(log_probs)
    grid = density.grid
    centres = grid.points(dtype=log_probs.dtype, device=log_probs.device).reshape(1, -1, grid.ndim)
    if density.offsets is not None:
        offsets = density.offsets.detach().to(log_probs.dtype)
        centres = centres + offsets.reshape(len(log_probs), grid.ndim, -1).mT
    return Kernels(log_probs, centres.expand(*log_probs.shape, grid.ndim), bandwidth)
