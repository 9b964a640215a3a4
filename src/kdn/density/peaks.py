"""Which of many maxima, found from many starts, are a map's highest ones."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["Ends", "highest", "merged", "ranked"]

SAME = 0.01
"""Maxima nearer than this share of their length scale are one."""


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
