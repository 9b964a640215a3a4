"""Gaussian kernels with one bandwidth per map, summed as a log-sum-exp over the cells.

See `kdn.density.loglik` for the formulas and shapes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from kdn.density.maps import blocks
from kdn.grid import Grid

__all__ = [
    "BLOCK",
    "AxisTerms",
    "LogSpace",
    "Slopes",
    "axis_terms",
    "joint",
    "log_normaliser",
    "log_space_sum",
    "log_sum_exp",
    "plain_separable",
    "recorded",
    "recorded_gradients",
    "slope_gradients",
    "slopes_of_moments",
]

BLOCK = 1 << 22
"""Cells times points that a temporary may hold, unless the logits alone are more."""


Slopes = tuple[Tensor, Tensor] | None
"""`∂log_prob/∂y`, `(maps, points, ndim)`, and `∂log_prob/∂h`, `(maps, points)`, when asked for."""


class AxisTerms(NamedTuple):
    """What the kernel needs of one axis; `exponent + shift` is `d² / 2h²`.

    `shift` is that of the nearest cell, so that the largest weight `exp(−exponent)` is 1 however
    far the point lies from the grid.
    """

    exponent: Float[Tensor, "maps points cells"]
    shift: Float[Tensor, "maps points"]
    nearest: Float[Tensor, "maps points 1"]
    step: Float[Tensor, "maps points cells"]

    @property
    def distance(self) -> Float[Tensor, "maps points cells"]:
        """Signed distance of the points from the cells: from the nearest one, and on from there."""
        return self.nearest - self.step


def axis_terms(
    points: Float[Tensor, "maps points ndim"], bandwidth: Float[Tensor, " maps"], grid: Grid
) -> list[AxisTerms]:
    """Return the distances of points to the cells along each axis, in tensor order (x last).

    With `d₀` the distance to the nearest cell and `δ` the exact distance from that cell to
    another, `d² − d₀² = δ (δ − 2 d₀)`: no difference of large squares is taken.
    """
    half_precision = 0.5 / bandwidth.square()[:, None, None]
    terms = []
    for axis in range(grid.ndim - 1, -1, -1):
        position, spacing = points[..., axis : axis + 1], grid.spacing[axis]
        count = grid.shape[-1 - axis]
        cells = torch.arange(count, dtype=points.dtype, device=points.device)
        in_cells = (position.detach() - grid.origin[axis]) / spacing
        nearest_cell = in_cells.round().clamp(0, count - 1)
        nearest = position - (grid.origin[axis] + spacing * nearest_cell)
        step = (cells - nearest_cell).mul_(spacing)
        exponent = (step - 2 * nearest).mul_(step) * half_precision
        shift = (nearest.square() * half_precision).squeeze(-1)
        terms.append(AxisTerms(exponent, shift, nearest, step))
    return terms


def log_normaliser(bandwidth: Tensor, ndim: int) -> Tensor:
    """Return `ndim · (log h + ½ log 2π)`, minus the log of a Gaussian kernel at its centre."""
    return ndim * (bandwidth.log() + 0.5 * math.log(2 * math.pi))


def joint(logits: Tensor, exponents: list[Tensor]) -> Tensor:
    """Return `f + log w` up to the axes' shifts, `(maps, points, *cells)`.

    Args:
        logits: `(maps, 1, *cells)`.
        exponents: `(maps, points, cells)` for each tensor dimension.
    """
    terms = logits
    for dim, exponent in enumerate(exponents):
        shape = [1] * len(exponents)
        shape[dim] = exponent.shape[-1]
        exponent = exponent.reshape(*exponent.shape[:2], *shape)
        terms = terms - exponent if dim == 0 else terms.sub_(exponent)
    return terms


def log_sum_exp(terms: Tensor) -> tuple[Tensor, Tensor]:
    """Return the log-sum-exp over the last dimension and the shares `exp(term − it)`.

    The largest share is `exp(max − logsumexp)`, and at least one over their number. On the CPU
    this is several times as fast as `torch.logsumexp`, whose `exp` is slow where it underflows.
    """
    shares = terms.softmax(-1)
    return terms.amax(-1) - shares.amax(-1).log(), shares


class LogSpace(torch.autograd.Function):
    """`Σ w p` as a log-sum-exp over the cells, with no look at any value."""

    @staticmethod
    def forward(ctx, logits: Tensor, points: Tensor, bandwidth: Tensor, grid: Grid) -> Tensor:
        wanted = ctx.needs_input_grad[1] or ctx.needs_input_grad[2]
        axes = axis_terms(points, bandwidth, grid)
        log_total, ctx.slopes = log_space_sum(logits, axes, bandwidth, wanted)
        log_all, _ = log_sum_exp(logits.flatten(1))
        ctx.grid = grid
        ctx.save_for_backward(logits, points, bandwidth, *(axis.exponent for axis in axes))
        shift = sum(axis.shift for axis in axes) + log_normaliser(bandwidth, grid.ndim)[:, None]
        return log_total - log_all[:, None] - shift

    @staticmethod
    def backward(ctx, grad: Tensor):
        logits, points, bandwidth, *exponents = ctx.saved_tensors
        if torch.is_grad_enabled():
            return recorded(ctx, (logits, points, bandwidth), grad)
        grad_logits = None
        if ctx.needs_input_grad[0]:
            grad_logits = logits.flatten(1).softmax(1).mul_(-grad.sum(1, keepdim=True))
            for block in blocks(grad.shape[1], logits.numel(), BLOCK):
                terms = joint(logits.unsqueeze(1), [e[:, block] for e in exponents])
                shares = terms.flatten(2).softmax(2).mul_(grad[:, block].unsqueeze(2))
                grad_logits += shares.sum(1)
            grad_logits = grad_logits.view(logits.shape)
        return grad_logits, *slope_gradients(ctx.slopes, grad), None


def plain_separable(logits: Tensor, points: Tensor, bandwidth: Tensor, grid: Grid) -> Tensor:
    """Return the same in operations that autograd and compilers know, at the cost of memory."""
    axes = axis_terms(points, bandwidth, grid)
    shift = sum(axis.shift for axis in axes) + log_normaliser(bandwidth, grid.ndim)[:, None]
    log_total = joint(logits.unsqueeze(1), [axis.exponent for axis in axes]).flatten(2).logsumexp(2)
    return log_total - logits.flatten(1).logsumexp(1, keepdim=True) - shift


def recorded(ctx, inputs: Sequence[Tensor], grad: Tensor) -> tuple[Tensor | None, ...]:
    """Return the gradients of a function's inputs in a form that can be differentiated."""
    formula = partial(plain_separable, grid=ctx.grid)
    return *recorded_gradients(formula, inputs, ctx.needs_input_grad[:3], grad), None


