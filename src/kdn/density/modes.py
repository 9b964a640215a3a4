"""The modes of a density: local maxima of the continuous mixture, which lie between cells.

With one bandwidth per map the density is evaluated on a lattice of points no further apart than
the bandwidth, which gives starts. Where kernels differ there is no lattice that suits all of them:
starts are the kernels' centres. Each climbs by Newton and mean-shift steps (`kdn.density.ascent`),
which see only the kernels around it.

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

from kdn.density.ascent import CellField, Ends, KernelField, climb, highest, merged, ranked
from kdn.density.kernels import Gaussian, Uniform
from kdn.density.loglik import log_prob_of_maps
from kdn.density.maps import CACHED, REACH, KernelList, KernelMaps, Window, blocks, groups
from kdn.grid import Grid

__all__ = ["find_mode", "find_modes"]

SPARE = 64
"""Lattice maxima per map that are climbed from, or eight for each mode wanted if that is more."""

LEFT_OUT = 0.01
"""What the kernels that give no start may add up to, as a share of the highest kernel's peak."""

CANDIDATES, STARTS, NEAR_TOP = 128, 16, 1.5
"""Kernels per map that may give a start, by weight and by mass; starts per map at most; and how
many nats lower than at the best kernel's centre the density may be at the centre of a start."""

SPARE_MASS = 1e-3
"""Mass of the kernels that are not climbed from when masses are collected."""

CHUNK = 1 << 22
"""Elements that a temporary may have; more maps are done in turns."""

LATTICE_STARTS = 32
"""Starts per map at most for the global mode."""

SLACK = 0.03
"""Lattice points that are lower than a neighbour by no larger share count as maxima: two modes may
be so close that a lattice shows one."""


def find_mode(maps: KernelMaps) -> Float[Tensor, "maps ndim"]:
    """Return the point where each density of Gaussian or uniform kernels is highest.

    For Gaussian kernels this is the global mode of the continuous mixture: neither the most
    probable cell, nor the cell where the density is highest, nor the mean. Of several equally high
    ones any. For uniform kernels it is the centre of the most probable cell. With two cells with
    centres 0 and 1, probabilities `(0.5, 0.5)` and bandwidth 1 the mode is 0.5; with bandwidth 0.1
    there are two. Carries no gradient.
    """
    if isinstance(maps.kernel, Uniform):
        return maps.centres.T[maps.log_probs.argmax(1)]
    if maps.separable:
        return _highest_between_cells(maps)
    points = maps.logits.new_empty((maps.count, maps.grid.ndim), dtype=torch.float64)
    log_peaks = maps.kernels().log_peaks(maps.kernel)
    log_peaks = log_peaks - log_peaks.amax(1, keepdim=True)
    for rows, few in maps.lists(log_peaks, LEFT_OUT, lambda n: n * min(n, 2 * CANDIDATES)):
        index, starts = _starts(few)
        index, ends = highest(_climb(maps.kernels(), rows[index], starts))
        points[index] = ends
    return points


def find_modes(maps: KernelMaps, k: int) -> tuple[Tensor, Tensor]:
    """Return the `k` highest local maxima of each density, and the mass that belongs to each.

    Mass: every kernel gives its whole probability to the mode that is reached from its centre
    going uphill. For modes that are well separated this is the mass of the peak; the masses of all
    modes together are 1. With one bandwidth, uphill is from lattice point to the highest
    neighbouring lattice point (the cells, and the points halfway between them if the bandwidth is
    below a cell), and from the last one by Newton steps. With kernels that differ it is Newton and
    mean-shift steps all the way; kernels that together hold less than 1e-3 are left out, and the
    others' masses scaled to 1.

    For kernels that are not Gaussian, modes are cells where the density is at least that of the
    neighbours, and uphill is from cell to the densest neighbour; of equal neighbours it is the
    first. Carries no gradient.

    Args:
        maps: Of a density.
        k: Number of modes wanted.

    Returns:
        Points `(maps, k, ndim)` in the grid's frame, the highest density first, and masses
        `(maps, k)`. If there are fewer than `k` modes, the rest is NaN with mass 0.

    Raises:
        ValueError: If `k` is not positive.
    """
    if k < 1:
        raise ValueError(f"k must be positive, got {k}")
    most = max(SPARE, 8 * k)
    if not isinstance(maps.kernel, Gaussian):
        height = maps.log_probs
        if not isinstance(maps.kernel, Uniform):
            cells = maps.grid.points(dtype=height.dtype, device=height.device)
            cells = cells.reshape(1, -1, maps.grid.ndim).expand(maps.count, -1, -1)
            height = log_prob_of_maps(maps, cells)
        ends, mass = _ends_of_cells(maps, height, most)
    elif maps.separable:
        ends, mass = _ends_between_cells(maps, most)
    else:
        ends, mass = _ends_of_kernels(maps)
    return merged(ends, mass, maps.count, k)


