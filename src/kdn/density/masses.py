"""The mass that each cell of a grid holds, exactly, and regions made of such cells."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from kdn.density.arguments import full_precision
from kdn.density.kernels import Kernel, Uniform
from kdn.density.maps import KernelList, KernelMaps, blocks
from kdn.grid import Grid

__all__ = ["cell_masses", "hdr_mask"]

BLOCK = 1 << 21
"""Elements that a temporary may have."""

TAIL = 1e-12
"""Mass of the kernels left out where they differ."""


def cell_masses(maps: KernelMaps, refine: int = 1) -> Float[Tensor, "maps *cells"]:
    """Return the probability of each cell of `grid.refine(refine)`.

    Exact: the mass of a kernel is a product of differences of its distribution function along the
    axes. What lies outside the grid is missing from the sum. Where kernels differ, those that hold
    less than 1e-12 together are left out. No gradient.

    Args:
        maps: Of a density.
        refine: Cells per cell of the density's grid along each axis.

    Raises:
        ValueError: If `refine` is not a positive whole number.
    """
    shape = maps.grid.refine(refine).shape
    cells = maps.logits.new_empty((maps.count, *shape))
    for rows, masses in _masses(maps, refine):
        cells[rows] = masses.to(cells)
    return cells


def hdr_mask(maps: KernelMaps, level: float, refine: int = 1) -> Bool[Tensor, "maps *cells"]:
    """Return the smallest set of cells that holds at least `level` of the mass within the grid.

    Cells are those of `grid.refine(refine)`, taken in the order of the mass that they hold, which
    is computed exactly. So the mass is never below `level`, and above it by no more than the last
    cell holds. Mass outside the grid is not counted.

    Args:
        maps: Of a density.
        level: Share of the mass, 0 to 1.
        refine: Cells per cell of the density's grid along each axis.

    Raises:
        ValueError: If `level` is not within 0 to 1, or `refine` not a positive whole number.
    """
    if not 0.0 <= level <= 1.0:
        raise ValueError(f"level must be 0 to 1, got {level}")
    shape = maps.grid.refine(refine).shape
    mask = torch.empty((maps.count, *shape), dtype=torch.bool, device=maps.logits.device)
    for rows, masses in _masses(maps, refine):
        ordered, order = masses.flatten(1).sort(dim=1, descending=True, stable=True)
        cumulative = ordered.cumsum(1)
        taken = cumulative - ordered < level * cumulative[:, -1:] * (1.0 - 1e-12)
        mask[rows] = torch.zeros_like(taken).scatter_(1, order, taken).view_as(masses)
    return mask


def _masses(maps: KernelMaps, refine: int) -> Iterator[tuple[slice, Tensor]]:
    """Yield the masses of the cells in float64, for some of the maps at a time."""
    grid, fine = maps.grid, maps.grid.refine(refine)
    with torch.no_grad(), full_precision(maps.logits.device):
        for rows in blocks(maps.count, fine.numel, BLOCK):
            log_probs = maps.log_probs[rows].double()
            if maps.separable:
                probs = log_probs.exp().reshape(-1, *grid.shape)
                yield rows, _separable(maps, probs, maps.axis_scale[rows].double(), refine)
            else:
                kernels = KernelList(*(field.double() for field in maps.kernels(rows)))
                masses = _of_kernels(maps.kernel, _without_tail(kernels), fine)
                yield rows, masses.reshape(-1, *fine.shape)


def _separable(maps: KernelMaps, probs: Tensor, scale: Tensor, refine: int) -> Tensor:
    """Return the masses where axes can be summed in turn."""
    ndim = maps.grid.ndim
    if isinstance(maps.kernel, Uniform):
        for dim in range(1, ndim + 1):
            probs = probs.repeat_interleave(refine, dim)
        return probs / refine**ndim
    for axis in range(ndim):
        edges = _edges(maps.grid.refine(refine), axis, probs)
        centres = maps.grid.centres(axis, dtype=probs.dtype, device=probs.device)
        shares = _between(maps.kernel, edges, centres.unsqueeze(0), scale[..., axis])
        along = probs.movedim(ndim - axis, -1)
        spread = along.flatten(1, -2) if ndim > 1 else along.unsqueeze(1)
        spread = (spread @ shares).reshape(*along.shape[:-1], -1)
        probs = spread.movedim(-1, ndim - axis)
    return probs


def _without_tail(kernels: KernelList) -> KernelList:
    """Return the kernels less the least likely ones."""
    ordered, order = kernels.log_probs.sort(dim=1, descending=True)
    rest = ordered.exp().flip(1).cumsum(1).flip(1)
    return kernels.take(order[:, : int((rest > TAIL).sum(1).max().clamp(min=1))])


def _of_kernels(kernel: Kernel, kernels: KernelList, grid: Grid) -> Float[Tensor, "maps cells"]:
    """Return the masses that kernels with centres of their own give to the cells of a grid.

    The shares along all axes but the last are multiplied out for each kernel; so many kernels are
    added at once that this takes no more than `BLOCK` elements, however large a volume is.
    """
    edges = [_edges(grid, axis, kernels.log_probs) for axis in range(grid.ndim)]
    counts = [len(edge) - 1 for edge in edges]
    maps, total = kernels.log_probs.shape
    most = max(1, BLOCK // (maps * max(math.prod(counts[:-1]), sum(counts))))
    cells = edges[0].new_zeros(maps, counts[-1], math.prod(counts[:-1]))
    for first in range(0, total, most):
        few = KernelList(*(field[:, first : first + most] for field in kernels))
        masses = few.log_probs.exp().unsqueeze(-1)
        for axis, edge in enumerate(edges):
            shares = _between(kernel, edge, few.centres[..., axis], few.scale)
            if axis < len(edges) - 1:
                masses = (shares.unsqueeze(-1) * masses.unsqueeze(-2)).flatten(2)
            else:
                cells.baddbmm_(shares.mT, masses)
    return cells.flatten(1)


def _edges(grid: Grid, axis: int, like: Tensor) -> Tensor:
    """Return the edges of the cells along an axis, one more than there are cells."""
    steps = torch.arange(grid.shape[-1 - axis] + 1, dtype=like.dtype, device=like.device)
    return grid.low[axis] + grid.spacing[axis] * steps


def _between(kernel: Kernel, edges: Tensor, centres: Tensor, scale: Tensor) -> Tensor:
    """Return the share of each kernel between neighbouring edges, `(maps, kernels, cells)`."""
    ratios = (edges - centres.unsqueeze(-1)) / scale.unsqueeze(-1)
    return kernel.share(ratios[..., :-1], ratios[..., 1:])
