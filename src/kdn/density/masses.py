"""The mass that each cell of a grid holds, exactly."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from kdn.density.kernels import Kernels, flat_bandwidth, flat_logits, is_separable, kernels_of
from kdn.density.precision import full_precision
from kdn.grid import Grid

if TYPE_CHECKING:
    from kdn.density.distribution import KernelDensity

__all__ = ["cell_masses", "masses_of_part", "parts"]

BLOCK = 1 << 21
"""Elements that a temporary may have; few enough to stay in a processor's cache."""


def cell_masses(density: KernelDensity, refine: int = 1) -> Float[Tensor, "*batch_and_cells"]:
    """Return the probability of each cell of `grid.refine(refine)`.

    Exact: for a Gaussian kernel the mass is a product of differences of the normal distribution
    function along the axes. What lies outside the grid is missing from the sum. Where kernels
    differ, those that hold less than 1e-12 together are left out. No gradient.

    Args:
        density: A `KernelDensity`.
        refine: Cells per cell of the density's grid along each axis.

    Returns:
        `(*batch, *grid.refine(refine).shape)`, of the density's dtype.

    Raises:
        ValueError: If `refine` is not a positive whole number.
    """
    shape = density.grid.refine(refine).shape
    with torch.no_grad(), full_precision(density.logits.device):
        probs = flat_logits(density).double().exp()
        found = density.logits.new_empty((len(probs), *shape))
        for part in parts(len(probs), math.prod(shape)):
            found[part] = masses_of_part(density, probs[part], part, refine).to(found)
        return found.reshape(*density.batch_shape, *shape)


def parts(maps: int, elements: int) -> Iterator[slice]:
    """Yield the maps to be done at once, each of so many elements."""
    size = max(1, BLOCK // elements)
    for first in range(0, maps, size):
        yield slice(first, min(first + size, maps))


def masses_of_part(density: KernelDensity, probs: Tensor, part: slice, refine: int) -> Tensor:
    """Return the masses for some of the flattened maps, `(maps, *refined shape)`.

    Args:
        density: A `KernelDensity`.
        probs: Probabilities of the cells of these maps, `(maps, *grid.shape)`, float64.
        part: Which of the flattened maps they are.
        refine: Cells per cell of the density's grid along each axis.
    """
    grid, ndim = density.grid, density.grid.ndim
    if density.kernel == "uniform":
        for dim in range(1, ndim + 1):
            probs = probs.repeat_interleave(refine, dim)
        return probs / refine**ndim
    edges = [_edges(grid.refine(refine), axis, probs) for axis in range(ndim)]
    if is_separable(density):
        bandwidth = flat_bandwidth(density)[part].double().reshape(-1, 1, 1)
        for axis in range(ndim):
            centres = grid.centres(axis, dtype=probs.dtype, device=probs.device)
            shares = _between(edges[axis], centres.unsqueeze(0), bandwidth.squeeze(-1))
            moved = probs.movedim(ndim - axis, -1)
            spread = moved.flatten(1, -2) if ndim > 1 else moved.unsqueeze(1)
            spread = (spread @ shares).reshape(*moved.shape[:-1], -1)
            probs = spread.movedim(-1, ndim - axis)
        return probs
    kernels = Kernels(*(field.double() for field in kernels_of(density).maps(part)))
    kernels = kernels.without_tail(kernels.log_probs, 1e-12)
    return _of_kernels(kernels, edges).reshape(-1, *grid.refine(refine).shape)


def _of_kernels(kernels: Kernels, edges: list[Tensor]) -> Float[Tensor, "maps rest last"]:
    """Return the masses that kernels with centres of their own give to the cells between edges.

    The shares along all axes but the last are multiplied out for each kernel; so many kernels are
    added at once that this takes no more than `BLOCK` elements, however large a volume is.
    """
    counts = [len(edge) - 1 for edge in edges]
    maps, total = kernels.log_probs.shape
    most = max(1, BLOCK // (maps * max(math.prod(counts[:-1]), sum(counts))))
    found = edges[0].new_zeros(maps, counts[-1], math.prod(counts[:-1]))
    for first in range(0, total, most):
        some = Kernels(*(field[:, first : first + most] for field in kernels))
        masses = some.log_probs.exp().unsqueeze(-1)
        for axis, edge in enumerate(edges):
            shares = _between(edge, some.centres[..., axis], some.bandwidth)
            if axis < len(edges) - 1:
                masses = (shares.unsqueeze(-1) * masses.unsqueeze(-2)).flatten(2)
            else:
                found.baddbmm_(shares.mT, masses)
    return found


def _edges(grid: Grid, axis: int, like: Tensor) -> Tensor:
    """Return the edges of the cells along an axis, one more than there are cells."""
    steps = torch.arange(grid.shape[-1 - axis] + 1, dtype=like.dtype, device=like.device)
    return grid.low[axis] + grid.spacing[axis] * steps


def _between(edges: Tensor, centres: Tensor, bandwidth: Tensor) -> Tensor:
    """Return the share of each kernel between neighbouring edges, `(maps, kernels, cells)`."""
    ratios = (edges - centres.unsqueeze(-1)) / bandwidth.unsqueeze(-1)
    upper, lower = ratios[..., 1:], ratios[..., :-1]
    turned = lower > 0  # far above the centre both are 1: take the difference from the other side
    below = torch.special.ndtr(torch.where(turned, -lower, upper))
    return below - torch.special.ndtr(torch.where(turned, -upper, lower))
