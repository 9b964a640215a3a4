"""Gaussian kernels whose centre or bandwidth differs from cell to cell.

See `kdn.density.loglik` for the formulas and shapes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from kdn.density.derivatives import recorded_gradients
from kdn.density.logspace import blocks, log_sum_exp

__all__ = ["AdaptiveLogProb", "plain_adaptive"]


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
        for block in blocks(points.shape[1], logits.numel()):
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
        for block in blocks(points.shape[1], logits.numel()):
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
