"""Kernel density heads: logits over cells, a kernel at every cell, the exact likelihood."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from kdn.density import KernelDensity
from kdn.grid import Grid
from kdn.models.heads.head import CellHead

__all__ = ["DEX", "KDNAdaptive", "KDNGaussian", "KDNUniform", "interpolate_maps"]

_BANDWIDTH_GAIN = 10.0
"""Steps of an adaptive optimiser move a parameter by about the learning rate; a log-bandwidth has
to travel e-fold distances in an epoch or two, so it moves ten times as far as its parameter."""

_LOG_BANDWIDTH_RANGE = (-5.0, 3.0)
"""Natural logarithm of a predicted bandwidth relative to its initial value, kept from underflow."""


class KDNUniform(CellHead):
    """Softmax cross-entropy: a uniform kernel as wide as a cell. Arguments as for `CellHead`."""

    name = "kdn_uniform"
    flips = True
    decoder = "argmax"
    within = True  # outside the grid the density is zero

    def density(self, outputs: Float[Tensor, "batch channels *cells"]) -> KernelDensity:
        """Return the piecewise constant density, in crop pixels or the unit of the labels."""
        return KernelDensity(self.kinds(outputs).squeeze(1), self.grid, kernel="uniform")


class DEX(KDNUniform):
    """The softmax over the cells of an axis with its expectation for the prediction.

    Source: Rothe, Timofte & Van Gool, Deep expectation of real and apparent age from a single image
    without facial landmarks, IJCV 2018.
    """

    name = "dex"
    fits = ("scalars",)
    scalar_decoder = "mean"


class KDNGaussian(CellHead):
    """Gaussian kernels of one bandwidth per map, centred on the cells.

    As published, the bandwidth is fixed at one cell and the grid is the network's own. *Refined*,
    the logits are interpolated bicubically to a grid `refine` times finer before the softmax.

    Args:
        count: Number of labels.
        grid: See `Head`.
        rounding: See `Head`.
        bandwidth: Standard deviation in cells of the grid; the initial one where it is learned.
        learn_bandwidth: `fixed`; `landmark`: one learned number per label; `map`: the network gives
            a second map per label whose mean is the log-bandwidth.
        refine: How many times finer the grid of the density is; None for 4 in the plane, 1 on a
            line, where there is no other.

    Raises:
        ValueError: If `refine` is another one on a line.
    """

    name = "kdn_gaussian"
    flips = True

    def __init__(
        self,
        count: int,
        grid: Grid,
        rounding: float = 0.0,
        *,
        bandwidth: float = 1.0,
        learn_bandwidth: Literal["fixed", "landmark", "map"] = "landmark",
        refine: int | None = None,
    ):
        super().__init__(count, grid, rounding, 2 if learn_bandwidth == "map" else 1)
        self.initial = bandwidth * self.unit
        self.refine = _refinement(4 if refine is None and self.takes_maps else refine or 1, grid)
        self.per_map = learn_bandwidth == "map"
        if self.takes_maps and self.refine == 1 and learn_bandwidth == "fixed":
            self.decoder = "mode"
        learned = learn_bandwidth == "landmark"
        self.log_ratio = nn.Parameter(torch.zeros(count)) if learned else None

    def density(self, outputs: Float[Tensor, "batch channels *cells"]) -> KernelDensity:
        """Return the mixture, in crop pixels or the unit of the labels."""
        kinds = self.kinds(outputs)
        logits = interpolate_maps(kinds[:, 0], self.refine)
        return KernelDensity(logits, self.grid.refine(self.refine), bandwidth=self.bandwidth(kinds))

    def bandwidth(
        self, kinds: Float[Tensor, "batch kinds labels *cells"]
    ) -> float | Float[Tensor, "*batch labels"]:
        """Return the bandwidth in the unit of the grid: one, per label, or per sample and label."""
        if self.per_map:
            return self.initial * _bounded(kinds[:, 1].flatten(2).mean(-1)).exp()
        if self.log_ratio is None:
            return self.initial
        return self.initial * _bounded(_BANDWIDTH_GAIN * self.log_ratio).exp().to(kinds.dtype)


class KDNAdaptive(CellHead):
    """Gaussian kernels whose centre and bandwidth are predicted for every cell.

    Four maps per landmark: logits, offsets in x and y, log-bandwidth; three of scalars, which have
    one axis. A centre moves by `offset_limit · tanh(·)` cells on each axis; the bandwidth is
    `bandwidth · exp(·)` cells.

    Args:
        count: Number of labels.
        grid: See `Head`.
        rounding: See `Head`.
        bandwidth: Initial standard deviation in cells of the grid.
        offset_limit: Largest offset in such cells.
        refine: How many times finer the grid of the density is; all maps are interpolated.
    """

    name = "kdn_adaptive"

    def __init__(
        self,
        count: int,
        grid: Grid,
        rounding: float = 0.0,
        *,
        bandwidth: float = 1.0,
        offset_limit: float = 1.5,
        refine: int = 1,
    ):
        super().__init__(count, grid, rounding, 2 + grid.ndim)
        self.initial = bandwidth * self.unit
        self.limit = offset_limit * self.unit
        self.refine = _refinement(refine, grid)

    def density(self, outputs: Float[Tensor, "batch channels *cells"]) -> KernelDensity:
        """Return the mixture, in crop pixels or the unit of the labels."""
        kinds = interpolate_maps(self.kinds(outputs), self.refine)
        grid = self.grid.refine(self.refine)
        moves = torch.tanh(kinds[:, 1 : 1 + grid.ndim])
        offsets = self.limit * moves.transpose(1, 2)  # (B, L, xy, rows, columns)
        bandwidth = self.initial * _bounded(kinds[:, 1 + grid.ndim]).exp()
        return KernelDensity(kinds[:, 0], grid, bandwidth=bandwidth, offsets=offsets)


def _refinement(refine: int, grid: Grid) -> int:
    """Return how many times finer the grid is; raise if it is an axis, which is as it is."""
    if grid.ndim == 1 and refine != 1:
        raise ValueError(f"refine must be 1 on a line, got {refine}")
    return refine


def _bounded(log_ratio: Tensor) -> Tensor:
    """Return a log-bandwidth within its range, bent smoothly so that gradients never vanish."""
    low, high = _LOG_BANDWIDTH_RANGE
    middle, reach = (low + high) / 2, (high - low) / 2
    start = math.atanh(-middle / reach)
    return middle + reach * torch.tanh(log_ratio / reach / (1 - (middle / reach) ** 2) + start)


def interpolate_maps(
    maps: Float[Tensor, "*batch rows columns"], factor: int
) -> Float[Tensor, "*batch fine_rows fine_columns"]:
    """Return maps on `Grid.refine(factor)`: `Rᵀ · map · C`, bicubic (a = −¾) with edges repeated.

    The same numbers as `F.interpolate(…, mode="bicubic", align_corners=False)`, several times
    faster on a CPU, forwards and backwards, because the filter is separable.

    Args:
        maps: Values at the cells.
        factor: How many times finer the grid is on each axis.
    """
    if factor == 1:
        return maps
    rows = _bicubic_matrix(maps.shape[-2], factor, maps)
    columns = _bicubic_matrix(maps.shape[-1], factor, maps)
    return torch.matmul(torch.matmul(rows, maps), columns.T)


def _bicubic_matrix(cells: int, factor: int, like: Tensor) -> Float[Tensor, "fine coarse"]:
    """Return the matrix that interpolates one axis: the image of every unit vector."""
    units = torch.eye(cells, dtype=like.dtype, device=like.device)[None, None]
    size = (cells * factor, cells)
    return F.interpolate(units, size=size, mode="bicubic", align_corners=False)[0, 0]
