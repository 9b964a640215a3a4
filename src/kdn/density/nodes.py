"""Deterministic nodes that stand for a sample of a density, and what is answered from them."""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["NODES", "Nodes", "Ordered", "areas", "energy_scores", "levels", "masses_within", "ties"]

NODES = 1024
"""Nodes of a density, unless more are asked for."""

PAIRINGS = 8
"""How often every node meets another one in the mean distance of two draws."""

_CACHED = 1 << 18


class Nodes(NamedTuple):
    """Points that stand for a sample of each density of a batch.

    Attributes:
        points: `(nodes, *batch, *event)`, in the density's frame.
        log_weights: `(nodes, *batch)`, or `(nodes,)` where all of a batch have the same; the
            weights add up to 1.
        log_prob: Log-density at the points, `(nodes, *batch)`.
    """

    points: Tensor
    log_weights: Tensor
    log_prob: Tensor

    @classmethod
    def even(cls, points: Tensor, log_prob: Tensor) -> Nodes:
        """Return nodes that all weigh the same."""
        count = len(points)
        return cls(points, log_prob.new_full((count,), -math.log(count)), log_prob)


class Ordered(NamedTuple):
    """Pieces of a density, by rising log-density, for each of the flattened densities.

    Attributes:
        log_prob: `(maps, pieces)`.
        below: Mass of the first pieces, `(maps, pieces + 1)`, float64, from 0 to 1.
        open: Whether the density goes on beyond its least dense piece, as a sample does not tell.
    """

    log_prob: Tensor
    below: Tensor
    open: bool

    @classmethod
    def of_pieces(
        cls,
        log_prob: Float[Tensor, "maps pieces"],
        log_weights: Float[Tensor, "#maps pieces"],
        *,
        open: bool = True,
    ) -> Ordered:
        """Return pieces in order.

        Args:
            log_prob: Log-densities.
            log_weights: Log-masses.
            open: See `Ordered`.
        """
        values, order = log_prob.contiguous().sort(1)
        weights = log_weights.double().exp().expand(values.shape)
        if len(log_weights) > 1 or bool((log_weights != log_weights[0, 0]).any()):
            weights = weights.gather(1, order)
        below = torch.nn.functional.pad(weights.cumsum(1), (1, 0))
        return cls(values, below / below[:, -1:], open)


def _rounding(values: Tensor) -> Tensor:
    """Return how far log-densities of one number may lie apart."""
    rounding = 8 * torch.finfo(values.dtype).eps * (1.0 + values.abs())
    return rounding.masked_fill(values.isinf(), 0.0)


def levels(ordered: Ordered, asked: Float[Tensor, "maps points"]) -> Float[Tensor, "maps points"]:
    """Return the mass of what is denser than log-densities.

    Below the least dense piece what is left of it falls in proportion to the density, as in the
    tail of a Gaussian in the plane.
    """
    asked = asked.contiguous()
    at_most = torch.searchsorted(ordered.log_prob, asked + _rounding(asked), right=True)
    left = ordered.below.gather(1, at_most)
    if ordered.open:
        beyond = (asked - ordered.log_prob[:, :1]).double().clamp(max=0.0).exp()
        left = torch.where(at_most > 0, left, ordered.below[:, 1:2] * beyond)
    return (1.0 - left).clamp(0.0, 1.0).to(asked.dtype)


def ties(ordered: Ordered, asked: Float[Tensor, "maps points"]) -> Float[Tensor, "maps points"]:
    """Return the mass of the pieces that are as dense, up to rounding."""
    asked = asked.contiguous()
    rounding = _rounding(asked)
    least = torch.searchsorted(ordered.log_prob, asked - rounding)
    at_most = torch.searchsorted(ordered.log_prob, asked + rounding, right=True)
    tie = ordered.below.gather(1, at_most) - ordered.below.gather(1, least)
    return tie.masked_fill(asked.isneginf(), 0.0).to(asked.dtype)


