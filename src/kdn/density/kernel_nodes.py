"""Nodes of maps of kernels.

Node `i` of `S` takes the kernel in which the cumulative probability reaches `(i + ½)/S`, and in it
a displacement by a low-discrepancy sequence. The average of a function over the nodes is close to
its expectation. This needs no relation between bandwidth and cell, and holds for kernels that
differ and in any dimension.

Nodes of separable maps whose kernels lie in the window of the map have their log-density from the
kernels of the window; the few others from the cells about each node. Where what is left out would
make up a share `δ` of the density, it is too low by that share; such regions have a mass of at most
`τ / δ`, `τ` being the mass left out, because `τ` is the expectation of the share.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from kdn.density.kernels import Uniform
from kdn.density.maps import TAIL, KernelMaps, Window, blocks

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
        # Each coordinate by itself, which is what distances are quick with.
        maps.logits.new_empty(maps.grid.ndim, maps.count, count).movedim(0, -1),
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
    """Fill in the nodes of the maps of a window, and of the few kernels beyond it."""
    rows, probs, scale = window.maps, window.probs.flatten(1), maps.axis_scale[window.maps]
    cumulative = probs.cumsum(1, dtype=torch.float64)
    levels = _levels(len(nodes.displaced), probs)
    index = torch.searchsorted(cumulative, levels.expand(len(probs), -1).contiguous())
    outside = index == probs.shape[1]
    index = index.clamp(max=probs.shape[1] - 1)
    points = window.grid.points(dtype=probs.dtype, device=probs.device)
    points = points.reshape(-1, maps.grid.ndim)[index] + scale * nodes.displaced
    log_scale = scale.log().sum(-1)
    log_prob = maps.in_window(window, points)
    heights = probs.gather(1, index).log() - log_scale
    points = points + window.shift.unsqueeze(1).to(points)
    nodes.log_prob[rows], nodes.points[rows], nodes.log_heights[rows] = log_prob, points, heights
    nodes.mean_log_height[rows] = maps.summary.mean_log[rows].to(probs) - log_scale.squeeze(1)
    item, node = outside.nonzero().unbind(1)
    if len(item):
        centres, mass = _beyond(maps, window, item, levels[node] - cumulative[item, -1])
        points = centres + scale[item, 0] * nodes.displaced[node]
        heights = mass.log() - log_scale[item, 0]
        item, node, points, heights = (
            entry[mass > 0] for entry in (rows[item], node, points, heights)
        )
        nodes.points[item, node], nodes.log_heights[item, node] = points, heights
        nodes.log_prob[item, node] = maps.log_prob_about(item, points)


def _beyond(
    maps: KernelMaps, window: Window, item: Int[Tensor, " nodes"], before: Float[Tensor, " nodes"]
) -> tuple[Float[Tensor, "nodes ndim"], Float[Tensor, " nodes"]]:
    """Return centres and probabilities of kernels beyond windows, by the mass before each.

    They are found along the first dimension by what it holds, and then among the cells there.

    Args:
        maps: All maps.
        window: Windows of some of them.
        item: Beyond which of the windows.
        before: Mass of the kernels beyond the window that come before it.
    """
    slices, size = maps.grid.shape[0], maps.grid.numel // maps.grid.shape[0]
    inside = window.cells.view(len(window.maps), window.grid.shape[0], -1)
    start, rows = inside[:, :, 0] // size, window.maps
    held = window.probs.flatten(1).view(inside.shape).sum(2, dtype=torch.float64)
    sums = maps.summary.marginals[0][rows].double().scatter_add(1, start, -held).clamp_(min=0.0)
    below = sums.cumsum(1)
    first = torch.searchsorted(below[item], before.unsqueeze(1)).clamp_(max=slices - 1)
    rest = before.unsqueeze(1) - (below - sums)[item].gather(1, first)
    first, rows = first.squeeze(1), rows[item]
    logits = maps.logits.reshape(maps.count, slices, size)[rows, first]
    probs = (logits - maps.summary.log_total[rows].to(logits).unsqueeze(1)).exp_()
    local = first - start[item, 0]
    cut = ((local >= 0) & (local < inside.shape[1])).unsqueeze(1)
    cells = inside[item, local.clamp(0, inside.shape[1] - 1)] % size
    probs = torch.where(cut, probs.scatter(1, cells, 0.0), probs)
    cell = torch.searchsorted(probs.cumsum(1, dtype=torch.float64), rest).clamp_(max=size - 1)
    index = first * size + cell.squeeze(1)
    return maps.centres.T[index], probs.gather(1, cell).squeeze(1)


def _levels(count: int, like: Tensor) -> Float[Tensor, " nodes"]:
    """Return `(i + ½)/S`, in float64."""
    return (torch.arange(count, dtype=torch.float64, device=like.device) + 0.5) / count


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
    return torch.searchsorted(cumulative, _levels(count, probs) * cumulative[:, -1:])


def entropies(maps: KernelMaps, nodes: KernelNodes) -> Float[Tensor, " maps"]:
    """Return `−E[log p]`: minus the mean of `log p` over the nodes, with two control variates.

    What the nodes get wrong of two terms whose expectation is known is taken off: the log-height
    `log p_k − Σ log s_k` of a node's kernel, and the kernel's own log-density at the node; both by
    linear regression of `log p` on them. So it is exact for one kernel, and for kernels too far
    apart to overlap.
    """
    displaced, ndim = nodes.displaced.double(), nodes.displaced.shape[1]
    kernel = maps.kernel.log_density(displaced).sum(-1) + ndim * maps.kernel.entropy
    rest = (kernel - kernel.mean()).to(nodes.log_prob)
    entropy = torch.empty_like(nodes.mean_log_height, dtype=torch.float64)
    for block in blocks(len(entropy), 4 * len(rest)):
        values, heights = nodes.log_prob[block], nodes.log_heights[block]
        mean, mean_height = values.mean(1), heights.mean(1)
        values, heights = values - mean.unsqueeze(1), heights - mean_height.unsqueeze(1)
        a, b, c = (heights * heights).sum(1), (heights * rest).sum(1), (rest * rest).sum()
        u, v = (heights * values).sum(1).double(), (rest * values).sum(1).double()
        # One equal kernel for all nodes makes the first variate constant, and the matrix singular.
        ridge = 1e-6 * (a + c)
        a, b, c = (a + ridge).double(), b.double(), (c + ridge).double()
        determinant = a * c - b * b
        first, second = (c * u - b * v) / determinant, (a * v - b * u) / determinant
        off = mean_height.double() - nodes.mean_log_height[block].double()
        entropy[block] = first * off + second * kernel.mean() - mean.double()
    return entropy
