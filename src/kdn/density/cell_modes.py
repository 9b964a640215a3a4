"""The modes of maps whose kernels sit at the cells and have one bandwidth per map.

The density is evaluated on a lattice of points no further apart than the bandwidth, which gives
starts; each start then climbs to its maximum by safeguarded Newton steps (`kdn.density.ascent`).

Where the global mode can be: with the bandwidth `h` the Hessian of `log p` is at least `−I/h²`, so
that a point at distance `d` of a mode has at least `exp(−d²/2h²)` of its density, and only lattice
points above this share of the highest can be the nearest one of the global mode. And the density at
a distance `m` of a window that leaves out the mass `τ` is at most `τ + exp(−m²/2h²)` in units of
one kernel's peak, while the largest cell alone gives its probability `p` there: with both terms at
`p/100` the mode lies in the window, and densities there are right to 2 % of the highest.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from kdn.density.ascent import CellField, climb
from kdn.density.peaks import Ends, highest, ranked
from kdn.density.window import Window, cell_windows
from kdn.grid import Grid

__all__ = ["CellMaps", "ends_between_cells", "ends_of_cells", "highest_between_cells"]

CHUNK = 1 << 22
"""Elements that a temporary may have; more maps are done in turns."""

LEFT_OUT = 0.01
"""How much of the largest cell's probability may be missing where starts are chosen."""

STARTS = 32
"""Starts per map at most for the global mode."""

FEW, SLACK, FINE_SLACK, MANY = 8, 0.1, 1e-3, 256
"""A lattice is fine enough if at most `FEW` of its points are maxima within the slack."""


class CellMaps(NamedTuple):
    """Maps with one bandwidth each.

    Attributes:
        raw: Unnormalised log-probabilities, `(maps, *cells)`, free of the rounding of a softmax.
        log_probs: Normalised, `(maps, *cells)`.
        bandwidth: `(maps,)`, in the grid's unit.
        grid: Where the cells are.
    """

    raw: Tensor
    log_probs: Tensor
    bandwidth: Tensor
    grid: Grid

    def climb_from(self, maps: Tensor, starts: Tensor) -> Ends:
        """Return the maxima that starts lead to."""
        peaks = climb(CellField(self.raw, self.bandwidth, self.grid, maps), starts)
        return Ends(maps, peaks.points, peaks.values, peaks.scale)


def highest_between_cells(own: CellMaps) -> Float[Tensor, "maps ndim"]:
    """Return the global mode of each map.

    Two modes may be so close that a coarse lattice shows one. So lattice points count as maxima
    that are nearly as high as their neighbours; where these are many, as on flat maps, a finer
    lattice is laid.
    """
    found = own.raw.new_empty(len(own.raw), own.grid.ndim, dtype=torch.float64)
    near = torch.zeros_like(own.log_probs)
    every = torch.arange(len(found), device=found.device)
    for window in _windows_of_mass(own):
        _mark_near(own, window, near)
    for factor, group in _by_bandwidth(own, every):
        flat_ones = []
        for window in _windows_near(own, near, group, factor):
            maps, starts, count = _starts(own, window, factor, SLACK)
            flat_ones.append(window.maps[count > FEW])
            kept = (count <= FEW)[maps]
            index, points = highest(own.climb_from(window.maps[maps[kept]], starts[kept]))
            found[index] = points
        for window in _windows_near(own, near, torch.cat(flat_ones), 3 * factor):
            maps, starts, _ = _starts(own, window, 3 * factor, FINE_SLACK)
            index, points = highest(own.climb_from(window.maps[maps], starts))
            found[index] = points
    return found


