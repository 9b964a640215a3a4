"""Nodes of maps of kernels.

Node `i` of `S` takes the kernel in which the cumulative probability reaches `(i + ½)/S`, and in it
a displacement by a low-discrepancy sequence. The average of a function over the nodes is close to
its expectation. This needs no relation between bandwidth and cell, and holds for kernels that
differ and in any dimension.

Kernels that together hold less than a ten-thousandth `τ` are left out. Where they would make up a
share `δ` of the density, the nodes' densities are too low by that share; such regions have a mass
of at most `τ / δ`, because `τ` is the expectation of the share.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from kdn.density.kernels import Uniform
from kdn.density.maps import TAIL, KernelMaps, Window

__all__ = ["KernelNodes", "entropies", "find_nodes"]


class KernelNodes(NamedTuple):
    """Nodes of several maps, all with the same weight.

    Attributes:
        points: `(maps, nodes, ndim)`, in the grid's frame.
        log_prob: Log-density at each node, `(maps, nodes)`.
        log_heights: `log p_k − Σ log s_k` of each node's kernel, `(maps, nodes)`.
        mean_log_height: Its expectation, `(maps,)`.
        displaced: From the kernel's centre to the node, in scales, `(nodes, ndim)`.
    """

    points: Tensor
    log_prob: Tensor
    log_heights: Tensor
    mean_log_height: Tensor
    displaced: Tensor


def find_nodes(maps: KernelMaps, count: int) -> KernelNodes:
    """Return `count` nodes of each map."""
    displaced = maps.kernel.displacements(count, maps.grid.ndim).to(maps.logits)
    nodes = KernelNodes(
        maps.logits.new_empty(maps.count, count, maps.grid.ndim),
        maps.logits.new_empty(maps.count, count),
        maps.logits.new_empty(maps.count, count),
        maps.logits.new_empty(maps.count),
        displaced,
    )
    if isinstance(maps.kernel, Uniform):
        _in_cells(maps, nodes)
    elif maps.separable:
        for window in maps.windows:
            _in_window(maps, window, nodes)
    else:
        _in_lists(maps, nodes)
    return nodes


def _in_cells(maps: KernelMaps, nodes: KernelNodes) -> None:
    """Fill in the nodes of uniform kernels, whose log-density is that of their cell."""
    log_probs = maps.log_probs
    index = _systematic(log_probs.exp(), len(nodes.displaced))
    nodes.points[:] = maps.centres.T[index] + maps.axis_scale * nodes.displaced
    nodes.log_heights[:] = log_probs.gather(1, index) - math.log(maps.grid.cell_volume)
    nodes.log_prob[:] = nodes.log_heights


def _in_window(maps: KernelMaps, window: Window, nodes: KernelNodes) -> None:
    """Fill in the nodes of the maps of a window."""
    rows, probs, scale = window.maps, window.probs.flatten(1), maps.axis_scale[window.maps]
    index = _systematic(probs, len(nodes.displaced))
    points = window.grid.points(dtype=probs.dtype, device=probs.device)
    points = points.reshape(-1, maps.grid.ndim)[index] + scale * nodes.displaced
    log_scale = scale.log().sum(-1)
    nodes.log_prob[rows] = maps.in_window(window, points)
    nodes.points[rows] = points + window.shift.unsqueeze(1).to(points)
    nodes.log_heights[rows] = probs.gather(1, index).log() - log_scale
    total = probs.sum(1)
    nodes.mean_log_height[rows] = -torch.special.entr(probs).sum(1) / total - log_scale.squeeze(1)


def _in_lists(maps: KernelMaps, nodes: KernelNodes) -> None:
    """Fill in the nodes of kernels that differ."""
    count, ndim = nodes.displaced.shape
    for rows, kernels in maps.lists(maps.log_probs, TAIL, lambda length: count * length):
        chosen = kernels.take(_systematic(kernels.log_probs.exp(), count))
        points = chosen.centres + chosen.scale.unsqueeze(-1) * nodes.displaced
        nodes.points[rows] = points
        nodes.log_prob[rows] = kernels.log_density(maps.kernel, points)
        nodes.log_heights[rows] = chosen.log_probs - ndim * chosen.scale.log()
        probs = kernels.log_probs.exp()
        heights = -torch.special.entr(probs) - ndim * probs * kernels.scale.log()
        nodes.mean_log_height[rows] = heights.sum(1) / probs.sum(1)


def _systematic(probs: Float[Tensor, "maps kernels"], count: int) -> Tensor:
    """Return for each node the kernel in which the cumulative probability reaches `(i + ½)/S`."""
    cumulative = probs.cumsum(1, dtype=torch.float64)
    steps = (torch.arange(count, dtype=torch.float64, device=probs.device) + 0.5) / count
    return torch.searchsorted(cumulative, steps * cumulative[:, -1:])


def entropies(maps: KernelMaps, nodes: KernelNodes) -> Float[Tensor, " maps"]:
    """Return `−E[log p]`: minus the mean of `log p` over the nodes, with two control variates.

    What the nodes get wrong of two terms whose expectation is known is taken off: the log-height
    `log p_k − Σ log s_k` of a node's kernel, and the kernel's own log-density at the node; both by
    linear regression of `log p` on them. So it is exact for one kernel, and for kernels too far
    apart to overlap.
    """
    values, displaced = nodes.log_prob.double(), nodes.displaced.double()
    own = maps.kernel.log_density(displaced).sum(-1) + displaced.shape[1] * maps.kernel.entropy
    heights = nodes.log_heights.double() - nodes.mean_log_height.double().unsqueeze(1)
    terms = torch.stack([heights, own.expand_as(values)], -1)
    centred = terms - terms.mean(1, keepdim=True)
    residual = values - values.mean(1, keepdim=True)
    gram = centred.mT @ centred
    # One equal kernel for all nodes makes the first variate constant, and the matrix singular.
    ridge = 1e-9 * gram.diagonal(dim1=1, dim2=2).sum(1).reshape(-1, 1, 1)
    identity = torch.eye(2, dtype=gram.dtype, device=gram.device)
    slopes = torch.linalg.solve(gram + ridge * identity, centred.mT @ residual.unsqueeze(-1))
    return (terms.mean(1) * slopes.squeeze(-1)).sum(1) - values.mean(1)
