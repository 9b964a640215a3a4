"""Kernel density heads: logits over cells, a kernel at every cell, the exact likelihood."""

from __future__ import annotations

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kdn.density import KernelDensity
from kdn.grid import Grid
from kdn.models.heads.head import MapHead
from kdn.models.heads.interpolate import interpolate_maps

__all__ = ["KDNAdaptive", "KDNGaussian", "KDNUniform"]

_BANDWIDTH_GAIN = 10.0
"""Steps of an adaptive optimiser move a parameter by about the learning rate; a log-bandwidth has
to travel e-fold distances in an epoch or two, so it moves ten times as far as its parameter."""

_LOG_BANDWIDTH_RANGE = (-5.0, 3.0)
"""Natural logarithm of a predicted bandwidth relative to its initial value, kept from underflow."""


class KDNUniform(MapHead):
    """Softmax cross-entropy: a uniform kernel as wide as a cell.

    Args:
        landmarks: Number of landmarks, or of values.
        stride: Crop pixels per cell.
        grid: Instead of a stride, the grid of the values.
        rounding: Of values, see `Head`.
    """

    decoder = "argmax"
    within = True  # outside the map the density is zero

    def __init__(
        self,
        *,
        landmarks: int,
        stride: int = 0,
        grid: Grid | None = None,
        rounding: float = 0.0,
    ):
        super().__init__(landmarks=landmarks, stride=stride, grid=grid, rounding=rounding)

    def density(self, outputs: Float[Tensor, "batch channels *cells"]) -> KernelDensity:
        """Return the piecewise constant density, in crop pixels or the unit of the values."""
        return KernelDensity(self.kinds(outputs).squeeze(1), self.grid(outputs), kernel="uniform")


class KDNGaussian(MapHead):
    """Gaussian kernels of one bandwidth per map, centred on the cells.

    As published, the bandwidth is fixed at one cell and the grid is the network's own. *Refined*,
    the logits are interpolated bicubically to a grid `refine` times finer before the softmax.

    Args:
        landmarks: Number of landmarks, or of values.
        stride: Crop pixels per cell of the network's maps.
        grid: Instead of a stride, the grid of the values.
        bandwidth: Standard deviation in cells of the network's maps, or of the grid; the initial
            one where it is learned.
        learn_bandwidth: `fixed`; `landmark`: one learned number per landmark; `map`: the network
            gives a second map per landmark whose mean is the log-bandwidth.
        refine: How many times finer the grid of the density is; for maps only.
        rounding: Of values, see `Head`.
    """

    def __init__(
        self,
        *,
        landmarks: int,
        stride: int = 0,
        grid: Grid | None = None,
        bandwidth: float = 1.0,
        learn_bandwidth: Literal["fixed", "landmark", "map"] = "fixed",
        refine: int = 1,
        rounding: float = 0.0,
    ):
        maps = 2 if learn_bandwidth == "map" else 1
        super().__init__(
            landmarks=landmarks, stride=stride, grid=grid, maps=maps, rounding=rounding
        )
        self.initial = bandwidth * self.unit
        self.refine = _refinement(refine, grid)
        self.per_map = learn_bandwidth == "map"
        if grid is None:
            self.decoder = "mode" if refine == 1 and learn_bandwidth == "fixed" else "mean"
        learned = learn_bandwidth == "landmark"
        self.log_ratio = nn.Parameter(torch.zeros(landmarks)) if learned else None

    def density(self, outputs: Float[Tensor, "batch channels *cells"]) -> KernelDensity:
        """Return the mixture, in crop pixels or the unit of the values."""
        kinds = self.kinds(outputs)
        logits = interpolate_maps(kinds[:, 0], self.refine)
        grid = self.grid(outputs).refine(self.refine)
        return KernelDensity(logits, grid, bandwidth=self.bandwidth(kinds))

    def bandwidth(
        self, kinds: Float[Tensor, "batch kinds landmarks *cells"]
    ) -> float | Float[Tensor, "*batch landmarks"]:
        """Return the bandwidth in crop pixels: one, per landmark, or per sample and landmark."""
        if self.per_map:
            return self.initial * _bounded(kinds[:, 1].flatten(2).mean(-1)).exp()
        if self.log_ratio is None:
            return self.initial
        return self.initial * _bounded(_BANDWIDTH_GAIN * self.log_ratio).exp().to(kinds.dtype)


class KDNAdaptive(MapHead):
    """Gaussian kernels whose centre and bandwidth are predicted for every cell.

    Four maps per landmark: logits, offsets in x and y, log-bandwidth; three of values, which have
    one axis. A centre moves by `offset_limit · tanh(·)` cells on each axis; the bandwidth is
    `bandwidth · exp(·)` cells.

    Args:
        landmarks: Number of landmarks, or of values.
        stride: Crop pixels per cell of the network's maps.
        grid: Instead of a stride, the grid of the values.
        bandwidth: Initial standard deviation in cells of the network's maps, or of the grid.
        offset_limit: Largest offset in such cells.
        refine: How many times finer the grid of the density is; all four maps are interpolated.
        rounding: Of values, see `Head`.
    """

    decoder = "mean"

    def __init__(
        self,
        *,
        landmarks: int,
        stride: int = 0,
        grid: Grid | None = None,
        bandwidth: float = 1.0,
        offset_limit: float = 1.5,
        refine: int = 1,
        rounding: float = 0.0,
    ):
        maps = 4 if grid is None else 2 + grid.ndim
        super().__init__(
            landmarks=landmarks, stride=stride, grid=grid, maps=maps, rounding=rounding
        )
        self.initial = bandwidth * self.unit
        self.limit = offset_limit * self.unit
        self.refine = _refinement(refine, grid)

    def density(self, outputs: Float[Tensor, "batch channels *cells"]) -> KernelDensity:
        """Return the mixture, in crop pixels or the unit of the values."""
        kinds = interpolate_maps(self.kinds(outputs), self.refine)
        grid: Grid = self.grid(outputs).refine(self.refine)
        moves = torch.tanh(kinds[:, 1 : 1 + grid.ndim])
        offsets = self.limit * moves.transpose(1, 2)  # (B, L, xy, rows, columns)
        bandwidth = self.initial * _bounded(kinds[:, 1 + grid.ndim]).exp()
        return KernelDensity(kinds[:, 0], grid, bandwidth=bandwidth, offsets=offsets)


def _refinement(refine: int, grid: Grid | None) -> int:
    """Return how many times finer the grid is; raise if it is one of values, which is as it is."""
    if grid is not None and refine != 1:
        raise ValueError(f"refine must be 1 where grid is given, got {refine}")
    return refine


def _bounded(log_ratio: Tensor) -> Tensor:
    """Return a log-bandwidth within its range, bent smoothly so that gradients never vanish."""
    low, high = _LOG_BANDWIDTH_RANGE
    middle, reach = (low + high) / 2, (high - low) / 2
    start = math.atanh(-middle / reach)
    return middle + reach * torch.tanh(log_ratio / reach / (1 - (middle / reach) ** 2) + start)
