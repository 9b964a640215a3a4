"""The modes of maps whose kernels sit at the cells and have one bandwidth per map.

The density is evaluated on a lattice of points no further apart than the bandwidth, which gives
starts; each start then climbs to its maximum by safeguarded Newton steps (`kdn.density.ascent`).

Where the global mode can be: with the bandwidth `h` the Hessian of `log p` is at least `−I/h²`, so
that a point at distance `d` of a mode has at least `exp(−d²/2h²)` of its density, and only lattice
points above this share of the highest can be the nearest one of the global mode. And a mode is a
mean of the kernels' centres, weighted by what each adds there; what a window leaves out is at most
a hundredth of what the largest cell alone gives at its centre, so that the mode lies in the window.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from kdn.density.ascent import CellField, climb
from kdn.density.kernels import Gaussian
from kdn.density.maps import CACHED, REACH, KernelMaps, Window, blocks, groups
from kdn.density.peaks import Ends, highest, ranked
from kdn.grid import Grid

__all__ = ["ends_between_cells", "ends_of_cells", "highest_between_cells"]

CHUNK = 1 << 22
"""Elements that a temporary may have; more maps are done in turns."""

STARTS = 32
"""Starts per map at most for the global mode."""

SLACK = 0.03
"""Lattice points that are lower than a neighbour by no larger share count as maxima: two modes may
be so close that a lattice shows one."""


def highest_between_cells(maps: KernelMaps) -> Float[Tensor, "maps ndim"]:
    """Return the global mode of each map."""
    points = maps.logits.new_empty((maps.count, maps.grid.ndim), dtype=torch.float64)
    pairs = [start for window in maps.windows for start in _starts(maps, window)]
    rows, starts = zip(*pairs, strict=True)
    index, ends = highest(_climb(maps, torch.cat(rows), torch.cat(starts)))
    points[index] = ends
    return points


def _climb(maps: KernelMaps, rows: Tensor, starts: Tensor) -> Ends:
    """Return the maxima that starts on some of the maps lead to, by bandwidth: windows fit it."""
    ends = []
    width = (2.0 * REACH * _bandwidth(maps)[rows] / min(maps.grid.spacing)).ceil().long() + 3
    for _, index in groups(width, lambda width: width**maps.grid.ndim, 4 * CACHED):
        peaks = climb(CellField(maps, rows[index]), starts[index])
        ends.append(Ends(rows[index], peaks.points, peaks.values, peaks.scale))
    return Ends(*(torch.cat(fields) for fields in zip(*ends, strict=True)))


def _bandwidth(maps: KernelMaps) -> Tensor:
    if maps.bandwidth is None:
        raise ValueError("maps must have a bandwidth, got none")
    return maps.bandwidth


def _starts(maps: KernelMaps, window: Window) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield starts within a window: their maps and the points."""
    grid = window.grid
    for factor, index in _by_bandwidth(maps, window.maps):
        bandwidth, shift = _bandwidth(maps)[window.maps[index]], window.shift[index]
        lattice = _lattice_density(window.probs[index], bandwidth, grid, factor)
        coarse = max(grid.spacing) / factor / bandwidth
        share = (-0.125 * grid.ndim * coarse.clamp(max=1.0).square()).exp() * 0.999
        rows, flat = _lattice_maxima(lattice, share)
        order = ranked(rows, lattice.flatten(1)[rows, flat], STARTS)[0]
        rows, flat = rows[order], flat[order]
        points = _lattice_points(flat, lattice.shape[1:], grid, factor) + shift[rows]
        yield window.maps[index[rows]], points


