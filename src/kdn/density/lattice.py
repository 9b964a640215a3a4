"""Log-densities on lattices that cover the mass of each map, for integrals without closed form."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution

from kdn.density.kernels import flat_bandwidth, flat_logits
from kdn.density.mapped import MappedDensity
from kdn.grid import Affine

if TYPE_CHECKING:
    from kdn.density.combined import CombinedDensity
    from kdn.density.distribution import KernelDensity
    from kdn.density.gaussian import GaussianDensity

    Component = KernelDensity | GaussianDensity | MappedDensity | CombinedDensity

__all__ = [
    "Lattice",
    "extent_of",
    "finest_of",
    "is_fast",
    "lattice_of",
    "log_density_on",
    "rows_of",
]

REACH = 6.5
"""Standard deviations of a kernel that a lattice reaches beyond its centre."""

FINE = 0.8
"""Steps of a lattice per standard deviation of the narrowest kernel: the midpoint rule then errs by
a share of 2·exp(−2π²/0.64) of a Gaussian, below 1e-12."""

_FAST, _SLOW = 1024, 160
"""Most steps along an axis, where axes can be summed in turn and where they cannot."""

_COARSE, _TAIL = 3.0, 1e-7
"""How much coarser the first lattice is, and the mass that may be left out on each side of it; a
peak between its steps seems lower by 0.2 · 3² nats at most."""

_LEAST = 1e-290
"""What is smaller may have lost digits to underflow in the fast way, and counts as 0."""


class Lattice(NamedTuple):
    """Log-densities at the middles of the cells of a lattice, one for each map.

    Attributes:
        x: `(maps, columns)`.
        y: `(maps, rows)`.
        values: Log-densities, `(maps, rows, columns)`, float64.
    """

    x: Tensor
    y: Tensor
    values: Tensor

    @property
    def log_area(self) -> Float[Tensor, " maps"]:
        """Logarithm of the area of a cell."""
        return ((self.x[:, 1] - self.x[:, 0]) * (self.y[:, 1] - self.y[:, 0])).log()

    @property
    def log_total(self) -> Float[Tensor, " maps"]:
        """Logarithm of the integral; −∞ where the density is nowhere positive."""
        return self.values.flatten(1).logsumexp(1) + self.log_area

    @property
    def masses(self) -> Float[Tensor, "maps rows columns"]:
        """Mass of each cell, of all of them."""
        return self.values.flatten(1).softmax(1).view_as(self.values)


def lattice_of(
    log_density: Callable[[Tensor, Tensor], Tensor],
    low: Float[Tensor, "maps 2"],
    high: Float[Tensor, "maps 2"],
    finest: Float[Tensor, " maps"],
    *,
    fast: bool,
) -> Lattice:
    """Return a lattice with steps that suit the narrowest kernels, over the mass within a box.

    A first lattice of coarser steps says outside of which box less than 1e-7 of the mass lies on
    each side. Where even that takes too many steps, the box shrinks to what is within `exp(−30)` of
    the peak, less what a peak between two steps may seem lower; if steps stay larger after that,
    integrals are only as exact as these are fine.

    Args:
        log_density: Of `x` `(maps, columns)` and `y` `(maps, rows)`, `(maps, rows, columns)`.
        low: Corner of the box.
        high: The other one.
        finest: Largest step that is fine.
        fast: Whether many steps are cheap.
    """
    most, coarse = _FAST if fast else _SLOW, _COARSE
    for _ in range(12):
        wanted = coarse * finest.unsqueeze(-1)
        count = int(((high - low) / wanted).max().ceil().clamp(min=16, max=most))
        middle = (torch.arange(count, device=low.device).double() + 0.5) / count
        step = (high - low) / count
        x, y = (low[:, i, None] + (high - low)[:, i, None] * middle for i in (0, 1))
        found = Lattice(x, y, log_density(x, y))
        reached = bool((step <= 1.001 * wanted).all())
        if reached and coarse == 1.0:
            break
        old = high - low
        if reached:
            low, high = _of_mass(found, step)
        else:
            slack = 0.2 * (step.amax(-1) / finest).square()
            limit = found.values.flatten(1).amax(1) - 30.0 - slack
            there = found.values >= limit.reshape(-1, 1, 1)
            low, high = _shrunk(there.any(1), there.any(2), found, step)
            if coarse == 1.0 and bool((high - low > 0.9 * old).all(-1).all()):
                break
        if reached or bool((high - low > 0.9 * old).all(-1).all()):
            coarse = 1.0
    return found


def _of_mass(found: Lattice, step: Tensor) -> tuple[Tensor, Tensor]:
    """Return the box outside of which less than `_TAIL` of the mass lies on each side."""
    masses = found.masses
    marked = []
    for marginal in (masses.sum(1), masses.sum(2)):
        below = marginal.cumsum(1)
        above = marginal.flip(1).cumsum(1).flip(1)
        marked.append((below > _TAIL) & (above > _TAIL))
    return _shrunk(marked[0], marked[1], found, step)


def _shrunk(across: Tensor, down: Tensor, found: Lattice, step: Tensor) -> tuple[Tensor, Tensor]:
    """Return the box of the columns and rows that are marked, and of their neighbours."""
    lows, highs = [], []
    for axis, (place, marked) in enumerate(((found.x, across), (found.y, down))):
        lows.append(place.masked_fill(~marked, math.inf).amin(1) - 1.5 * step[:, axis])
        highs.append(place.masked_fill(~marked, -math.inf).amax(1) + 1.5 * step[:, axis])
    return torch.stack(lows, -1), torch.stack(highs, -1)


def log_density_on(
    density: Component,
    x: Float[Tensor, "maps columns"],
    y: Float[Tensor, "maps rows"],
    *,
    fast: bool,
) -> Float[Tensor, "maps rows columns"]:
    """Return the log-density of each map on a lattice of its own, in float64.

    Args:
        density: Of batch shape `(maps,)`.
        x: Columns of each lattice.
        y: Rows.
        fast: By products of matrices, for which the axes of the density must be such that they can
            be summed in turn (`is_fast`), and which give −∞ below 1e-290; else by `log_prob` at
            every point.
    """
    if not fast:
        points = torch.stack(torch.broadcast_tensors(x.unsqueeze(1), y.unsqueeze(2)), -1)
        flat = points.flatten(1, 2).transpose(0, 1).reshape(-1, *density.batch_shape, 2)
        values = density.log_prob(flat.to(density.mean)).double()
        return values.reshape(points.shape[1] * points.shape[2], -1).T.reshape(points.shape[:-1])
    if not isinstance(density, MappedDensity):
        return _separable(density, x, y)  # type: ignore[arg-type]
    scale = density.affine.linear.to(x).diagonal(dim1=-2, dim2=-1)
    offset = density.affine.offset.to(x)
    x, y = ((place - offset[:, i, None]) / scale[:, i, None] for i, place in enumerate((x, y)))
    inner = log_density_on(density.density, x, y, fast=True)
    return inner - scale.abs().log().sum(-1).reshape(-1, 1, 1)


def _separable(density: KernelDensity, x: Tensor, y: Tensor) -> Tensor:
    """Return the log-density by products of matrices."""
    probs = flat_logits(density).double().flatten(1).softmax(1).reshape(-1, *density.grid.shape)
    bandwidth = flat_bandwidth(density).double().reshape(-1, 1, 1)
    across, down = (
        torch.exp(
            -0.5
            * (
                (place.unsqueeze(-1) - density.grid.centres(axis, dtype=x.dtype, device=x.device))
                / bandwidth
            ).square()
        )
        for axis, place in enumerate((x, y))
    )
    value = down @ probs @ across.mT
    value = value.masked_fill_(value < _LEAST, 0.0).log_()
    return value - 2.0 * bandwidth.log() - math.log(2.0 * math.pi)


def is_fast(density: Distribution) -> bool:
    """Return whether axes of a density can be summed in turn."""
    if isinstance(density, MappedDensity):
        linear = density.affine.linear
        turned = bool((linear[..., 0, 1] != 0).any() or (linear[..., 1, 0] != 0).any())
        return not turned and is_fast(density.density)
    return bool(getattr(density, "separable", False))


def finest_of(density: Component) -> Float[Tensor, " maps"]:
    """Return the standard deviation of the narrowest kernel of each map; see `FINE`.

    A uniform kernel counts as a quarter of its cell.
    """
    if isinstance(density, MappedDensity):
        linear = density.affine.linear.double().reshape(-1, 2, 2)
        narrow = torch.linalg.svdvals(linear)[:, -1]
        return finest_of(density.density) * narrow.to(density.density.mean.device)
    components = getattr(density, "components", None)
    if components is not None:
        return torch.stack([finest_of(part) for part in components]).amin(0)
    scale = getattr(density, "scale_tril", None)
    if scale is not None:
        return torch.linalg.svdvals(scale.double().reshape(-1, *scale.shape[-2:]))[:, -1]
    if density.kernel == "uniform":  # type: ignore[union-attr]
        size = density.raw_logits.new_tensor(min(density.grid.spacing)).double()  # type: ignore
        return 0.25 * size.expand(math.prod(density.batch_shape))
    bandwidth = flat_bandwidth(density).double()  # type: ignore[arg-type]
    return bandwidth if bandwidth.dim() == 1 else bandwidth.amin(1)


def extent_of(density: Component) -> tuple[Float[Tensor, "maps 2"], Float[Tensor, "maps 2"]]:
    """Return the corners of a box that holds all kernels of each map and their tails."""
    if isinstance(density, MappedDensity):
        low, high = extent_of(density.density)
        corners = torch.stack(
            [torch.stack([a[:, 0], b[:, 1]], -1) for a in (low, high) for b in (low, high)], 1
        )
        linear = density.affine.linear.double().to(low.device).reshape(-1, 1, 2, 2)
        offset = density.affine.offset.double().to(low.device).reshape(-1, 1, 2)
        moved = (linear @ corners.unsqueeze(-1)).squeeze(-1) + offset
        return moved.amin(1), moved.amax(1)
    components = getattr(density, "components", None)
    if components is not None:
        lows, highs = zip(*(extent_of(part) for part in components), strict=True)
        return torch.stack(lows).amin(0), torch.stack(highs).amax(0)
    scale = getattr(density, "scale_tril", None)
    if scale is not None:
        mean = density.mean.double().reshape(-1, 2)
        tail = REACH * scale.double().reshape(-1, 2, 2).square().sum(-1).sqrt()
        return mean - tail, mean + tail
    return _extent_of_cells(density)  # type: ignore[arg-type]


def _extent_of_cells(density: KernelDensity) -> tuple[Tensor, Tensor]:
    """Return the box of a kernel density."""
    maps, logits = math.prod(density.batch_shape), density.raw_logits
    if density.kernel == "uniform":
        low, high = (
            logits.new_tensor(end).double() for end in (density.grid.low, density.grid.high)
        )
        return low.expand(maps, 2), high.expand(maps, 2)
    centres = density.centres.detach().double()
    centres = centres.expand(*density.batch_shape, *centres.shape[-2:]).reshape(maps, 2, -1)
    bandwidth = flat_bandwidth(density).double()
    widest = bandwidth if bandwidth.dim() == 1 else bandwidth.amax(1)
    tail = REACH * widest.unsqueeze(-1)
    return centres.amin(-1) - tail, centres.amax(-1) + tail


def rows_of(density: Any, rows: slice) -> Any:
    """Return the densities of some of the maps of a flattened batch, of batch shape `(maps,)`.

    Args:
        density: A density over the plane.
        rows: Which of the maps.
    """
    if isinstance(density, MappedDensity):
        linear = density.affine.linear.reshape(-1, 2, 2)[rows]
        offset = density.affine.offset.reshape(-1, 2)[rows]
        return MappedDensity(rows_of(density.density, rows), Affine(linear, offset))
    components = getattr(density, "components", None)
    if components is not None:
        return type(density)([rows_of(part, rows) for part in components], density.weights)
    scale = getattr(density, "scale_tril", None)
    if scale is not None:
        return type(density)(density.mean.reshape(-1, 2)[rows], scale.reshape(-1, 2, 2)[rows])
    shape, grid = density.grid.shape, density.grid
    bandwidth, offsets = density.bandwidth, density.offsets
    if bandwidth is not None:
        bandwidth = bandwidth.reshape(-1, *(shape if density.per_cell else ()))[rows]
    return type(density)(
        density.raw_logits.reshape(-1, *shape)[rows],
        grid,
        kernel=density.kernel,
        bandwidth=bandwidth,
        offsets=None if offsets is None else offsets.reshape(-1, 2, *shape)[rows],
    )
