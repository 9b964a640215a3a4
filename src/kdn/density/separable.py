"""Gaussian kernels with one bandwidth per map, summed as a product of matrices.

See `kdn.density.loglik` for the formulas and shapes. Like `LogSpace`, an autograd function of
`(logits, points, bandwidth)` that computes the slopes `∂log_prob/∂y` and `∂log_prob/∂h` together
with the value when these are asked for, as moments of the responsibilities along each axis.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from kdn.density.arguments import full_precision
from kdn.density.logspace import (
    BLOCK,
    AxisTerms,
    Slopes,
    axis_terms,
    joint,
    log_normaliser,
    log_space_sum,
    log_sum_exp,
    recorded,
    slope_gradients,
    slopes_of_moments,
)
from kdn.density.maps import blocks
from kdn.grid import Grid

__all__ = ["Contraction"]

CACHED = 1 << 20
"""Numbers worked on at once: few enough for a processor's cache, enough to be worth the calls."""


class Contraction(torch.autograd.Function):
    """`Σ w p` as a product of matrices, or in log-space where that underflows.

    Saves the probabilities and the axes' weights; the backward pass makes no other tensor of the
    logits' size than the gradient.
    """

    @staticmethod
    def forward(ctx, logits: Tensor, points: Tensor, bandwidth: Tensor, grid: Grid) -> Tensor:
        wanted = ctx.needs_input_grad[1] or ctx.needs_input_grad[2]
        with full_precision(logits.device):
            axes = axis_terms(points, bandwidth, grid)
            weights = [_weights(axis.exponent) for axis in axes]
            probs = logits.flatten(1).softmax(1).view_as(logits)
            total = _contract_rows(_rows(probs, weights[0]), weights[1:])
            slopes = _contracted_slopes(probs, weights, axes, bandwidth, total) if wanted else None
        # Lost are, on each axis, weights below 1000 · tiny, whose probabilities sum to at most 1,
        # and products below tiny, at most one per cell: above this total less than half an eps.
        limits = torch.finfo(total.dtype)
        rare = (total < 10 / limits.eps * (1000 + grid.numel) * limits.tiny).nonzero(as_tuple=True)
        log_total = total.log()
        saved = [logits, points, bandwidth, probs, total, *weights]
        if len(rare[0]):
            saved += [*rare, *_recompute(logits, axes, bandwidth, rare, log_total, slopes)]
        ctx.grid, ctx.slopes = grid, slopes
        ctx.save_for_backward(*saved)
        shift = sum(axis.shift for axis in axes) + log_normaliser(bandwidth, grid.ndim)[:, None]
        return log_total - shift

    @staticmethod
    def backward(ctx, grad: Tensor):
        logits, points, bandwidth, probs, total, *rest = ctx.saved_tensors
        if torch.is_grad_enabled():
            return recorded(ctx, (logits, points, bandwidth), grad)
        weights, rare = rest[: ctx.grid.ndim], rest[ctx.grid.ndim :]
        grad_logits = None
        if ctx.needs_input_grad[0]:
            share = grad / total
            if rare:
                share = share.index_put((rare[0], rare[1]), share.new_zeros(()))
            with full_precision(probs.device):
                grad_logits = _probs_times_outer(probs, weights, share, grad.sum(1))
            if rare:
                _add_rare(grad_logits, grad, logits, *rare)
        return grad_logits, *slope_gradients(ctx.slopes, grad), None


def _weights(exponent: Tensor) -> Tensor:
    """Return `exp(−exponent)`, with zero for weights below 1000 times the smallest number.

    Numbers near the smallest one are slow to compute with, and change nothing.
    """
    least = 1000 * torch.finfo(exponent.dtype).tiny
    # The clamp spares `exp` the numbers that it is slow with.
    return torch.threshold_(exponent.neg().clamp_(min=math.log(least) - 1).exp_(), least, 0.0)


def _rows(probs: Tensor, weights: Tensor) -> Tensor:
    """Return `Σ p · w₀` over the first tensor dimension, `(maps, points, other cells)`."""
    return torch.bmm(weights, probs.reshape(*probs.shape[:2], math.prod(probs.shape[2:])))


