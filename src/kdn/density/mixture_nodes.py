"""Entropy and levels of mixtures over volumes, where a lattice would take too many points.

The nodes of each component (`kdn.density.nodes`) stand for a sample of it; weighted as the
components are, they stand for one of the mixture.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from kdn.density.nodes import normal_sequence, points_like_a_sample

__all__ = ["MixtureNodes", "mixture_nodes"]

_COUNT = 2048
"""Nodes of each component."""

_TURN = 128
"""Nodes whose log-density is asked for at a time, for the sake of memory."""


class MixtureNodes(NamedTuple):
    """Nodes of a mixture.

    Attributes:
        points: Where they are, `(nodes, *batch, ndim)`, in the components' frame.
        values: Log-density of the mixture there, `(nodes, *batch)`, float64.
        shares: What each stands for of the mass, `(nodes,)`, float64; their sum is 1.
    """

    points: Tensor
    values: Tensor
    shares: Tensor

    def entropy(self) -> Float[Tensor, "*batch"]:
        """Return `−Σ share · log p`, in nats."""
        return -torch.tensordot(self.shares, self.values, 1)

    def densest(self) -> Float[Tensor, "*batch ndim"]:
        """Return the node of the highest density."""
        best = self.values.argmax(0)[None, ..., None]
        return self.points.gather(0, best.expand(1, *self.points.shape[1:])).squeeze(0)

    def levels(self, asked: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        """Return the share of the nodes that are denser than log-densities `(*sample, *batch)`.

        Below the least dense node what is left falls in proportion to the density, as `hdr_level`
        of a `KernelDensity` has it.
        """
        maps = math.prod(self.values.shape[1:])
        asked_of = asked.double().reshape(-1, maps).T.contiguous()
        values, order = self.values.reshape(-1, maps).T.contiguous().sort(1)
        at_most = torch.searchsorted(values, asked_of, right=True)
        shares = self.shares[order]
        sums = torch.cat([torch.zeros_like(shares[:, :1]), shares.cumsum(1)], 1)
        beyond = shares[:, :1] * (asked_of - values[:, :1]).clamp(max=0.0).exp()
        left = torch.where(at_most > 0, sums.gather(1, at_most), beyond)
        levels = (1.0 - left).clamp(0.0, 1.0).masked_fill(asked_of.isnan(), math.nan)
        return levels.T.reshape(asked.shape)


def mixture_nodes(
    components: Any, weights: tuple[float, ...], log_prob: Callable[[Tensor], Tensor]
) -> MixtureNodes:
    """Return the nodes of a mixture.

    Args:
        components: Kernel densities, Gaussians, or mixtures of them, of one batch shape.
        weights: One for each; their sum is 1.
        log_prob: Log-density of the mixture at `(nodes, *batch, ndim)`.
    """
    points, shares = _sample(components, weights)
    values = torch.cat([log_prob(turn).double() for turn in points.split(_TURN)])
    return MixtureNodes(points, values, shares)


def _sample(components: Any, weights: tuple[float, ...]) -> tuple[Tensor, Tensor]:
    """Return the nodes of all components and their shares."""
    points, shares = [], []
    for part, weight in zip(components, weights, strict=True):
        if hasattr(part, "components"):
            found, share = _sample(part.components, part.weights)
        else:
            found = _nodes(part)
            share = torch.full((_COUNT,), 1.0 / _COUNT, dtype=torch.float64, device=found.device)
        points.append(found)
        shares.append(weight * share)
    return torch.cat(points), torch.cat(shares)


def _nodes(density: Any) -> Float[Tensor, "nodes *batch ndim"]:
    """Return the nodes of one component."""
    batch, ndim = density.batch_shape, density.event_shape[0]
    if hasattr(density, "grid"):
        return points_like_a_sample(density, _COUNT).transpose(0, 1).reshape(-1, *batch, ndim)
    normal = normal_sequence(_COUNT, ndim).to(density.mean)
    normal = normal.reshape(_COUNT, *(1,) * len(batch), ndim, 1)
    return density.mean + (density.scale_tril @ normal).squeeze(-1)
