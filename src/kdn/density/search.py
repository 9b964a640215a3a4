"""Climbing by stencils on any log-density."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["climb_stencils"]

ROUNDS = 60
SMALL = 3e-4
"""Nats: what all neighbours of a stencil's middle are lower by at most, where a start arrives."""


def climb_stencils(
    log_prob: Callable[[Tensor], Tensor],
    starts: Float[Tensor, "starts *batch ndim"],
    step: Float[Tensor, "*batch"],
) -> Float[Tensor, "*batch ndim"]:
    """Return the highest of the points that are reached uphill.

    Each start looks at the points of a stencil of three along each axis. It moves to the highest;
    where that is the middle, the stencil shrinks to a third. So no length needs to be known.

    Args:
        log_prob: At `(*any, *batch, ndim)`.
        starts: Where to start.
        step: The first stencil's, in the unit of the points.
    """
    points, ndim = starts, starts.shape[-1]
    ticks = torch.tensor([-1.0, 0.0, 1.0]).to(points)
    stencil = torch.cartesian_prod(*[ticks] * ndim).reshape(
        3**ndim, *(1,) * (points.dim() - 1), ndim
    )
    middle = 3**ndim // 2
    step = step.expand(points.shape[:-1])
    arrived = torch.zeros_like(step, dtype=torch.bool)
    for _ in range(ROUNDS):
        around = points + step.unsqueeze(-1) * stencil
        values = log_prob(around)
        best = values.argmax(0)
        stays = values.gather(0, best.unsqueeze(0)).squeeze(0) <= values[middle]
        index = torch.where(stays, torch.full_like(best, middle), best)
        index = index.unsqueeze(0).unsqueeze(-1).expand(1, *points.shape)
        points = around.gather(0, index).squeeze(0)
        arrived = stays & (values[middle] - values.amin(0) < SMALL)
        step = torch.where(stays, step / 3.0, step)
        if bool(arrived.all()):
            break
    highest = log_prob(points).argmax(0)
    index = highest.unsqueeze(0).unsqueeze(-1).expand(1, *points.shape[1:])
    return points.gather(0, index).squeeze(0)
