"""The modes of a density: local maxima of the continuous mixture, which lie between cells.

The searches are in `cell_modes` for one bandwidth per map, in `kernel_modes` for kernels with their
own centres or bandwidths.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from kdn.density.cell_modes import (
    CellMaps,
    ends_between_cells,
    ends_of_cells,
    highest_between_cells,
)
from kdn.density.kernel_modes import ends_of_kernels, highest_of_kernels
from kdn.density.kernels import flat_bandwidth, flat_logits, is_separable, kernels_of
from kdn.density.peaks import merged
from kdn.density.precision import full_precision

if TYPE_CHECKING:
    from kdn.density.distribution import KernelDensity

__all__ = ["find_mode", "find_modes"]

SPARE = 64
"""Lattice maxima per map that are climbed from, or eight for each mode wanted if that is more."""


def find_mode(density: KernelDensity) -> Float[Tensor, "*batch_event"]:
    """Return the point where each density is highest, `argmax_y p(y)`.

    For Gaussian kernels this is the global mode of the continuous mixture: neither the most
    probable cell, nor the cell where the density is highest, nor the mean. Of several equally high
    modes one is returned. For the uniform kernel it is the centre of the most probable cell.

    Convention: points `(x, y)` in the grid's frame. On a row of two cells with centres 0 and 1,
    probabilities `(0.5, 0.5)` and bandwidth 1 the mode is 0.5; with bandwidth 0.1 there are two.

    Carries no gradient.

    Args:
        density: A `KernelDensity`.

    Returns:
        Points, `(*batch, *event)`, in the dtype of the density.
    """
    grid, logits = density.grid, density.logits
    with torch.no_grad(), full_precision(logits.device):
        if density.kernel == "uniform":
            best = flat_logits(density).flatten(1).argmax(1)
            centres = grid.points(dtype=logits.dtype, device=logits.device)
            found = centres.reshape(-1, grid.ndim)[best]
        elif is_separable(density):
            found = highest_between_cells(_cell_maps(density))
        else:
            found = highest_of_kernels(kernels_of(density))
        return found.to(logits.dtype).reshape(*density.batch_shape, *density.event_shape)


def find_modes(
    density: KernelDensity, k: int
) -> tuple[Float[Tensor, "*batch_k_event"], Float[Tensor, "*batch k"]]:
    """Return the `k` highest local maxima of each density, and the mass that belongs to each.

    Mass: every kernel gives its whole probability to the mode that is reached from its centre
    going uphill. For modes that are well separated this is the mass of the peak; the masses of all
    modes together are 1. With one bandwidth, uphill is from lattice point to the highest
    neighbouring lattice point (the cells, and the points halfway between them if the bandwidth is
    below a cell), and from the last one by Newton steps. With kernels that differ it is Newton and
    mean-shift steps all the way; kernels that together hold less than 1e-3 are left out, and the
    others' masses scaled to 1.

    For the uniform kernel, modes are cells that no neighbour exceeds, and uphill is from cell to
    the most probable neighbour; of equal neighbours it is the first.

    Carries no gradient.

    Args:
        density: A `KernelDensity`.
        k: Number of modes wanted.

    Returns:
        Points `(*batch, k, *event)` in the grid's frame, the highest density first, and masses
        `(*batch, k)`. If there are fewer than `k` modes, the rest is NaN with mass 0.

    Raises:
        ValueError: If `k` is not positive.
    """
    if k < 1:
        raise ValueError(f"k must be positive, got {k}")
    grid, logits = density.grid, density.logits
    with torch.no_grad(), full_precision(logits.device):
        most = max(SPARE, 8 * k)
        if density.kernel == "uniform":
            ends, mass = ends_of_cells(flat_logits(density), grid, most)
        elif is_separable(density):
            ends, mass = ends_between_cells(_cell_maps(density), most)
        else:
            ends, mass = ends_of_kernels(kernels_of(density))
        points, masses = merged(ends, mass, math.prod(density.batch_shape), k)
        points, masses = points.to(logits.dtype), masses.to(logits.dtype)
        shape = (*density.batch_shape, k)
        return points.reshape(*shape, *density.event_shape), masses.reshape(shape)


def _cell_maps(density: KernelDensity) -> CellMaps:
    """Return the maps of a density with one bandwidth per map."""
    raw = density.raw_logits.detach().reshape(-1, *density.grid.shape)
    return CellMaps(raw, flat_logits(density), flat_bandwidth(density), density.grid)