def _contract_rows(rows: Tensor, weights: list[Tensor]) -> Tensor:
    """Return `Σ p · w₀ · w₁ …`, `(maps, points)`, of rows summed with the first weights.

    Args:
        rows: What `_rows` returns.
        weights: `(maps, points, cells)` for each further tensor dimension.
    """
    for weight in weights:
        rows = rows.unflatten(2, (weight.shape[-1], -1))
        rows = (rows * weight.unsqueeze(-1)).sum(-2)
    return rows.squeeze(2)


def _contracted_slopes(
    probs: Tensor, weights: list[Tensor], axes: list[AxisTerms], bandwidth: Tensor, total: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the slopes in points `(maps, points, ndim)` and in bandwidth `(maps, points)`."""
    first, second = [], []
    for dim, axis in enumerate(axes):
        distance = axis.distance
        once = weights[dim] * distance
        twice = once * distance
        # Both moments in one pass over the probabilities, as twice as many points.
        stacked = [torch.cat([w, w], 1) for w in weights]
        stacked[dim] = torch.cat([once, twice], 1)
        moments = _contract_rows(_rows(probs, stacked[0]), stacked[1:])
        moments = moments.unflatten(1, (2, -1)) / total.unsqueeze(1)
        first.append(moments[:, 0])
        second.append(moments[:, 1])
    return slopes_of_moments(first, second, bandwidth)


def _probs_times_outer(
    probs: Tensor, weights: list[Tensor], share: Tensor, subtract: Tensor
) -> Tensor:
    """Return `p · (Σ_points share · w₀ w₁ … − subtract)`, `(maps, *cells)`.

    Block by block, while what was written last is in the processor's cache.
    """
    first = weights[0] * share.unsqueeze(-1)
    rest = weights[1] if len(weights) > 1 else torch.ones_like(first[..., :1])
    for weight in weights[2:]:
        rest = (rest.unsqueeze(-1) * weight.unsqueeze(-2)).flatten(2)
    first, subtract = first.mT.contiguous(), subtract[:, None, None]
    result = torch.empty_like(probs)
    for block in blocks(len(probs), math.prod(probs.shape[1:]), CACHED):
        out = result[block].flatten(2) if probs.dim() > 2 else result[block].unsqueeze(2)
        # A product by broadcasting is twice as fast as one of matrices of rank 1.
        product = torch.mul if first.shape[-1] == 1 else torch.bmm
        product(first[block], rest[block], out=out)
        out.sub_(subtract[block]).mul_(probs[block].view_as(out))
    return result


def _recompute(
    logits: Tensor,
    axes: list[AxisTerms],
    bandwidth: Tensor,
    rare: tuple[Tensor, ...],
    log_total: Tensor,
    slopes: Slopes,
) -> list[Tensor]:
    """Write the exact values for the `rare` (map, point) pairs; return their exponents."""
    for block in blocks(len(rare[0]), logits[0].numel(), BLOCK):
        maps, points = rare[0][block], rare[1][block]
        few = [AxisTerms(*(f[maps, points].unsqueeze(1) for f in axis)) for axis in axes]
        rows = logits[maps]
        log_sum, rare_slopes = log_space_sum(rows, few, bandwidth[maps], slopes is not None)
        log_total[maps, points] = log_sum.squeeze(1) - log_sum_exp(rows.flatten(1))[0]
        if slopes and rare_slopes:
            slopes[0][maps, points] = rare_slopes[0].squeeze(1)
            slopes[1][maps, points] = rare_slopes[1].squeeze(1)
    return [axis.exponent[rare] for axis in axes]


def _add_rare(
    grad_logits: Tensor,
    grad: Tensor,
    logits: Tensor,
    maps: Tensor,
    points: Tensor,
    *exponents: Tensor,
) -> None:
    """Add `grad · r` of the (map, point) pairs that were computed in log-space."""
    for block in blocks(len(maps), logits[0].numel(), BLOCK):
        terms = joint(logits[maps[block]].unsqueeze(1), [e[block, None] for e in exponents])
        shares = terms.flatten(1).softmax(1).mul_(grad[maps[block], points[block], None])
        grad_logits.index_add_(0, maps[block], shares.view(-1, *logits.shape[1:]))