def log_space_sum(
    logits: Tensor, axes: list[AxisTerms], bandwidth: Tensor, slopes_wanted: bool
) -> tuple[Tensor, Slopes]:
    """Return `logsumexp(f + log w)` up to the shifts, `(maps, points)`, and the slopes."""
    log_total, in_points, in_bandwidth = [], [], []
    for block in blocks(axes[0].exponent.shape[1], logits.numel(), BLOCK):
        terms = joint(logits.unsqueeze(1), [axis.exponent[:, block] for axis in axes])
        block_total, shares = log_sum_exp(terms.flatten(2))
        log_total.append(block_total)
        if slopes_wanted:
            shares = shares.view(terms.shape)
            first, second = [], []
            for dim, axis in enumerate(axes):
                others = [2 + other for other in range(len(axes)) if other != dim]
                along = shares.sum(others) if others else shares
                distance = axis.nearest[:, block] - axis.step[:, block]
                moment = along * distance
                first.append(moment.sum(-1))
                second.append((moment * distance).sum(-1))
            slopes = slopes_of_moments(first, second, bandwidth)
            in_points.append(slopes[0])
            in_bandwidth.append(slopes[1])
    slopes = (torch.cat(in_points, 1), torch.cat(in_bandwidth, 1)) if slopes_wanted else None
    return torch.cat(log_total, 1), slopes


def slopes_of_moments(
    first: list[Tensor], second: list[Tensor], bandwidth: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the slopes from the moments of the distances along each axis, in tensor order."""
    h = bandwidth[:, None]
    in_points = -torch.stack(first[::-1], -1) / h.square()[..., None]
    return in_points, sum(second) / h**3 - len(second) / h


def slope_gradients(slopes: Slopes, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """Return the gradients of points and bandwidth."""
    if slopes is None:
        return None, None
    in_points, in_bandwidth = slopes
    return grad.unsqueeze(-1) * in_points, (grad * in_bandwidth).sum(1)


def recorded_gradients(
    formula: Callable[..., Tensor], inputs: Sequence[Tensor], wanted: Sequence[bool], grad: Tensor
) -> tuple[Tensor | None, ...]:
    """Return the gradients of the plain formula, as a graph that can itself be differentiated.

    For the backward pass of a `torch.autograd.Function` under `create_graph=True`, whose own
    gradients would be taken for constants.

    Args:
        formula: A function of the inputs, in operations that autograd knows.
        inputs: The tensors.
        wanted: Which of them need a gradient; None is returned for the others.
        grad: Gradient of the formula's value.
    """
    # New names for the inputs, in case one has been computed from another.
    aliases = [tensor.view_as(tensor) for tensor in inputs]
    needed = [alias for alias, want in zip(aliases, wanted, strict=True) if want]
    gradients = iter(torch.autograd.grad(formula(*aliases), needed, grad, create_graph=True))
    return tuple(next(gradients) if want else None for want in wanted)
