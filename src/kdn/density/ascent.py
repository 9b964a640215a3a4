"""Climbing to local maxima, many at a time, and which of those reached are the highest.

Any log-density is climbed by stencils. On mixtures of Gaussian kernels each start runs its own
safeguarded Newton iteration on `log p`. With responsibilities `r` of the kernels at `y`, and
`v_k = (μ_k − y)/h_k²`,

* `∇ log p = Σ r v`
* `∇² log p = Σ r v vᵀ − I Σ r/h² − (∇ log p)(∇ log p)ᵀ`
* a mean-shift step is `∇ log p / Σ r/h²`; it never lowers the density.

Where a Newton step would lower the density, a mean-shift step is taken instead, so that the
density at the end is at least that at the start.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from kdn.density.kernels import Gaussian
from kdn.density.maps import REACH, KernelList, KernelMaps

__all__ = [
    "CellField",
    "Ends",
    "Field",
    "KernelField",
    "Local",
    "climb",
    "climb_stencils",
    "highest",
    "merged",
    "ranked",
]

ROUNDS, STEPS = 40, 4
"""Steps are made in rounds; what has arrived leaves, and the rest looks around itself anew."""

STRAY, SEEN = 1.0, 25.0
"""How far a round may lead, in length scales, before it has to look around itself anew; and what is
seen there: exp(−25) = 1e-11."""

STENCILS = 60
SMALL = 3e-4
"""Nats: what all neighbours of a stencil's middle are lower by at most, where a start arrives."""

SAME = 0.01
"""Maxima nearer than this share of their length scale are one."""


class Local(NamedTuple):
    """A log-density and its first two derivatives at one point per start.

    `precision` is `Σ r/h²`; its inverse square root is the length in which steps are measured.
    """

    value: Float[Tensor, " starts"]
    gradient: Float[Tensor, "starts ndim"]
    hessian: Float[Tensor, "starts ndim ndim"]
    precision: Float[Tensor, " starts"]


class Ends(NamedTuple):
    """Where starts of several maps ended.

    Attributes:
        maps: The map of each start, `(starts,)`.
        points: `(starts, ndim)`, in the grid's frame.
        values: Log-density there, up to a constant per map, `(starts,)`.
        scale: Length scale there: a bandwidth, or a mean of bandwidths, `(starts,)`.
    """

    maps: Tensor
    points: Tensor
    values: Tensor
    scale: Tensor


@runtime_checkable
class Field(Protocol):
    """Log-densities to climb on: the map of each start, and what it looks like around points."""

    maps: Tensor

    def around(self, rows: Tensor, points: Tensor) -> Callable[[Tensor], Local]:
        """Return the log-densities of some starts as a function that holds near the points."""
        ...


class CellField:
    """Maps with kernels at the cell centres and one bandwidth each.

    Only a window of cells around each start is looked at, as a product over the axes.
    """

    def __init__(self, cells: KernelMaps, maps: Int[Tensor, " starts"]):
        if cells.bandwidth is None:
            raise ValueError("cells must have a bandwidth, got none")
        self.logits, self.bandwidth = cells.logits, cells.bandwidth
        self.grid, self.maps = cells.grid, maps

    def around(self, rows: Tensor, points: Tensor) -> Callable[[Tensor], Local]:
        """Return the log-densities of the starts `rows` near `points`, in float64."""
        maps = self.maps[rows]
        bandwidth = self.bandwidth[maps].double().unsqueeze(1)
        index = maps.reshape(-1, *(1,) * self.grid.ndim)
        coordinates = []
        for axis in range(self.grid.ndim - 1, -1, -1):
            cells = self._window(axis, float(bandwidth.max()), points[:, axis])
            coordinates.append(self.grid.origin[axis] + self.grid.spacing[axis] * cells.double())
            shape = [len(rows)] + [1] * self.grid.ndim
            shape[self.grid.ndim - axis] = -1
            index = index * self.grid.shape[-1 - axis] + cells.reshape(shape)
        log_probs = self.logits.flatten()[index]
        peak = log_probs.flatten(1).amax(1)
        probs = (log_probs - peak.reshape(-1, *(1,) * self.grid.ndim)).exp_().double()
        peak = peak.double() - self.grid.ndim * (
            bandwidth[:, 0].log() + 0.5 * math.log(2 * math.pi)
        )
        return lambda here: _separable(probs, coordinates, bandwidth, peak, here)

    def _window(self, axis: int, bandwidth: float, points: Tensor) -> Tensor:
        """Return the cells along an axis that are within reach, as many for every start."""
        count, spacing = self.grid.shape[-1 - axis], self.grid.spacing[axis]
        width = min(count, 2 * math.ceil(REACH * bandwidth / spacing) + 3)
        middle = (points - self.grid.origin[axis]) / spacing
        first = (middle - 0.5 * (width - 1)).round().long().clamp(0, count - width)
        return first.unsqueeze(1) + torch.arange(width, device=points.device)


