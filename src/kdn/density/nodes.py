"""Deterministic nodes that stand for a sample of a mixture of kernels.

Node `i` of `S` takes the kernel in which the cumulative probability reaches `(i + ½)/S`, and in it
a place by a low-discrepancy sequence. The average of a function over the nodes is close to its
expectation. This needs no relation between bandwidth and cell, and holds for kernels that differ
and in any dimension.

Kernels that together hold less than `TAIL` are left out. Where they would make up a share `δ` of
the density, the nodes' densities are too low by that share; such places have a mass of at most
`TAIL / δ`, because `TAIL` is the expectation of the share.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from kdn.density.kernels import Kernels, flat_bandwidth, flat_logits, is_separable, kernels_of
from kdn.density.loglik import separable_log_prob
from kdn.density.window import Window, cell_windows, kernel_lists

if TYPE_CHECKING:
    from kdn.density.distribution import KernelDensity

__all__ = ["Nodes", "nodes_of", "normal_sequence", "points_like_a_sample", "uniform_sequence"]

BLOCK = 1 << 21
"""Elements that a temporary may have; few enough to stay in a processor's cache."""

TAIL = 1e-4
"""Mass of the kernels left out."""


class Nodes(NamedTuple):
    """Nodes of several maps.

    Attributes:
        points: Where they are, `(maps, nodes, ndim)`, in the grid's frame.
        values: Log-density at each node, `(maps, nodes)`.
        log_weights: `log p_k − ndim · log h_k` of each node's kernel, `(maps, nodes)`.
        displaced: From the kernel's centre to the node, in bandwidths, `(nodes, ndim)`.
    """

    points: Tensor
    values: Tensor
    log_weights: Tensor
    displaced: Tensor


def nodes_of(density: KernelDensity, count: int) -> Nodes:
    """Return `count` nodes of each map of a density of Gaussian kernels.

    They are kept with the density, for the next question about it, unless it is being trained.
    """
    tensors = (density.raw_logits, density.bandwidth, density.offsets)
    if any(tensor is not None and tensor.requires_grad for tensor in tensors):
        return _find_nodes(density, count)
    if count not in density.kept_nodes:
        density.kept_nodes[count] = _find_nodes(density, count)
    return density.kept_nodes[count]


def points_like_a_sample(density: KernelDensity, count: int) -> Float[Tensor, "maps count ndim"]:
    """Return `count` nodes of each map as points alone, for uniform kernels too.

    In a uniform kernel the place follows the same kind of sequence, over its cell.
    """
    if density.kernel != "uniform":
        return nodes_of(density, count).points
    log_probs, grid = flat_logits(density).flatten(1), density.grid
    centres = grid.points(dtype=log_probs.dtype, device=log_probs.device).reshape(-1, grid.ndim)
    place = (uniform_sequence(count, grid.ndim) - 0.5).to(log_probs)
    return centres[_systematic(log_probs, count)] + place * place.new_tensor(grid.spacing)


def _find_nodes(density: KernelDensity, count: int) -> Nodes:
    """Return the nodes, computed anew."""
    log_probs, grid = flat_logits(density), density.grid
    displaced = normal_sequence(count, grid.ndim).to(log_probs)
    points = log_probs.new_empty(len(log_probs), count, grid.ndim)
    values = log_probs.new_empty(len(log_probs), count)
    log_weights = torch.empty_like(values)
    if is_separable(density):
        bandwidth = flat_bandwidth(density)
        tail = torch.full_like(bandwidth, TAIL)
        none = torch.zeros_like(tail)
        cost = lambda width: count * width * grid.ndim  # noqa: E731
        for window in cell_windows(log_probs, log_probs.exp(), grid, tail, none, cost, BLOCK):
            maps = window.maps
            points[maps], values[maps], log_weights[maps] = _in_window(
                window, bandwidth[maps], displaced
            )
    else:
        kernels = kernels_of(density)
        for maps, few in kernel_lists(kernels, kernels.log_probs, TAIL, lambda n: count * n, BLOCK):
            points[maps], values[maps], log_weights[maps] = _in_list(few, displaced)
    return Nodes(points, values, log_weights, displaced)


def _in_window(window: Window, bandwidth: Tensor, displaced: Tensor) -> tuple[Tensor, ...]:
    """Return the nodes of maps with one bandwidth each, their log-densities and log-weights."""
    log_probs, grid = window.logits.flatten(1), window.grid
    index = _systematic(log_probs, len(displaced))
    centres = grid.points(dtype=log_probs.dtype, device=log_probs.device).reshape(-1, grid.ndim)
    points = centres[index] + bandwidth.reshape(-1, 1, 1) * displaced
    values = separable_log_prob(window.logits, points, bandwidth, grid)
    log_weights = log_probs.gather(1, index) - grid.ndim * bandwidth.log().unsqueeze(1)
    points = points + window.shift.to(points).unsqueeze(1)
    return points, values + log_probs.logsumexp(1, keepdim=True), log_weights


def _in_list(kernels: Kernels, displaced: Tensor) -> tuple[Tensor, ...]:
    """Return the nodes of maps with kernels of their own, their log-densities and log-weights."""
    own = kernels.take(_systematic(kernels.log_probs, len(displaced)))
    points = own.centres + own.bandwidth.unsqueeze(-1) * displaced
    log_weights = own.log_probs - displaced.shape[1] * own.bandwidth.log()
    return points, kernels.log_density(points), log_weights


def _systematic(log_probs: Float[Tensor, "maps kernels"], count: int) -> Tensor:
    """Return for each node the kernel in which the cumulative probability reaches `(i + ½)/S`."""
    cumulative = log_probs.exp().cumsum(1, dtype=torch.float64)
    levels = (torch.arange(count, dtype=torch.float64, device=log_probs.device) + 0.5) / count
    return torch.searchsorted(cumulative, levels * cumulative[:, -1:])


def uniform_sequence(count: int, ndim: int) -> Float[Tensor, "count ndim"]:
    """Return a low-discrepancy sequence in the unit cube, in float64.

    In one and two dimensions that of Kronecker, `{½ + i α}`, `α_j = φ^−j` with
    `φ^(ndim + 1) = φ + 1`; in three that of Sobol, whose entropies err a third less.
    """
    if ndim == 3:
        sequence = torch.quasirandom.SobolEngine(ndim).draw(count, dtype=torch.float64)
        return sequence + 0.5 / count
    ratio = 2.0
    for _ in range(60):
        ratio = (1.0 + ratio) ** (1.0 / (ndim + 1))
    steps = torch.arange(1, count + 1, dtype=torch.float64).unsqueeze(1)
    powers = torch.arange(1, ndim + 1, dtype=torch.float64)
    return (0.5 + steps * ratio**-powers) % 1.0


def normal_sequence(count: int, ndim: int) -> Float[Tensor, "count ndim"]:
    """Return a low-discrepancy sequence of standard normal vectors, in float64.

    The uniform sequence is spread over the plane by radius and angle, so that discs about the
    centre hold the right share; in one and three dimensions each axis goes through the inverse
    normal distribution.
    """
    uniform = uniform_sequence(count, ndim).clamp(1e-12, 1.0 - 1e-12)
    if ndim != 2:
        return torch.special.ndtri(uniform)
    radius, angle = (-2.0 * uniform[:, 0].log()).sqrt(), 2.0 * math.pi * uniform[:, 1]
    return torch.stack([radius * angle.cos(), radius * angle.sin()], -1)