def areas(ordered: Ordered, asked: Float[Tensor, "maps levels"]) -> Float[Tensor, "maps levels"]:
    """Return the volumes of the regions of highest density that hold levels, float64.

    Pieces are taken from the densest on, each with the volume `mass / density`, the last one in
    part. Beyond an open density's least dense piece it is the tail of a Gaussian in the plane: each
    nat further down adds as much area as the mass that is left takes up at the density of its edge;
    infinite at 1.
    """
    values = ordered.log_prob.double().flip(1)
    masses = ordered.below.diff(dim=1).flip(1)
    volumes = torch.where(masses > 0, masses * (-values).exp(), 0.0)
    held, filled = masses.cumsum(1), volumes.cumsum(1)
    within = torch.minimum(asked, 1.0 - masses[:, -1:]) if ordered.open else asked
    last = torch.searchsorted(held, within.contiguous()).clamp(max=masses.shape[1] - 1)
    mass, volume = masses.gather(1, last), volumes.gather(1, last)
    missing = (held.gather(1, last) - within) / mass.where(mass > 0, 1.0)
    area = filled.gather(1, last) - missing.clamp(0.0, 1.0) * volume
    if not ordered.open:
        return area
    further = (masses[:, -1:] / (1.0 - asked)).clamp(min=1.0).log()
    return area + further * volumes[:, -1:]


def masses_within(
    points: Float[Tensor, "maps nodes ndim"],
    weights: Float[Tensor, "#maps nodes"] | None,
    centres: Float[Tensor, "#discs maps ndim"],
    radii: Float[Tensor, "discs maps"],
) -> Float[Tensor, "discs maps"]:
    """Return the mass of the nodes within a distance of points, several discs for each map.

    Args:
        points: The nodes.
        weights: Theirs, or None where all are equal.
        centres: Of the discs.
        radii: 0 or less hold nothing.
    """
    masses = torch.empty_like(radii)
    distance = None
    for disc, radius in enumerate(radii):
        if distance is None or len(centres) > 1:
            distance = _distances(centres[disc].unsqueeze(1), points)
        inside = distance <= radius.unsqueeze(1)
        if weights is None:
            masses[disc] = inside.sum(1) / points.shape[1]
        else:
            masses[disc] = (inside * weights).sum(1)
    masses = masses.masked_fill(radii <= 0.0, 0.0)
    missing = radii.isnan() | centres.isnan().any(-1)
    return masses.masked_fill(missing, math.nan)


def energy_scores(
    points: Float[Tensor, "maps nodes ndim"],
    weights: Float[Tensor, "#maps nodes"] | None,
    asked: Float[Tensor, "samples maps ndim"],
) -> Float[Tensor, "samples maps"]:
    """Return `E|Y − y| − ½ E|Y − Y′|`.

    Args:
        points: The nodes.
        weights: Theirs, or None where all are equal.
        asked: The points `y`.
    """
    equal = points if weights is None else _equally_weighted(points, weights)
    count, pairs = equal.shape[1], _pairings(equal.shape[1]).to(points.device)
    within = points.new_empty(len(points))
    size = max(1, _CACHED // (count * points.shape[2]))
    for first in range(0, len(points), size):
        rows = equal[first : first + size]
        total = sum(_distances(rows, rows[:, pairing]).sum(1) for pairing in pairs)
        within[first : first + size] = total / (len(pairs) * count)
    scores = asked.new_empty(asked.shape[:2])
    for sample, row in enumerate(asked):
        distance = _distances(row.unsqueeze(1), points)
        mean = distance.mean(1) if weights is None else (distance * weights).sum(1)
        scores[sample] = mean - 0.5 * within
    return scores


def _distances(left: Tensor, right: Tensor) -> Tensor:
    """Return distances along the last dimension, from the differences themselves."""
    squares = (left[..., 0] - right[..., 0]).square_()
    for axis in range(1, left.shape[-1]):
        squares += (left[..., axis] - right[..., axis]).square_()
    return squares.sqrt_()


def _equally_weighted(points: Tensor, weights: Tensor) -> Tensor:
    """Return nodes drawn systematically by weight, all of which weigh the same."""
    count = min(points.shape[1], 2 * NODES)
    cumulative = weights.double().expand(points.shape[:2]).cumsum(1)
    steps = (torch.arange(count, dtype=torch.float64, device=points.device) + 0.5) / count
    index = torch.searchsorted(cumulative, steps * cumulative[:, -1:])
    index = index.clamp(max=points.shape[1] - 1).unsqueeze(2)
    return points.gather(1, index.expand(-1, -1, points.shape[2]))


@cache
def _pairings(count: int) -> Tensor:
    """Return partners for all nodes: permutations without a node that meets itself."""
    generator = torch.Generator().manual_seed(0)
    rows = []
    for _ in range(PAIRINGS):
        order = torch.randperm(count, generator=generator)
        partner = torch.empty_like(order)
        partner[order] = order.roll(1)
        rows.append(partner)
    return torch.stack(rows)
