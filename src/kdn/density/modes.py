"""The modes of a density: local maxima of the continuous mixture, which lie between cells.

With one bandwidth per map the search is in `kdn.density.cell_modes`. Where kernels differ there is
no lattice that suits all of them: starts are the kernels' centres, and each climbs by Newton and
mean-shift steps (`kdn.density.ascent`), which see only the kernels around it.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from kdn.density.ascent import KernelField, climb
from kdn.density.cell_modes import ends_between_cells, ends_of_cells, highest_between_cells
from kdn.density.kernels import Gaussian, Uniform
from kdn.density.loglik import log_prob_of_maps
from kdn.density.maps import CACHED, KernelList, KernelMaps
from kdn.density.peaks import Ends, highest, merged, ranked

__all__ = ["find_mode", "find_modes"]

SPARE = 64
"""Lattice maxima per map that are climbed from, or eight for each mode wanted if that is more."""

LEFT_OUT = 0.01
"""What the kernels that give no start may add up to, as a share of the highest kernel's peak."""

CANDIDATES, STARTS, NEAR_TOP = 128, 16, 1.5
"""Kernels per map that may give a start, by weight and by mass; starts per map at most; and how
many nats lower than at the best kernel's centre the density may be at the centre of a start."""

SPARE_MASS = 1e-3
"""Mass of the kernels that are not climbed from when masses are collected."""


def find_mode(maps: KernelMaps) -> Float[Tensor, "maps ndim"]:
    """Return the point where each density of Gaussian or uniform kernels is highest.

    For Gaussian kernels this is the global mode of the continuous mixture: neither the most
    probable cell, nor the cell where the density is highest, nor the mean. Of several equally high
    ones any. For uniform kernels it is the centre of the most probable cell. With two cells with
    centres 0 and 1, probabilities `(0.5, 0.5)` and bandwidth 1 the mode is 0.5; with bandwidth 0.1
    there are two. Carries no gradient.
    """
    if isinstance(maps.kernel, Uniform):
        return maps.centres.T[maps.log_probs.argmax(1)]
    if maps.separable:
        return highest_between_cells(maps)
    points = maps.logits.new_empty((maps.count, maps.grid.ndim), dtype=torch.float64)
    log_peaks = maps.kernels().log_peaks(maps.kernel)
    log_peaks = log_peaks - log_peaks.amax(1, keepdim=True)
    for rows, few in maps.lists(log_peaks, LEFT_OUT, lambda n: n * min(n, 2 * CANDIDATES)):
        index, starts = _starts(few)
        index, ends = highest(_climb(maps.kernels(), rows[index], starts))
        points[index] = ends
    return points


def find_modes(maps: KernelMaps, k: int) -> tuple[Tensor, Tensor]:
    """Return the `k` highest local maxima of each density, and the mass that belongs to each.

    Mass: every kernel gives its whole probability to the mode that is reached from its centre
    going uphill. For modes that are well separated this is the mass of the peak; the masses of all
    modes together are 1. With one bandwidth, uphill is from lattice point to the highest
    neighbouring lattice point (the cells, and the points halfway between them if the bandwidth is
    below a cell), and from the last one by Newton steps. With kernels that differ it is Newton and
    mean-shift steps all the way; kernels that together hold less than 1e-3 are left out, and the
    others' masses scaled to 1.

    For kernels that are not Gaussian, modes are cells where the density is at least that of the
    neighbours, and uphill is from cell to the densest neighbour; of equal neighbours it is the
    first. Carries no gradient.

    Args:
        maps: Of a density.
        k: Number of modes wanted.

    Returns:
        Points `(maps, k, ndim)` in the grid's frame, the highest density first, and masses
        `(maps, k)`. If there are fewer than `k` modes, the rest is NaN with mass 0.

    Raises:
        ValueError: If `k` is not positive.
    """
    if k < 1:
        raise ValueError(f"k must be positive, got {k}")
    most = max(SPARE, 8 * k)
    if not isinstance(maps.kernel, Gaussian):
        height = maps.log_probs
        if not isinstance(maps.kernel, Uniform):
            cells = maps.grid.points(dtype=height.dtype, device=height.device)
            cells = cells.reshape(1, -1, maps.grid.ndim).expand(maps.count, -1, -1)
            height = log_prob_of_maps(maps, cells)
        ends, mass = ends_of_cells(maps, height, most)
    elif maps.separable:
        ends, mass = ends_between_cells(maps, most)
    else:
        ends, mass = _ends_of_kernels(maps)
    return merged(ends, mass, maps.count, k)


def _starts(kernels: KernelList) -> tuple[Tensor, Tensor]:
    """Return which of the maps, and the points."""
    centres, scale, values = _candidates(kernels)
    apart = torch.cdist(centres, centres)
    near = apart < torch.minimum(scale.unsqueeze(1), scale.unsqueeze(2))
    lower = (near & (values.unsqueeze(1) > values.unsqueeze(2))).any(2)
    high = values > values.amax(1, keepdim=True) - NEAR_TOP
    maps, column = (high & ~lower).nonzero().unbind(1)
    order = ranked(maps, values[maps, column], STARTS)[0]
    maps, column = maps[order], column[order]
    return maps, centres[maps, column]


def _candidates(kernels: KernelList) -> tuple[Tensor, Tensor, Tensor]:
    """Return centres, bandwidths and log-densities of the kernels that a mode may be close to."""
    chosen = kernels
    if kernels.log_probs.shape[1] > 2 * CANDIDATES:
        sizes = (kernels.log_peaks(Gaussian()), kernels.log_probs)
        chosen = kernels.take(torch.cat([s.topk(CANDIDATES, 1).indices for s in sizes], 1))
    values = kernels.log_density(Gaussian(), chosen.centres)
    values = values.masked_fill(chosen.log_probs.isneginf(), torch.finfo(values.dtype).min)
    return chosen.centres, chosen.scale, values


def _climb(kernels: KernelList, maps: Tensor, starts: Tensor) -> Ends:
    """Return where starts on some of the maps end."""
    peaks = []
    turn = max(1, 8 * CACHED // kernels.log_probs.shape[1])
    for rows, points in zip(maps.split(turn), starts.split(turn), strict=True):
        peaks.append(climb(KernelField(kernels, rows), points))
    points, values, scale = (torch.cat(fields) for fields in zip(*peaks, strict=True))
    return Ends(maps, points, values, scale)


def _ends_of_kernels(maps: KernelMaps) -> tuple[Ends, Float[Tensor, " ends"]]:
    """Return where the kernels that hold nearly all mass climb to, and the mass of each."""
    kernels, ends, masses = maps.kernels(), [], []
    for index, few in maps.lists(maps.log_probs, SPARE_MASS, lambda n: n):
        rows, column = few.log_probs.isfinite().nonzero().unbind(1)
        masses.append(few.log_probs.double().softmax(1)[rows, column])
        ends.append(_climb(kernels, index[rows], few.centres[rows, column]))
    return Ends(*(torch.cat(fields) for fields in zip(*ends, strict=True))), torch.cat(masses)
