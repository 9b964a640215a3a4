"""The log-likelihood of a mixture of kernels, and its gradients, in log-space.

With weights `w = K_h(y − μ)`, probabilities `p = softmax(f)` and responsibilities
`r = w p / Σ w p` (eq. 7 of the paper, here with the sign of `+log_prob`):

* `log_prob = log Σ w p = logsumexp(f + log w) − logsumexp(f)`
* `∂/∂f = r − p`
* `∂/∂y = −Σ r d / h²`, with `d = y − μ`
* `∂/∂h = Σ r (d² / h³ − ndim / h)`

All functions take maps flattened to one dimension and points as `(maps, points, ndim)`. The
gradients are written out for Gaussian kernels because automatic differentiation would keep several
tensors of the size of all cells times all points. Second derivatives are left to it.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from kdn.density.kernels import Gaussian, Uniform
from kdn.density.logspace import BLOCK, LogSpace, log_sum_exp, plain_separable, recorded_gradients
from kdn.density.maps import CACHED, KernelMaps, blocks
from kdn.density.separable import Contraction
from kdn.grid import Grid

__all__ = [
    "AdaptiveLogProb",
    "adaptive_log_prob",
    "log_prob_of_maps",
    "plain_adaptive",
    "plain_log_prob",
    "separable_log_prob",
    "uniform_log_prob",
]


def log_prob_of_maps(
    maps: KernelMaps, points: Float[Tensor, "maps points ndim"]
) -> Float[Tensor, "maps points"]:
    """Return the log-density at points; in blocks of maps where no gradient is to flow."""
    follow = maps.differentiable or (torch.is_grad_enabled() and points.requires_grad)
    if follow or torch.compiler.is_compiling():
        return _log_prob_of_maps(maps, points)
    shape, cells = maps.grid.shape, maps.grid.numel
    numbers = max(cells, points.shape[1] * max(cells // shape[0], *shape, 1))
    values = [
        _log_prob_of_maps(maps.rows(block), points[block])
        for block in blocks(maps.count, numbers, 4 * CACHED)
    ]
    return torch.cat(values)


def _log_prob_of_maps(maps: KernelMaps, points: Tensor) -> Tensor:
    """Return the same by the way that suits the kernels."""
    if isinstance(maps.kernel, Uniform):
        return uniform_log_prob(maps.logits, points, maps.grid)
    if not isinstance(maps.kernel, Gaussian) or maps.bandwidth is None:
        return plain_log_prob(maps, points)
    if maps.separable:
        return separable_log_prob(maps.logits, points, maps.bandwidth, maps.grid)
    bandwidth = maps.bandwidth if maps.per_cell else maps.bandwidth.unsqueeze(1)
    centres = maps.centres if maps.offsets is not None else maps.centres.unsqueeze(0)
    return adaptive_log_prob(maps.logits.flatten(1), points, bandwidth, centres)


def plain_log_prob(
    maps: KernelMaps, points: Float[Tensor, "maps points ndim"]
) -> Float[Tensor, "maps points"]:
    """Return the log-density of any kernels, in operations that autograd knows."""
    logits, scale = maps.logits.flatten(1), maps.axis_scale
    centres = maps.centres.mT.expand(maps.count, -1, -1)
    values = []
    for block in blocks(points.shape[1], logits.numel(), BLOCK):
        apart = (points[:, block].unsqueeze(2) - centres.unsqueeze(1)) / scale.unsqueeze(1)
        terms = maps.kernel.log_density(apart).sum(-1) - scale.log().sum(-1).unsqueeze(1)
        values.append((logits.unsqueeze(1) + terms).logsumexp(-1))
    return torch.cat(values, 1) - logits.logsumexp(1, keepdim=True)


def separable_log_prob(
    logits: Float[Tensor, "maps *cells"],
    points: Float[Tensor, "maps points ndim"],
    bandwidth: Float[Tensor, " maps"],
    grid: Grid,
) -> Float[Tensor, "maps points"]:
    """Return the log-density of Gaussian kernels with one bandwidth per map, on a grid.

    `K_h` is a product over the axes, so that `Σ w p` is a product of matrices. On the CPU it is
    evaluated as such, and in log-space where that sum is too small to be trusted. On other devices
    and under `torch.compile`, where looking at a value costs a synchronisation, it is evaluated in
    log-space throughout.

    Args:
        logits: Unnormalised log-probabilities, with the cells in the grid's shape.
        points: In the grid's frame.
        bandwidth: Standard deviation in the grid's unit.
        grid: Where the cells are.
    """
    if not torch.compiler.is_compiling():
        route = Contraction if logits.device.type == "cpu" else LogSpace
        return route.apply(logits, points, bandwidth, grid)
    return plain_separable(logits, points, bandwidth, grid)


def adaptive_log_prob(
    logits: Float[Tensor, "maps cells"],
    points: Float[Tensor, "maps points ndim"],
    bandwidth: Float[Tensor, "maps kernels"],
    centres: Float[Tensor, "#maps ndim cells"],
) -> Float[Tensor, "maps points"]:
    """Return the log-density of Gaussian kernels that differ from cell to cell.

    Args:
        logits: Unnormalised log-probabilities.
        points: In the grid's frame.
        bandwidth: Standard deviation in the grid's unit, of each kernel or one for all.
        centres: Kernel centres, in the grid's frame.
    """
    if not torch.compiler.is_compiling():
        return AdaptiveLogProb.apply(logits, points, bandwidth, centres)
    return plain_adaptive(logits, points, bandwidth, centres)


def uniform_log_prob(
    logits: Float[Tensor, "maps *cells"], points: Float[Tensor, "maps points ndim"], grid: Grid
) -> Float[Tensor, "maps points"]:
    """Return the log-density of uniform kernels one cell wide: `log p_c − log(cell volume)`.

    `c` is the cell that holds the point, `[centre − ½, centre + ½)` on each axis. Outside the grid
    the log-density is −∞ and has no gradient.
    """
    cells = (grid.to_cells(points.detach()) + 0.5).floor()
    index = torch.zeros_like(cells[..., 0], dtype=torch.long)
    inside = torch.ones_like(index, dtype=torch.bool)
    for axis in range(grid.ndim - 1, -1, -1):
        count = grid.shape[-1 - axis]
        cell = cells[..., axis]
        inside = inside & (cell >= 0) & (cell < count)
        index = index * count + cell.clamp(0, count - 1).nan_to_num(0.0).long()
    log_probs = logits.flatten(1).log_softmax(-1).gather(1, index)
    return torch.where(inside, log_probs, -math.inf) - math.log(grid.cell_volume)


def _adaptive_terms(logits: Tensor, points: Tensor, bandwidth: Tensor, centres: Tensor) -> Tensor:
    """Return `f + log w`, `(maps, points, cells)`."""
    ndim = points.shape[-1]
    squares = (points[..., 0].unsqueeze(-1) - centres[:, None, 0]).square()
    for axis in range(1, ndim):
        squares = squares + (points[..., axis].unsqueeze(-1) - centres[:, None, axis]).square()
    biased = logits - ndim * bandwidth.log() - 0.5 * ndim * math.log(2 * math.pi)
    return torch.addcmul(biased.unsqueeze(1), squares, bandwidth.unsqueeze(1) ** -2, value=-0.5)


def plain_adaptive(logits: Tensor, points: Tensor, bandwidth: Tensor, centres: Tensor) -> Tensor:
    """Return the log-density in operations that autograd and compilers know."""
    terms = _adaptive_terms(logits, points, bandwidth, centres)
    return terms.logsumexp(-1) - logits.logsumexp(-1, keepdim=True)


class AdaptiveLogProb(torch.autograd.Function):
    """`logsumexp(f + log w) − logsumexp(f)`.

    Saves the responsibilities if they fit one temporary, or else computes them again.
    """

    @staticmethod
    def forward(ctx, logits: Tensor, points: Tensor, bandwidth: Tensor, centres: Tensor) -> Tensor:
        log_all, probs = log_sum_exp(logits)
        totals, shares = [], probs
        for block in blocks(points.shape[1], logits.numel(), BLOCK):
            terms = _adaptive_terms(logits, points[:, block], bandwidth, centres)
            total, shares = log_sum_exp(terms)
            totals.append(total)
        kept = [shares] if len(totals) == 1 else []
        ctx.save_for_backward(logits, points, bandwidth, centres, probs, *kept)
        return torch.cat(totals, 1) - log_all.unsqueeze(1)

    @staticmethod
    def backward(ctx, grad: Tensor):
        logits, points, bandwidth, centres, probs, *kept = ctx.saved_tensors
        if torch.is_grad_enabled():
            inputs = (logits, points, bandwidth, centres)
            return recorded_gradients(plain_adaptive, inputs, ctx.needs_input_grad, grad)
        _, for_points, for_bandwidth, for_centres = ctx.needs_input_grad
        ndim = points.shape[-1]
        precision = (bandwidth**-2).unsqueeze(1)
        grad_logits = probs * -grad.sum(1, keepdim=True)
        grad_points = torch.zeros_like(points)
        grad_bandwidth = torch.zeros_like(logits)
        grad_centres = logits.new_zeros(len(logits), ndim, logits.shape[1])
        for block in blocks(points.shape[1], logits.numel(), BLOCK):
            if kept:
                shares = kept[0]
            else:
                shares = _adaptive_terms(logits, points[:, block], bandwidth, centres).softmax(-1)
            shares = shares * grad[:, block, None]
            grad_logits += shares.sum(1)
            if for_bandwidth:
                grad_bandwidth -= shares.sum(1).mul_(ndim)
            shares *= precision
            for axis in range(ndim):
                distance = points[:, block, axis, None] - centres[:, None, axis]
                pull = shares * distance
                if for_points:
                    grad_points[:, block, axis] = -pull.sum(-1)
                if for_centres:
                    grad_centres[:, axis] += pull.sum(1)
                if for_bandwidth:
                    grad_bandwidth += pull.mul_(distance).sum(1)
        return (
            grad_logits,
            grad_points if for_points else None,
            (grad_bandwidth / bandwidth).sum_to_size(bandwidth.shape) if for_bandwidth else None,
            grad_centres.sum_to_size(centres.shape) if for_centres else None,
        )