def _separable(
    probs: Tensor, coordinates: list[Tensor], bandwidth: Tensor, peak: Tensor, points: Tensor
) -> Local:
    """Evaluate windows of cells from their moments of order 0 to 2 along each axis."""
    ndim = len(coordinates)
    moments = probs
    for dim, centres in enumerate(coordinates):  # tensor order: the last event axis first
        u = (centres - points[:, ndim - 1 - dim].unsqueeze(1)) / bandwidth
        powers = (-0.5 * u * u).exp().unsqueeze(1) * torch.stack([torch.ones_like(u), u, u * u], 1)
        rest = moments.shape[2:]
        moments = (powers @ moments.reshape(*moments.shape[:2], -1)).reshape(-1, 3, *rest)
        moments = moments.movedim(1, -1)
    total = moments.reshape(len(points), -1)[:, 0]

    def moment(*axes: int) -> Tensor:
        orders = [axes.count(axis) for axis in range(ndim - 1, -1, -1)]
        return moments[(slice(None), *orders)] / total

    first = torch.stack([moment(i) for i in range(ndim)], -1)
    pairs = [torch.stack([moment(i, j) for j in range(ndim)], -1) for i in range(ndim)]
    second = torch.stack(pairs, -2) - first.unsqueeze(-1) * first.unsqueeze(-2)
    identity = torch.eye(ndim, dtype=first.dtype, device=first.device)
    precision = bandwidth[:, 0].pow(-2)
    hessian = (second - identity) * precision.reshape(-1, 1, 1)
    return Local(total.log() + peak, first / bandwidth, hessian, precision)


class KernelField:
    """Maps with a list of kernels each, anywhere and of any bandwidth."""

    def __init__(self, kernels: KernelList, maps: Int[Tensor, " starts"]):
        self.kernels, self.maps = kernels, maps

    def around(self, rows: Tensor, points: Tensor) -> Callable[[Tensor], Local]:
        """Return the log-densities of the starts `rows` near `points`, in float64.

        Left out are kernels that within `STRAY` length scales add less than `exp(−SEEN)` each of
        the density at the point.
        """
        kernels = KernelList(*(field.double() for field in self.kernels.maps(self.maps[rows])))
        kernels = kernels._replace(log_probs=kernels.log_peaks(Gaussian()))
        log_weights, inverse = kernels.log_probs, kernels.scale.pow(-2)
        apart = (kernels.centres - points.unsqueeze(1)).norm(dim=-1)
        terms = log_weights - 0.5 * apart.square() * inverse
        value = terms.logsumexp(1, keepdim=True)
        precision = ((terms - value).exp() * inverse).sum(1, keepdim=True)
        nearest = (apart - STRAY * precision.rsqrt()).clamp(min=0.0)
        best = log_weights - 0.5 * nearest.square() * inverse
        count = int((best > value - SEEN).sum(1).max())
        few = kernels.take(best.topk(count, 1, sorted=False).indices)
        inverse, log_weights = few.scale.pow(-2), few.log_probs
        return lambda here: _mixture(few.centres, inverse, log_weights, here)