def _starts(kernels: KernelList) -> tuple[Tensor, Tensor]:
    """Return which of the maps, and the points."""
    centres, scale, values = _candidates(kernels)
    apart = torch.cdist(centres, centres)
    near = apart < torch.minimum(scale.unsqueeze(1), scale.unsqueeze(2))
    lower = (near & (values.unsqueeze(1) > values.unsqueeze(2))).any(2)
    high = values > values.amax(1, keepdim=True) - NEAR_TOP
    maps, column = (high & ~lower).nonzero().unbind(1)
    order = ranked(maps, values[maps, column], STARTS)[0]
    maps, column = maps[order], column[order]
    return maps, centres[maps, column]


def _candidates(kernels: KernelList) -> tuple[Tensor, Tensor, Tensor]:
    """Return centres, bandwidths and log-densities of the kernels that a mode may be close to."""
    chosen = kernels
    if kernels.log_probs.shape[1] > 2 * CANDIDATES:
        sizes = (kernels.log_peaks(Gaussian()), kernels.log_probs)
        chosen = kernels.take(torch.cat([s.topk(CANDIDATES, 1).indices for s in sizes], 1))
    values = kernels.log_density(Gaussian(), chosen.centres)
    values = values.masked_fill(chosen.log_probs.isneginf(), torch.finfo(values.dtype).min)
    return chosen.centres, chosen.scale, values


def _climb(kernels: KernelList, maps: Tensor, starts: Tensor) -> Ends:
    """Return where starts on some of the maps end."""
    turn = max(1, 8 * CACHED // kernels.log_probs.shape[1])
    turns = zip(maps.split(turn), starts.split(turn), strict=True)
    return _joined([climb(KernelField(kernels, rows), points) for rows, points in turns])


def _joined(ends: list[Ends]) -> Ends:
    return Ends(*(torch.cat(fields) for fields in zip(*ends, strict=True)))


def _ends_of_kernels(maps: KernelMaps) -> tuple[Ends, Float[Tensor, " ends"]]:
    """Return where the kernels that hold nearly all mass climb to, and the mass of each."""
    kernels, ends, masses = maps.kernels(), [], []
    for index, few in maps.lists(maps.log_probs, SPARE_MASS, lambda n: n):
        rows, column = few.log_probs.isfinite().nonzero().unbind(1)
        masses.append(few.log_probs.double().softmax(1)[rows, column])
        ends.append(_climb(kernels, index[rows], few.centres[rows, column]))
    return _joined(ends), torch.cat(masses)


def _highest_between_cells(maps: KernelMaps) -> Float[Tensor, "maps ndim"]:
    """Return the global mode of each map."""
    points = maps.logits.new_empty((maps.count, maps.grid.ndim), dtype=torch.float64)
    pairs = [start for window in maps.windows for start in _lattice_starts(maps, window)]
    rows, starts = zip(*pairs, strict=True)
    index, ends = highest(_climb_cells(maps, torch.cat(rows), torch.cat(starts)))
    points[index] = ends
    return points


def _climb_cells(maps: KernelMaps, rows: Tensor, starts: Tensor) -> Ends:
    """Return the maxima that starts on some of the maps lead to, in the order of the starts.

    They are climbed to by bandwidth, which windows have to fit.
    """
    ends, order = [], []
    width = (2.0 * REACH * _bandwidth(maps)[rows] / min(maps.grid.spacing)).ceil().long() + 3
    for _, index in groups(width, lambda width: width**maps.grid.ndim, 4 * CACHED):
        ends.append(climb(CellField(maps, rows[index]), starts[index]))
        order.append(index)
    back = torch.cat(order).argsort()
    return Ends(*(field[back] for field in _joined(ends)))


def _bandwidth(maps: KernelMaps) -> Tensor:
    if maps.bandwidth is None:
        raise ValueError("maps must have a bandwidth, got none")
    return maps.bandwidth


def _lattice_starts(maps: KernelMaps, window: Window) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield starts within a window: their maps and the points."""
    grid = window.grid
    for factor, index in _by_bandwidth(maps, window.maps):
        bandwidth, shift = _bandwidth(maps)[window.maps[index]], window.shift[index]
        lattice = _lattice_density(window.probs[index], bandwidth, grid, factor)
        coarse = max(grid.spacing) / factor / bandwidth
        share = (-0.125 * grid.ndim * coarse.clamp(max=1.0).square()).exp() * 0.999
        rows, flat = _lattice_maxima(lattice, share)
        order = ranked(rows, lattice.flatten(1)[rows, flat], LATTICE_STARTS)[0]
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


def _ends_between_cells(maps: KernelMaps, most: int) -> tuple[Ends, Float[Tensor, " ends"]]:
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
            ends.append(_climb_cells(maps, index[rows], starts))
            masses.append(mass)
    return _joined(ends), torch.cat(masses)


def _ends_of_cells(
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
