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
from collections.abc import Iterator
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
        beyond = [pair for window in maps.windows for pair in _in_window(maps, window, nodes)]
        if beyond:
            index = tuple(torch.cat(entries) for entries in zip(*beyond, strict=True))
            nodes.log_prob[index] = maps.log_prob_about(index[0], nodes.points[index])
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


def _in_window(
    maps: KernelMaps, window: Window, nodes: KernelNodes
) -> Iterator[tuple[Tensor, Tensor]]:
    """Fill in the nodes of the maps of a window; yield those that have no log-density yet.

    These are the nodes of the few kernels beyond the window, by map and node.
    """
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
    beyond = outside.sum(1)
    item = beyond.nonzero().squeeze(1)
    for block in blocks(len(item), maps.grid.numel):
        few = item[block]
        if len(few):
            asked = levels[-int(beyond[few].max()) :] - cumulative[few, -1:]
            yield _beyond_window(maps, rows[few], window.cells[few], asked, nodes)


def _beyond_window(
    maps: KernelMaps,
    rows: Int[Tensor, " maps"],
    inside: Int[Tensor, "maps cells"],
    asked: Float[Tensor, "maps nodes"],
    nodes: KernelNodes,
) -> tuple[Tensor, Tensor]:
    """Fill in the last nodes of some maps, whose kernels lie beyond the window; return which.

    Kernels are found along the first dimension by what it holds, and then among the cells there.

    Args:
        maps: All maps.
        rows: Some of them.
        inside: The cells of their windows.
        asked: Mass of the kernels before that of each node, of those beyond the window; what is
            negative belongs to the window.
        nodes: What is filled in.
    """
    count, slices = asked.shape[1], maps.grid.shape[0]
    probs = maps.probs_of(rows).scatter_(1, inside, 0.0).view(len(rows), slices, -1)
    sums = probs.sum(2, dtype=torch.float64)
    below = sums.cumsum(1)
    first = torch.searchsorted(below, asked).clamp(max=slices - 1)
    rest = asked - (below - sums).gather(1, first)
    chosen = probs.gather(1, first.unsqueeze(2).expand(-1, -1, probs.shape[2]))
    cell = torch.searchsorted(chosen.cumsum(2, dtype=torch.float64), rest.unsqueeze(2))
    cell = cell.clamp(max=probs.shape[2] - 1)
    mass = chosen.gather(2, cell).squeeze(2)
    index = first * probs.shape[2] + cell.squeeze(2)
    centres, scale = maps.centres.T[index], maps.axis_scale[rows]
    points = centres + scale * nodes.displaced[-count:]
    item, node = ((asked > 0) & (mass > 0)).nonzero().unbind(1)
    map_of, place = rows[item], node - count + len(nodes.displaced)
    nodes.points[map_of, place] = points[item, node]
    log_scale = scale.log().sum(-1).squeeze(1)
    nodes.log_heights[map_of, place] = mass[item, node].log() - log_scale[item]
    return map_of, place


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
