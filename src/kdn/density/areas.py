"""Areas of regions of highest density: how sharp a density is at a level."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from kdn.density.kernels import flat_logits
from kdn.density.nodes import nodes_of
from kdn.density.precision import full_precision

if TYPE_CHECKING:
    from kdn.density.distribution import KernelDensity

__all__ = ["ellipsoid_volume", "hdr_area", "levels_within"]

BISECTIONS = 100
"""Halvings of the bracket of a quantile: exact in float64."""


def hdr_area(
    density: KernelDensity, level: float | Float[Tensor, "*any"], *, nodes: int = 1024
) -> Float[Tensor, "*sample_and_batch"]:
    """Return the area of the region of highest density that holds `level` of the mass.

    A length on a 1-D grid, a volume on a 3-D one; in the grid's unit to the `ndim`. A point lies in
    the region if its `hdr_level` is at most `level`. With `p(u)` the density whose region holds
    `u`, the area is `∫ 1 / p(u) du` from 0 to `level`; it is continuous and convex in `level`.

    Uniform kernel: exact. Cells are taken from the most probable on, the last one in part, so that
    the region holds `level` exactly; where whole cells do, it is the area of `hdr_mask`. At 1 it
    is the area of the cells that hold anything. Gaussian kernels: the sum of `1 / p` over the
    nodes from the densest on, the last one in part, and beyond the least dense one the tail of a
    Gaussian; infinite at 1. With 1024 nodes the error for
    levels up to 0.95 is at most 6 %, and typically 1 %, on maps of dozens of kernels that hardly
    overlap, and below 1 % for one kernel in the plane.

    Carries no gradient.

    Args:
        density: A `KernelDensity`.
        level: Shares of the mass, 0 to 1: a number, or `(*sample, *batch)` as far as they
            broadcast: one level per landmark, say, or several in front.
        nodes: Number of nodes, for Gaussian kernels.

    Returns:
        Areas, `(*sample, *batch)`.

    Raises:
        ValueError: If a level is not within 0 to 1, its shape does not broadcast to the batch's,
            or `nodes` is not positive.

    Example:
        >>> from kdn.density import KernelDensity
        >>> from kdn.grid import Grid
        >>> probs = torch.tensor([[0.4, 0.1, 0.2], [0.06, 0.08, 0.16]])
        >>> grid = Grid((2, 3), (0.0, 0.0), (2.0, 2.0))
        >>> density = KernelDensity(probs.log(), grid, kernel="uniform")
        >>> [round(hdr_area(density, level).item(), 4) for level in (0.4, 0.5, 0.6)]
        [4.0, 6.0, 8.0]
    """
    if nodes < 1:
        raise ValueError(f"nodes must be positive, got {nodes}")
    levels = levels_within(level, density.batch_shape, density.raw_logits.device)
    with torch.no_grad(), full_precision(density.logits.device):
        if density.kernel == "uniform":
            masses = flat_logits(density).flatten(1).sort(1, descending=True).values.double().exp()
            volumes = density.grid.cell_volume * (masses > 0)
        else:
            values = nodes_of(density, nodes).values.sort(1, descending=True).values.double()
            masses, volumes = torch.full_like(values, 1.0 / nodes), (-values).exp() / nodes
        shape = torch.broadcast_shapes(levels.shape, density.batch_shape)
        asked = levels.expand(shape).reshape(-1, len(masses)).T.contiguous()
        within = asked if density.kernel == "uniform" else asked.clamp(max=1.0 - 1.0 / nodes)
        areas = _areas(masses, volumes, within)
        if density.kernel != "uniform":
            # Beyond the last node, the tail of a Gaussian in the plane: each nat further down adds
            # as much area as the mass that is left takes up at the density of its edge.
            further = (1.0 / nodes / (1.0 - asked)).clamp(min=1.0).log() * volumes[:, -1:]
            areas = areas + further
        return areas.T.reshape(shape).to(density.raw_logits.dtype)


def _areas(masses: Tensor, volumes: Tensor, asked: Tensor) -> Tensor:
    """Return the volume of the first pieces that hold the levels asked for, the last in part.

    Args:
        masses: `(maps, pieces)`, from the densest on.
        volumes: `(maps, pieces)`.
        asked: `(maps, levels)`.
    """
    held, filled = masses.cumsum(1), volumes.cumsum(1)
    wanted = asked * held[:, -1:]
    last = torch.searchsorted(held, wanted).clamp(max=masses.shape[1] - 1)
    own, piece = masses.gather(1, last), volumes.gather(1, last)
    missing = (held.gather(1, last) - wanted) / own.where(own > 0, 1.0)
    return filled.gather(1, last) - missing.clamp(0.0, 1.0) * piece


def levels_within(
    level: float | Float[Tensor, "*any"], batch: torch.Size, device: torch.device
) -> Float[Tensor, "*any"]:
    """Return levels as a float64 tensor.

    Raises:
        ValueError: If one is not within 0 to 1, or they do not broadcast to `(*sample, *batch)`.
    """
    levels = torch.as_tensor(level, dtype=torch.float64, device=device).detach()
    if not bool(((levels >= 0) & (levels <= 1)).all()):
        raise ValueError(f"level must be 0 to 1, got {level}")
    try:
        shape = torch.broadcast_shapes(levels.shape, batch)
    except RuntimeError:
        shape = None
    if shape is None or shape[len(shape) - len(batch) :] != batch:
        raise ValueError(
            f"level must be a number or of a shape that broadcasts to (*sample, "
            f"{', '.join(map(str, batch))}), got {tuple(levels.shape)}"
        )
    return levels


def ellipsoid_volume(levels: Float[Tensor, "*any"], ndim: int) -> Float[Tensor, "*any"]:
    """Return the volume of the ball that holds `levels` of a standard normal distribution.

    `V_ndim · q^(ndim / 2)`, `q` the quantile of χ², by bisection except in one and two dimensions.

    Example:
        >>> ellipsoid_volume(torch.tensor([0.0, 0.5, 1.0]).double(), 2).tolist()
        [0.0, 4.355172180607204, inf]
    """
    if ndim == 1:
        return 2.0 * torch.special.ndtri(0.5 + 0.5 * levels)
    if ndim == 2:
        return -2.0 * math.pi * torch.log1p(-levels)
    half = levels.new_tensor(0.5 * ndim)
    low, high = torch.zeros_like(levels), torch.full_like(levels, 50.0 + 10.0 * ndim)
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        short = torch.special.gammainc(half, middle) < levels
        low, high = torch.where(short, middle, low), torch.where(short, high, middle)
    ball = math.pi ** (0.5 * ndim) / math.gamma(0.5 * ndim + 1.0)
    return torch.where(levels < 1.0, ball * (2.0 * high) ** (0.5 * ndim), math.inf)
