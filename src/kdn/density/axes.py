"""Distances from points to cells, one axis at a time."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from kdn.grid import Grid

__all__ = ["AxisTerms", "axis_terms", "log_normaliser"]


class AxisTerms(NamedTuple):
    """What the kernel needs of one axis; `exponent + shift` is `d² / 2h²`.

    `shift` is that of the nearest cell, so that the largest weight `exp(−exponent)` is 1 however
    far the point lies from the grid.
    """

    exponent: Float[Tensor, "maps points cells"]
    shift: Float[Tensor, "maps points"]
    nearest: Float[Tensor, "maps points 1"]
    step: Float[Tensor, "maps points cells"]

    @property
    def distance(self) -> Float[Tensor, "maps points cells"]:
        """Signed distance of the points from the cells: from the nearest one, and on from there."""
        return self.nearest - self.step


def axis_terms(
    points: Float[Tensor, "maps points ndim"], bandwidth: Float[Tensor, " maps"], grid: Grid
) -> list[AxisTerms]:
    """Return the distances of points to the cells along each axis, in tensor order (x last).

    With `d₀` the distance to the nearest cell and `δ` the exact distance from that cell to
    another, `d² − d₀² = δ (δ − 2 d₀)`: no difference of large squares is taken.
    """
    half_precision = 0.5 / bandwidth.square()[:, None, None]
    terms = []
    for axis in range(grid.ndim - 1, -1, -1):
        position, spacing = points[..., axis : axis + 1], grid.spacing[axis]
        count = grid.shape[-1 - axis]
        cells = torch.arange(count, dtype=points.dtype, device=points.device)
        in_cells = (position.detach() - grid.origin[axis]) / spacing
        nearest_cell = in_cells.round().clamp(0, count - 1)
        nearest = position - (grid.origin[axis] + spacing * nearest_cell)
        step = (cells - nearest_cell).mul_(spacing)
        exponent = (step - 2 * nearest).mul_(step) * half_precision
        shift = (nearest.square() * half_precision).squeeze(-1)
        terms.append(AxisTerms(exponent, shift, nearest, step))
    return terms


def log_normaliser(bandwidth: Tensor, ndim: int) -> Tensor:
    """Return `ndim · (log h + ½ log 2π)`, minus the log of a Gaussian kernel at its centre."""
    return ndim * (bandwidth.log() + 0.5 * math.log(2 * math.pi))
