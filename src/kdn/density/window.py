"""The part of each map that matters: lists of few kernels, windows of few cells.

A trained network's maps are peaked: all but a thousandth of the mass is on some tens of cells, but
on one map in ten it is on hundreds. So maps are cut down to their own size and then taken in groups
of similar size, instead of all to the size of the largest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from kdn.density.kernels import Kernels
from kdn.grid import Grid

__all__ = ["Window", "cell_windows", "groups", "kernel_lists"]


class Window(NamedTuple):
    """The same number of neighbouring cells of several maps.

    Attributes:
        maps: Which maps they are.
        logits: `(maps, *grid.shape)`.
        grid: A grid of the window's shape, with the origin of the whole one.
        shift: `(maps, ndim)`, from a point in that grid's frame to where it really is.
    """

    maps: Tensor
    logits: Tensor
    grid: Grid
    shift: Tensor


def groups(
    sizes: Int[Tensor, " items"], cost: Callable[[int], int], budget: int
) -> Iterator[tuple[int, Tensor]]:
    """Yield items of similar size, within a factor of √2: the largest size, and which they are.

    Args:
        sizes: At least 1.
        cost: Elements that one item of a size takes.
        budget: Elements that a group may take; a single item may take more.
    """
    classes = (2.0 * sizes.double().log2()).ceil().long()
    for value in classes.unique().tolist():
        index = (classes == value).nonzero().squeeze(1)
        largest = int(sizes[index].max())
        for part in index.split(max(1, budget // cost(largest))):
            yield largest, part


def kernel_lists(
    kernels: Kernels,
    log_size: Float[Tensor, "maps kernels"],
    tail: float,
    cost: Callable[[int], int],
    budget: int,
) -> Iterator[tuple[Tensor, Kernels]]:
    """Yield maps with their largest kernels, in the order of the cells.

    Args:
        kernels: All kernels.
        log_size: By what they are ordered and added up.
        tail: What the kernels left out may add up to.
        cost: Elements that a list of a length takes; see `groups`.
        budget: Elements that a group may take.
    """
    ordered, order = log_size.sort(dim=1, descending=True)
    rest = ordered.exp().flip(1).cumsum(1).flip(1)
    counts = (rest > tail).sum(1).clamp(min=1)
    for count, maps in groups(counts, cost, budget):
        yield maps, kernels.maps(maps).take(order[maps, :count].sort(1).values)


def cell_windows(
    logits: Float[Tensor, "maps *cells"],
    mass: Float[Tensor, "maps *cells"],
    grid: Grid,
    tail: Float[Tensor, " maps"],
    margin: Float[Tensor, " maps"],
    cost: Callable[[int], int],
    budget: int,
) -> Iterator[Window]:
    """Yield maps cut to a window outside which there is no more mass than `tail`.

    Args:
        logits: What is cut.
        mass: What the cells hold.
        grid: Where the cells are.
        tail: Mass that may be left out, per map.
        margin: How far beyond the mass the window reaches, in the grid's unit.
        cost: Elements that a window with so many cells along its longest side takes.
        budget: Elements that a group may take.
    """
    firsts, widths = [], []
    for dim in range(1, grid.ndim + 1):
        others = [other for other in range(1, grid.ndim + 1) if other != dim]
        marginal = (mass.sum(others) if others else mass).double()
        count, reach = marginal.shape[1], (margin / grid.spacing[grid.ndim - dim]).ceil().long()
        side = (tail.double() / (2 * grid.ndim)).unsqueeze(1)
        first = ((marginal.cumsum(1) < side).sum(1) - reach).clamp(min=0)
        beyond = ((marginal.flip(1).cumsum(1) < side).sum(1) - reach).clamp(min=0)
        firsts.append(first)
        widths.append((count - beyond - first).clamp(min=1))
    for width, maps in groups(torch.stack(widths).amax(0), cost, budget):
        yield _window(logits, grid, maps, [first[maps] for first in firsts], width)


def _window(logits: Tensor, grid: Grid, maps: Tensor, firsts: list[Tensor], width: int) -> Window:
    """Return the windows of some maps, at most so many cells wide, by their first cells."""
    index = maps.reshape(-1, *(1,) * grid.ndim)
    shape: list[int] = []
    shift = []
    for dim, (first, count) in enumerate(zip(firsts, grid.shape, strict=True)):
        shape.append(min(width, count))
        first = first.clamp(max=count - shape[-1])
        cells = torch.arange(shape[-1], device=logits.device)
        cells = first.unsqueeze(1) + cells
        outer, inner = (1,) * dim, (1,) * (grid.ndim - 1 - dim)
        index = index * count + cells.reshape(len(maps), *outer, -1, *inner)
        shift.append(first.double() * grid.spacing[grid.ndim - 1 - dim])
    return Window(
        maps,
        logits.flatten()[index],
        Grid(tuple(shape), grid.origin, grid.spacing),
        torch.stack(shift[::-1], -1),
    )
