"""The log-likelihood of a mixture of kernels, and its gradients, in log-space.

With weights `w = K_h(y − μ)`, probabilities `p = softmax(f)` and responsibilities
`r = w p / Σ w p` (eq. 7 of the paper, here with the sign of `+log_prob`):

* `log_prob = log Σ w p = logsumexp(f + log w) − logsumexp(f)`
* `∂/∂f = r − p`
* `∂/∂y = −Σ r d / h²`, with `d = y − μ`
* `∂/∂h = Σ r (d² / h³ − ndim / h)`

All functions take maps flattened to one dimension and points as `(maps, points, ndim)`. The
gradients are written out because automatic differentiation would keep several tensors of the size
of all cells times all points. Second derivatives are left to it.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from kdn.density.adaptive import AdaptiveLogProb, plain_adaptive
from kdn.density.logspace import LogSpace, plain_separable
from kdn.density.separable import Contraction
from kdn.grid import Grid

__all__ = ["adaptive_log_prob", "separable_log_prob", "uniform_log_prob"]


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