def _by_bandwidth(maps: KernelMaps, rows: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Yield lattice points per cell and axis, twice as many below a cell, and which they suit."""
    fine = _bandwidth(maps)[rows] < max(maps.grid.spacing)
    for factor, index in ((1, (~fine).nonzero().squeeze(1)), (2, fine.nonzero().squeeze(1))):
        if len(index):
            yield factor, index


def _lattice_density(
    probs: Float[Tensor, "maps *cells"], bandwidth: Float[Tensor, " maps"], grid: Grid, factor: int
) -> Float[Tensor, "maps *points"]:
    """Return the density, in units of one kernel's peak, `factor` points per spacing.

    The lattice runs from the first to the last cell centre, so it has `factor·(n − 1) + 1` points.
    """
    values = probs
    widths, which = bandwidth.unique(return_inverse=True)
    for axis in range(grid.ndim):
        dim = grid.ndim - axis
        count = grid.shape[-1 - axis]
        cells = torch.arange(count, dtype=probs.dtype, device=probs.device)
        points = torch.arange(factor * (count - 1) + 1, dtype=probs.dtype, device=probs.device)
        apart = (points.unsqueeze(1) / factor - cells) * grid.spacing[axis]
        weights = Gaussian().weights_(apart / widths.reshape(-1, 1, 1))[which]
        before, after = values.shape[1:dim], values.shape[dim + 1 :]
        if after:
            planes = values.reshape(len(values), math.prod(before), count, -1)
            values = weights.unsqueeze(1) @ planes if before else weights @ planes.squeeze(1)
        else:
            values = values.reshape(len(values), -1, count) @ weights.mT
        values = values.reshape(len(values), *before, len(points), *after)
    return values


def _lattice_maxima(
    lattice: Float[Tensor, "maps *points"], share: Float[Tensor, " maps"]
) -> tuple[Tensor, Tensor]:
    """Return map and flat index of the lattice points that are highest among their neighbours.

    They also have to have a share of the highest density. Points that are lower than a neighbour
    by no more than `SLACK` count too.
    """
    ndim = lattice.dim() - 1
    padded = functional.pad(lattice, (0, 1) * ndim)  # what is wrapped around falls on the padding
    values = padded.flatten()
    least = lattice.flatten(1).amax(1) * share
    where = (padded >= least.reshape(-1, *(1,) * ndim)).flatten().nonzero().squeeze(1)
    strides = padded.stride()[1:]
    for step in itertools.product((-1, 0, 1), repeat=ndim):
        shifted = where + sum(a * b for a, b in zip(step, strides, strict=True))
        other = values[shifted.clamp(0, len(values) - 1)].masked_fill(shifted < 0, 0.0)
        where = where[values[where] >= other * (1.0 - SLACK)]
    flat, rest = torch.zeros_like(where), where % padded[0].numel()
    for stride, count in zip(strides, lattice.shape[1:], strict=True):
        flat = flat * count + rest // stride
        rest = rest % stride
    return where // padded[0].numel(), flat


def _lattice_points(flat: Tensor, shape: torch.Size, grid: Grid, factor: int) -> Tensor:
    """Return lattice points, `(points, ndim)` in the grid's frame."""
    cells = torch.stack(torch.unravel_index(flat, shape)[::-1], -1).double() / factor
    return grid.from_cells(cells)


def ends_between_cells(maps: KernelMaps, most: int) -> tuple[Ends, Float[Tensor, " ends"]]:
    """Return where the highest lattice maxima climb to, and the mass of the cells below each.

    Cells go uphill from lattice point to the highest neighbouring lattice point; the lattice
    maximum that they reach then climbs between the points.

    Args:
        maps: Of a density.
        most: Lattice maxima per map at most.
    """
    ends, masses, grid = [], [], maps.grid
    every = torch.arange(maps.count, device=maps.logits.device)
    for factor, group in _by_bandwidth(maps, every):
        for block in blocks(len(group), grid.numel * factor**grid.ndim, CHUNK):
            index = group[block]
            probs = maps.log_probs[index].exp().reshape(-1, *grid.shape)
            lattice = _lattice_density(probs, _bandwidth(maps)[index], grid, factor)
            rows, flat, mass = _basins(lattice, probs, factor, most)
            starts = _lattice_points(flat, lattice.shape[1:], grid, factor)
            ends.append(_climb(maps, index[rows], starts))
            masses.append(mass)
    return Ends(*(torch.cat(fields) for fields in zip(*ends, strict=True))), torch.cat(masses)


def ends_of_cells(
    maps: KernelMaps, height: Float[Tensor, "maps cells"], most: int
) -> tuple[Ends, Float[Tensor, " ends"]]:
    """Return the highest cells that no neighbour exceeds, and the mass of the cells below.

    Args:
        maps: Of a density.
        height: Log-density of each cell, up to a constant.
        most: Cells per map at most.
    """
    grid = maps.grid
    lattice = (height - height.amax(1, keepdim=True)).exp().reshape(-1, *grid.shape)
    probs = maps.log_probs.exp().reshape(-1, *grid.shape)
    rows, flat, mass = _basins(lattice, probs, 1, most)
    points = _lattice_points(flat, lattice.shape[1:], grid, 1)
    values = height[rows, flat].double()
    return Ends(rows, points, values, torch.full_like(values, min(grid.spacing))), mass


def _basins(
    lattice: Float[Tensor, "maps *points"], probs: Tensor, factor: int, most: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return map and flat index of the highest lattice maxima, and the mass of the cells below."""
    roots = _uphill(lattice)[(slice(None), *[slice(None, None, factor)] * (lattice.dim() - 1))]
    collected = torch.zeros_like(lattice.flatten(1), dtype=torch.float64)
    collected.scatter_add_(1, roots.flatten(1), probs.flatten(1).double())
    maps, flat = (collected > 0).nonzero().unbind(1)
    order = ranked(maps, lattice.flatten(1)[maps, flat], most)[0]
    maps, flat = maps[order], flat[order]
    return maps, flat, collected[maps, flat]


def _uphill(lattice: Float[Tensor, "maps *points"]) -> Int[Tensor, "maps *points"]:
    """Return for each lattice point the flat index of the lattice maximum that it climbs to."""
    pool = (functional.max_pool1d, functional.max_pool2d, functional.max_pool3d)
    index = pool[lattice.dim() - 2](
        lattice.unsqueeze(1), kernel_size=3, stride=1, padding=1, return_indices=True
    )[1].flatten(1)
    while True:
        further = index.gather(1, index)
        if torch.equal(further, index):
            return index.reshape(lattice.shape)
        index = further