def _by_bandwidth(own: CellMaps, index: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Yield lattice points per cell and axis, with the maps: twice as many below a cell."""
    fine = own.bandwidth[index] < max(own.grid.spacing)
    for factor, group in ((1, index[~fine]), (2, index[fine])):
        if len(group):
            yield factor, group


def _windows_of_mass(own: CellMaps) -> Iterator[Window]:
    """Yield windows outside which the global mode cannot be."""
    log_least = own.log_probs.flatten(1).amax(1) + math.log(LEFT_OUT)
    margin = own.bandwidth * (-2.0 * log_least).sqrt()
    cost = _cost(own.grid, 1)
    probs = own.log_probs.exp()
    yield from cell_windows(own.log_probs, probs, own.grid, log_least.exp(), margin, cost, CHUNK)


def _mark_near(own: CellMaps, window: Window, near: Float[Tensor, "maps *cells"]) -> None:
    """Write 1 into the cells whose centre may be the one nearest to the global mode.

    At a mode the mean of the kernels' centres, weighted by what each adds there, is the mode
    itself, and along no axis is their variance above `h²`, or else it were no maximum. Centres at
    whole numbers with the mean `n + f` have a variance of at least `f (1 − f)`. So a mode is no
    further from a cell's centre than `f` with `f (1 − f) = (h / spacing)²`, or than half a cell.
    """
    bandwidth = own.bandwidth[window.maps]
    height = _lattice_density(window.logits.exp(), bandwidth, window.grid, 1)
    log_share = torch.zeros_like(bandwidth)
    for spacing in own.grid.spacing:
        ratio = bandwidth / spacing
        offset = 0.5 - 0.5 * (1.0 - 4.0 * ratio.square()).clamp(min=0.0).sqrt()
        log_share -= 0.5 * (offset / ratio).square()
    least = height.flatten(1).amax(1) * log_share.exp() * (1.0 - 2.0 * LEFT_OUT)
    maps, *cells = (height >= least.reshape(-1, *(1,) * own.grid.ndim)).nonzero().unbind(1)
    first = (window.shift / window.shift.new_tensor(own.grid.spacing)).round().long()[maps]
    axes = [cell + first[:, -1 - dim] for dim, cell in enumerate(cells)]
    near[(window.maps[maps], *axes)] = 1.0


def _windows_near(
    own: CellMaps, near: Float[Tensor, "maps *cells"], index: Tensor, factor: int
) -> Iterator[Window]:
    """Yield windows of some maps about the marked cells and the kernels that matter there."""
    margin = 3.0 * own.bandwidth[index] + 0.5 * max(own.grid.spacing)
    tail = torch.full_like(margin, 0.5)
    cost = _cost(own.grid, factor)
    for window in cell_windows(
        own.log_probs[index], near[index], own.grid, tail, margin, cost, CHUNK
    ):
        yield window._replace(maps=index[window.maps])


def _cost(grid: Grid, factor: int) -> Callable[[int], int]:
    """Return how many points a lattice on a window of a width has."""
    return lambda width: math.prod(min(width, count) * factor for count in grid.shape)


def _starts(
    own: CellMaps, window: Window, factor: int, slack: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return starts: which of the window's maps, the points, and how many maxima each map has."""
    bandwidth, grid = own.bandwidth[window.maps], window.grid
    lattice = _lattice_density(window.logits.exp(), bandwidth, grid, factor)
    coarse = max(grid.spacing) / factor / bandwidth
    share = (-0.125 * grid.ndim * coarse.clamp(max=1.0).square()).exp() * 0.999
    maps, flat = _lattice_maxima(lattice, share, slack)
    count = maps.bincount(minlength=len(lattice))
    order = ranked(maps, lattice.flatten(1)[maps, flat], STARTS)[0]
    maps, flat = maps[order], flat[order]
    points = _lattice_points(flat, lattice.shape[1:], grid, factor) + window.shift[maps]
    return maps, points, count


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
        weights = (-0.5 * (apart / widths.reshape(-1, 1, 1)).square()).exp()[which]
        before, after = values.shape[1:dim], values.shape[dim + 1 :]
        if after:
            blocks = values.reshape(len(values), math.prod(before), count, -1)
            values = weights.unsqueeze(1) @ blocks if before else weights @ blocks.squeeze(1)
        else:
            values = values.reshape(len(values), -1, count) @ weights.mT
        values = values.reshape(len(values), *before, len(points), *after)
    return values


def _lattice_maxima(
    lattice: Float[Tensor, "maps *points"], share: Float[Tensor, " maps"], slack: float
) -> tuple[Tensor, Tensor]:
    """Return map and flat index of the lattice points that are highest among their neighbours.

    They also have to have a share of the highest density. Points that are lower than a neighbour
    by no more than the slack count too, unless there are very many, as on a plateau: then only
    true maxima do, and of equal neighbours the first.
    """
    ndim = lattice.dim() - 1
    padded = functional.pad(lattice, (0, 1) * ndim)  # what is wrapped around falls on the padding
    values = padded.flatten()
    least = lattice.flatten(1).amax(1) * share
    where = (padded >= least.reshape(-1, *(1,) * ndim)).flatten().nonzero().squeeze(1)
    strides, strict = padded.stride()[1:], torch.ones_like(where, dtype=torch.bool)
    for step in itertools.product((-1, 0, 1), repeat=ndim):
        if not any(step):
            continue
        shift = sum(a * b for a, b in zip(step, strides, strict=True))
        there = where + shift
        other = values[there.clamp(0, len(values) - 1)].masked_fill(there < 0, 0.0)
        own = values[where]
        strict = strict & (own > other if shift < 0 else own >= other)
        kept = own >= other * (1.0 - slack)
        where, strict = where[kept], strict[kept]
    maps = where // padded[0].numel()
    kept = strict | (maps.bincount(minlength=len(lattice)) <= MANY)[maps]
    maps, where = maps[kept], where[kept]
    flat, rest = torch.zeros_like(where), where % padded[0].numel()
    for stride, count in zip(strides, lattice.shape[1:], strict=True):
        flat = flat * count + rest // stride
        rest = rest % stride
    return maps, flat


def _lattice_points(flat: Tensor, shape: torch.Size, grid: Grid, factor: int) -> Tensor:
    """Return lattice points, `(points, ndim)` in the grid's frame."""
    cells = torch.stack(torch.unravel_index(flat, shape)[::-1], -1).double() / factor
    return grid.from_cells(cells)


def ends_between_cells(own: CellMaps, most: int) -> tuple[Ends, Float[Tensor, " ends"]]:
    """Return where the highest lattice maxima climb to, and the mass of the cells below each.

    Cells go uphill from lattice point to the highest neighbouring lattice point; the lattice
    maximum that they reach then climbs between the points.

    Args:
        own: The maps.
        most: Lattice maxima per map at most.
    """
    found = []
    every = torch.arange(len(own.raw), device=own.raw.device)
    for factor, group in _by_bandwidth(own, every):
        size = math.prod(own.grid.shape) * factor**own.grid.ndim
        for index in group.split(max(1, CHUNK // size)):
            probs = own.log_probs[index].exp()
            lattice = _lattice_density(probs, own.bandwidth[index], own.grid, factor)
            maps, flat, mass = _basins(lattice, probs, factor, most)
            starts = _lattice_points(flat, lattice.shape[1:], own.grid, factor)
            found.append((own.climb_from(index[maps], starts), mass))
    ends, masses = zip(*found, strict=True)
    return Ends(*(torch.cat(fields) for fields in zip(*ends, strict=True))), torch.cat(masses)


def ends_of_cells(
    log_probs: Float[Tensor, "maps *cells"], grid: Grid, most: int
) -> tuple[Ends, Float[Tensor, " ends"]]:
    """Return the most probable cells that no neighbour exceeds, and the mass of the cells below."""
    probs = log_probs.exp()
    maps, flat, mass = _basins(probs, probs, 1, most)
    points = _lattice_points(flat, probs.shape[1:], grid, 1)
    values = log_probs.flatten(1)[maps, flat].double()
    return Ends(maps, points, values, torch.full_like(values, min(grid.spacing))), mass


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