def _mixture(centres: Tensor, inverse: Tensor, log_weights: Tensor, points: Tensor) -> Local:
    """Evaluate a list of kernels with inverse squared bandwidths."""
    apart = centres - points.unsqueeze(1)
    terms = log_weights - 0.5 * apart.square().sum(-1) * inverse
    value = terms.logsumexp(1)
    shares = (terms - value.unsqueeze(1)).exp() * inverse
    precision = shares.sum(1)
    gradient = (shares.unsqueeze(1) @ apart).squeeze(1)
    outer = apart.mT @ (apart * (shares * inverse).unsqueeze(-1))
    identity = torch.eye(points.shape[-1], dtype=points.dtype, device=points.device)
    hessian = outer - identity * precision.reshape(-1, 1, 1)
    hessian = hessian - gradient.unsqueeze(-1) * gradient.unsqueeze(-2)
    return Local(value, gradient, hessian, precision)


def climb(field: Field, starts: Float[Tensor, "starts ndim"]) -> Ends:
    """Return the local maximum that each start climbs to.

    Ends when the Newton step is below 1e-7 length scales or promises less than 1e-15 nats.
    """
    points = starts.double().clone()
    values, scale = points.new_full(points.shape[:1], -math.inf), points.new_ones(len(points))
    left = torch.arange(len(points), device=points.device)
    for _ in range(ROUNDS):
        if not len(left):
            break
        arrived, here, local = _round(field.around(left, points[left]), points[left])
        points[left], values[left], scale[left] = here, local.value, local.precision.rsqrt()
        left = left[~arrived]
    return Ends(field.maps, points, values, scale)


def _round(evaluate: Callable[[Tensor], Local], points: Tensor) -> tuple[Tensor, Tensor, Local]:
    """Make a few steps; return who has arrived, the points and the log-densities there."""
    here, began = evaluate(points), points
    scale = here.precision.rsqrt()
    careful = torch.zeros(len(points), dtype=torch.bool, device=points.device)
    arrived = careful
    for step_number in range(STEPS + 1):
        newton, settled = _newton_step(here)
        strayed = (points - began).norm(dim=-1) > STRAY * scale
        arrived = settled & ~strayed
        if step_number == STEPS or bool(arrived.all()):
            break
        shift = here.gradient / here.precision.unsqueeze(1)
        proposal = points + torch.where(careful.unsqueeze(1), shift, newton)
        ahead = evaluate(proposal)
        better = ahead.value >= here.value - 1e-14
        points = torch.where(better.unsqueeze(1), proposal, points)
        here = Local(
            *(
                torch.where(better.reshape(-1, *(1,) * (new.dim() - 1)), new, old)
                for new, old in zip(ahead, here, strict=True)
            )
        )
        careful = ~better
    return arrived, points, here


def _newton_step(here: Local) -> tuple[Tensor, Tensor]:
    """Return an uphill step of at most a third of a length scale, and whether a maximum is reached.

    Along directions in which the log-density is convex the sign of the step is turned. A start
    that sits on a saddle is pushed off it.
    """
    curvature, directions = _eigen(here.hessian)
    slope = (directions.mT @ here.gradient.unsqueeze(-1)).squeeze(-1)
    reach = here.precision.rsqrt()
    floor = 1e-12 * here.precision.unsqueeze(1)
    along = slope / torch.maximum(curvature.abs(), floor)
    length = along.norm(dim=-1)
    gain = (along * slope).sum(-1)
    still = (length < 1e-7 * reach) | (gain < 1e-15)
    saddle = still & (curvature[:, -1] > 1e-6 * here.precision)
    along = along * (0.3 * reach / length.clamp(min=1e-300)).clamp(max=1.0).unsqueeze(1)
    along[:, -1] = torch.where(saddle, 0.1 * reach, along[:, -1])
    return (directions @ along.unsqueeze(-1)).squeeze(-1), still & ~saddle


