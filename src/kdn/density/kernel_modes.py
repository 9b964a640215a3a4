"""The modes of maps whose kernels differ: own centres, own bandwidths.

There is no lattice that suits all kernels. Starts are the kernels' own centres; each climbs by
Newton and mean-shift steps (`kdn.density.ascent`), which see only the kernels around it.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from kdn.density.ascent import KernelField, climb
from kdn.density.kernels import Kernels
from kdn.density.peaks import Ends, highest, ranked
from kdn.density.window import kernel_lists

__all__ = ["ends_of_kernels", "highest_of_kernels"]

CHUNK = 1 << 21
"""Elements that a temporary may have; more maps are done in turns."""

LEFT_OUT = 0.01
"""What the kernels that give no start may add up to, as a share of the highest kernel's peak."""

CANDIDATES, STARTS, NEAR_TOP = 128, 16, 1.5
"""Kernels per map that may give a start, by weight and by mass; starts per map at most; and how
many nats lower than at the best kernel's centre the density may be at the centre of a start."""

SPARE_MASS = 1e-3
"""Mass of the kernels that are not climbed from when masses are collected."""


def highest_of_kernels(kernels: Kernels) -> Float[Tensor, "maps ndim"]:
    """Return the global mode of each map.

    Starts are kernels' centres, by the density there, that have no higher one within a bandwidth.
    """
    found = kernels.centres.new_empty(kernels.centres[:, 0].shape, dtype=torch.float64)
    weights = kernels.log_weights
    weights = weights - weights.amax(1, keepdim=True)
    for maps, few in kernel_lists(
        kernels, weights, LEFT_OUT, lambda n: n * min(n, 2 * CANDIDATES), CHUNK
    ):
        rows, starts = _starts(few)
        index, points = highest(_climb(kernels, maps[rows], starts))
        found[index] = points
    return found


def _starts(kernels: Kernels) -> tuple[Tensor, Tensor]:
    """Return which of the maps, and the points."""
    centres, bandwidth, values = _candidates(kernels)
    apart = torch.cdist(centres, centres)
    near = apart < torch.minimum(bandwidth.unsqueeze(1), bandwidth.unsqueeze(2))
    lower = (near & (values.unsqueeze(1) > values.unsqueeze(2))).any(2)
    high = values > values.amax(1, keepdim=True) - NEAR_TOP
    maps, column = (high & ~lower).nonzero().unbind(1)
    order = ranked(maps, values[maps, column], STARTS)[0]
    maps, column = maps[order], column[order]
    return maps, centres[maps, column]


def _candidates(kernels: Kernels) -> tuple[Tensor, Tensor, Tensor]:
    """Return centres, bandwidths and log-densities of the kernels that a mode may be close to."""
    chosen = kernels
    if kernels.log_probs.shape[1] > 2 * CANDIDATES:
        sizes = (kernels.log_weights, kernels.log_probs)
        chosen = kernels.take(torch.cat([s.topk(CANDIDATES, 1).indices for s in sizes], 1))
    values = kernels.log_density(chosen.centres)
    values = values.masked_fill(chosen.log_probs.isneginf(), torch.finfo(values.dtype).min)
    return chosen.centres, chosen.bandwidth, values


def _climb(kernels: Kernels, maps: Tensor, starts: Tensor) -> Ends:
    """Return where starts on some of the maps end."""
    peaks = []
    turn = max(1, CHUNK // kernels.log_probs.shape[1])
    for part, points in zip(maps.split(turn), starts.split(turn), strict=True):
        peaks.append(climb(KernelField(kernels, part), points))
    points, values, scale = (torch.cat(fields) for fields in zip(*peaks, strict=True))
    return Ends(maps, points, values, scale)


def ends_of_kernels(kernels: Kernels) -> tuple[Ends, Float[Tensor, " ends"]]:
    """Return where the kernels that hold nearly all mass climb to, and the mass of each."""
    found = []
    for maps, few in kernel_lists(kernels, kernels.log_probs, SPARE_MASS, lambda n: n, CHUNK):
        rows, column = few.log_probs.isfinite().nonzero().unbind(1)
        mass = few.log_probs.double().softmax(1)[rows, column]
        found.append((_climb(kernels, maps[rows], few.centres[rows, column]), mass))
    ends, masses = zip(*found, strict=True)
    return Ends(*(torch.cat(fields) for fields in zip(*ends, strict=True))), torch.cat(masses)
