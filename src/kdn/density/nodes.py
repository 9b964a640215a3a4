"""Deterministic nodes that stand for a sample of a density, and what is answered from them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["NODES", "Nodes", "Ordered", "areas", "energy_scores", "levels", "masses_within", "ties"]

NODES = 1024
"""Nodes of a density, unless more are asked for."""

PAIRINGS = 3
"""How often every node meets another one, by chance, in the mean distance of two draws."""

_CACHED, _TINY = 1 << 16, 1e-30


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
        below: Mass of the first pieces, `(maps, pieces + 1)`, float64, from 0 to 1; one row where
            all pieces hold the same.
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
        weights = log_weights.double().exp()
        if len(weights) == 1 and bool((weights == weights[0, 0]).all()):
            values = _sorted(log_prob)
        else:
            values, order = log_prob.contiguous().sort(1)
            weights = weights.expand(values.shape).gather(1, order)
        below = torch.nn.functional.pad(weights.cumsum(1), (1, 0))
        return cls(values, below / below[:, -1:], open)


def _sorted(values: Tensor) -> Tensor:
    """Return rows in order; on the CPU by NumPy, which is eight times as fast."""
    if values.device.type != "cpu":
        return values.sort(1).values
    values = values.contiguous().clone()
    values.numpy().sort(1)
    return values


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
    left = _at(ordered.below, at_most)
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
    tie = _at(ordered.below, at_most) - _at(ordered.below, least)
    return tie.masked_fill(asked.isneginf(), 0.0).to(asked.dtype)


def areas(ordered: Ordered, asked: Float[Tensor, "maps levels"]) -> Float[Tensor, "maps levels"]:
    """Return the volumes of the regions of highest density that hold levels, float64.

    Pieces are taken from the densest on, each with the volume `mass / density`, the last one in
    part. Beyond an open density's least dense piece it is the tail of a Gaussian in the plane: each
    nat further down adds as much area as the mass that is left takes up at the density of its edge;
    infinite at 1.
    """
    held = (1.0 - ordered.below).flip(1)[:, 1:].contiguous()
    masses = ordered.below.diff(dim=1).flip(1)
    top = ordered.log_prob[:, -1:]
    values = (top - ordered.log_prob.flip(1)).double()
    # In units of the densest piece's; what has no density has no mass but for rounding.
    volumes = torch.where((masses > 0) & values.isfinite(), masses * values.exp(), 0.0)
    filled = volumes.cumsum(1)
    within = torch.minimum(asked, 1.0 - masses[:, -1:]) if ordered.open else asked
    within = within.contiguous()
    last = _search(held, within).clamp(max=masses.shape[1] - 1)
    mass, volume = _at(masses, last), volumes.gather(1, last)
    missing = (_at(held, last) - within) / mass.where(mass > 0, 1.0)
    area = filled.gather(1, last) - missing.clamp(0.0, 1.0) * volume
    if ordered.open:
        further = (masses[:, -1:] / (1.0 - asked)).clamp(min=1.0).log()
        area = area + further * volumes[:, -1:]
    return area * (-top.double()).exp()


def _at(rows: Tensor, index: Tensor) -> Tensor:
    """Return entries of each row, or of one row that stands for all."""
    return rows[0][index] if len(rows) == 1 else rows.gather(1, index)


def _search(rows: Tensor, asked: Tensor) -> Tensor:
    """Return where values come in each row, or in one that stands for all."""
    return torch.searchsorted(rows[0] if len(rows) == 1 else rows, asked)


def masses_within(
    points: Float[Tensor, "maps nodes ndim"],
    weights: Float[Tensor, "maps nodes"] | None,
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
    for rows in _blocks(points):
        distance = None
        for disc, radius in enumerate(radii[:, rows]):
            if distance is None or len(centres) > 1:
                distance = _distances(centres[disc, rows].unsqueeze(1), points[rows])
            inside = distance <= radius.unsqueeze(1)
            if weights is None:
                masses[disc, rows] = inside.sum(1) / points.shape[1]
            else:
                masses[disc, rows] = (inside * weights[rows]).sum(1)
    masses = masses.masked_fill(radii <= 0.0, 0.0)
    missing = radii.isnan() | centres.isnan().any(-1)
    return masses.masked_fill(missing, math.nan)


def energy_scores(
    points: Float[Tensor, "maps nodes ndim"],
    weights: Float[Tensor, "maps nodes"] | None,
    asked: Float[Tensor, "samples maps ndim"],
) -> Float[Tensor, "samples maps"]:
    """Return `E|Y − y| − ½ E|Y − Y′|`.

    Args:
        points: The nodes.
        weights: Theirs, or None where all are equal.
        asked: The points `y`.
    """
    equal = points if weights is None else _equally_weighted(points, weights)
    order = torch.randperm(equal.shape[1], generator=torch.Generator().manual_seed(0))
    order, scores = order.to(points.device), asked.new_empty(asked.shape[:2])
    for rows in _blocks(points):
        axes = [axis[:, order] for axis in equal[rows].unbind(2)]
        centred = [axis - axis.mean(1, keepdim=True) for axis in axes]
        square = 2.0 * torch.stack([axis.square_().mean(1) for axis in centred]).sum(0)
        within = points.new_zeros(len(axes[0]))
        for shift in range(1, 1 + PAIRINGS):
            distance = _length([axis[:, shift:] - axis[:, :-shift] for axis in axes])
            within += _mean_length(distance, square) / PAIRINGS
        for sample, row in enumerate(asked[:, rows]):
            distance = _distances(row.unsqueeze(1), points[rows])
            mean = distance.mean(1) if weights is None else (distance * weights[rows]).sum(1)
            scores[sample, rows] = mean - 0.5 * within
    return scores


def _mean_length(lengths: Float[Tensor, "maps pairs"], square: Float[Tensor, " maps"]) -> Tensor:
    """Return the mean over all pairs from some of them, whose mean square over all is known.

    By the linear regression of the lengths on their squares, a control variate.
    """
    squares = lengths.square()
    mean_square = squares.mean(1)
    apart = squares.sub_(mean_square.unsqueeze(1))
    slope = (lengths * apart).mean(1) / apart.square().mean(1).clamp(min=_TINY)
    return lengths.mean(1) + slope * (square - mean_square)


def _blocks(points: Float[Tensor, "maps nodes ndim"]) -> Iterator[slice]:
    """Yield maps whose nodes stay in a processor's cache together."""
    size = max(1, _CACHED // points[0].numel())
    yield from (slice(first, first + size) for first in range(0, len(points), size))


def _distances(left: Tensor, right: Tensor) -> Tensor:
    """Return distances along the last dimension, from the differences themselves."""
    return _length([left[..., axis] - right[..., axis] for axis in range(left.shape[-1])])


def _length(apart: list[Tensor]) -> Tensor:
    """Return the length of vectors by their entries."""
    squares = apart[0].square_()
    for entry in apart[1:]:
        squares = squares.addcmul_(entry, entry)
    return squares.sqrt_()


def _equally_weighted(points: Tensor, weights: Tensor) -> Tensor:
    """Return nodes drawn systematically by weight, all of which weigh the same."""
    count = 4 * NODES
    cumulative = weights.double().expand(points.shape[:2]).cumsum(1)
    steps = (torch.arange(count, dtype=torch.float64, device=points.device) + 0.5) / count
    index = torch.searchsorted(cumulative, steps * cumulative[:, -1:])
    index = index.clamp(max=points.shape[1] - 1).unsqueeze(2)
    return points.gather(1, index.expand(-1, -1, points.shape[2]))