def _eigen(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Return eigenvalues, rising, and eigenvectors; in closed form for the usual 2×2.

    `torch.linalg.eigh` goes through matrices one by one, several microseconds each.
    """
    if matrices.shape[-1] != 2:
        return torch.linalg.eigh(matrices)
    xx, xy, yy = matrices[:, 0, 0], matrices[:, 0, 1], matrices[:, 1, 1]
    middle, half, radius = 0.5 * (xx + yy), 0.5 * (xx - yy), torch.hypot(0.5 * (xx - yy), xy)
    angle = 0.5 * torch.atan2(xy, half)
    cos, sin = angle.cos(), angle.sin()
    vectors = torch.stack([torch.stack([-sin, cos], -1), torch.stack([cos, sin], -1)], -1)
    return torch.stack([middle - radius, middle + radius], -1), vectors


def climb_stencils(
    log_prob: Callable[[Tensor], Tensor],
    starts: Float[Tensor, "starts *batch ndim"],
    step: Float[Tensor, "*batch"],
) -> Float[Tensor, "*batch ndim"]:
    """Return the highest of the points that are reached uphill.

    Each start looks at the points of a stencil of three along each axis. It moves to the highest;
    where that is the middle, the stencil shrinks to a third. So no length needs to be known.

    Args:
        log_prob: At `(*any, *batch, ndim)`.
        starts: Where to start.
        step: The first stencil's, in the unit of the points.
    """
    points, ndim = starts, starts.shape[-1]
    ticks = torch.tensor([-1.0, 0.0, 1.0]).to(points)
    stencil = torch.cartesian_prod(*[ticks] * ndim).reshape(
        3**ndim, *(1,) * (points.dim() - 1), ndim
    )
    middle = 3**ndim // 2
    step = step.expand(points.shape[:-1])
    arrived = torch.zeros_like(step, dtype=torch.bool)
    for _ in range(STENCILS):
        around = points + step.unsqueeze(-1) * stencil
        values = log_prob(around)
        best = values.argmax(0)
        stays = values.gather(0, best.unsqueeze(0)).squeeze(0) <= values[middle]
        index = torch.where(stays, torch.full_like(best, middle), best)
        index = index.unsqueeze(0).unsqueeze(-1).expand(1, *points.shape)
        points = around.gather(0, index).squeeze(0)
        arrived = stays & (values[middle] - values.amin(0) < SMALL)
        step = torch.where(stays, step / 3.0, step)
        if bool(arrived.all()):
            break
    highest = log_prob(points).argmax(0)
    index = highest.unsqueeze(0).unsqueeze(-1).expand(1, *points.shape[1:])
    return points.gather(0, index).squeeze(0)


def ranked(maps: Tensor, values: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Return the order by map and falling value, at most so many per map, and the ranks in it."""
    order = values.argsort(descending=True)
    order = order[maps[order].argsort(stable=True)]
    maps = maps[order]
    counts = maps.bincount()
    rank = torch.arange(len(maps), device=maps.device) - (counts.cumsum(0) - counts)[maps]
    kept = rank < most
    return order[kept], rank[kept]


def highest(ends: Ends) -> tuple[Tensor, Tensor]:
    """Return the maps that have an end, and the highest one of each."""
    order, _ = ranked(ends.maps, ends.values, 1)
    return ends.maps[order], ends.points[order]


def merged(
    ends: Ends, mass: Float[Tensor, " ends"], count: int, k: int
) -> tuple[Float[Tensor, "maps k ndim"], Float[Tensor, "maps k"]]:
    """Return the `k` highest distinct maxima of each map, with the masses of equal ones summed.

    Args:
        ends: At least one for each map.
        mass: What belongs to each end.
        count: Number of maps.
        k: Maxima per map; missing ones are NaN with mass 0.
    """
    order, rank = ranked(ends.maps, ends.values, len(ends.maps))
    where = ends.maps[order], rank
    width = int(rank.max()) + 1

    def table(rows: Tensor, fill: float) -> Tensor:
        empty = rows.new_full((count, width, *rows.shape[1:]), fill)
        return empty.index_put(where, rows[order])

    points, scale = table(ends.points, math.nan), table(ends.scale, 0.0)
    values, mass = table(ends.values, -math.inf), table(mass, 0.0)
    modes = points.new_full((count, k, points.shape[-1]), math.nan)
    masses = mass.new_zeros(count, k)
    rows = torch.arange(count, device=values.device)
    for i in range(k):
        value, top = values.max(1)
        best = points[rows, top]  # NaN where none is left, as no distance to it is small
        same = (points - best.unsqueeze(1)).norm(dim=-1) < SAME * scale
        same = same & ~values.isneginf()
        modes[:, i] = best.masked_fill(value.isneginf().unsqueeze(1), math.nan)
        masses[:, i] = (mass * same).sum(1)
        values = values.masked_fill(same, -math.inf)
    return modes, masses
