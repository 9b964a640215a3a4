"""A Laplace distribution with the interface of a density over one label axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Laplace

from kdn.density.arguments import indexed
from kdn.density.density import Density
from kdn.density.kernels import uniform_sequence
from kdn.density.nodes import NODES, Nodes

__all__ = ["LaplaceDensity"]


class LaplaceDensity(Laplace, Density):
    """The density that the mean absolute error is the likelihood of: `exp(−|y − μ| / b) / 2b`.

    Args:
        loc: Its median, `(*batch)`, in the label's unit.
        scale: `b`, the expected distance from the median, positive; broadcasts to it.

    Example:
        >>> density = LaplaceDensity(torch.tensor([30.0, 50.0]), torch.tensor(6.0))
        >>> density.batch_shape, round(density.energy_score(torch.tensor(36.0))[0].item(), 3)
        (torch.Size([2]), 3.707)
    """

    def __init__(self, loc: Float[Tensor, ...], scale: Float[Tensor, ...]) -> None:
        super().__init__(loc, scale, validate_args=False)

    def log_mass(self, low: Float[Tensor, ...], high: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Return `log P(low < Y ≤ high)` in nats.

        With `a < b` the ends in units of the scale from the median, mirrored so that `a + b ≤ 0`:
        `b − log 2 + log(1 − e^(a − b))` below the median, and `log(1 − ½ e^a − ½ e^(−b))` about it.

        Args:
            low: Lower ends, `(*sample, *batch)`.
            high: Upper ends, above the lower ones.
        """
        below, above = ((ends - self.loc) / self.scale for ends in (low, high))
        mirrored = below + above > 0
        below, above = (
            torch.where(mirrored, -above, below),
            torch.where(mirrored, -below, above),
        )
        beside = above.clamp(max=0) - math.log(2) + (-torch.expm1(below - above)).log()
        about = torch.log1p(-0.5 * below.clamp(max=0).exp() - 0.5 * (-above.clamp(min=0)).exp())
        return torch.where(above > 0, about, beside)

    def energy_score(self, points: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Return the CRPS, `|y − μ| + b e^(−|y − μ| / b) − ¾ b`.

        Args:
            points: `(*sample, *batch)`.

        Source: Jordan, Krüger & Lerch, Evaluating probabilistic forecasts with scoringRules, 2019.
        """
        distance = (points - self.loc).abs()
        return distance + self.scale * (torch.exp(-distance / self.scale) - 0.75)

    def nodes(self, count: int = NODES) -> Nodes:
        """Return `count` points that stand for a sample."""

        def find() -> Nodes:
            levels = uniform_sequence(count, 1).to(self.loc)
            points = self.icdf(levels.reshape(count, *(1,) * len(self.batch_shape)))
            return Nodes.even(points, self.log_prob(points))

        with torch.no_grad():
            return self._kept(("nodes", count), find)

    def sample(
        self, sample_shape: Sequence[int] = (), *, generator: torch.Generator | None = None
    ) -> Float[Tensor, ...]:
        """Return random values `(*sample, *batch)`, without gradient.

        Args:
            sample_shape: Leading dimensions.
            generator: Source of randomness, on the density's device; torch's own if not given.
        """
        with torch.no_grad():
            levels = self.loc.new_empty((*sample_shape, *self.batch_shape))
            levels.uniform_(torch.finfo(levels.dtype).eps, 1.0, generator=generator)
            return self.icdf(levels)

    def hdr_tie(self, points: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Return the mass exactly as dense as the points, which is 0, and NaN where they are."""
        return 0.0 * (points - self.loc)

    def _covariance(self) -> Float[Tensor, ...]:
        return self.variance[..., None, None]

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """Location and scale."""
        return self.loc, self.scale

    def __getitem__(self, index: Any) -> LaplaceDensity:
        """Return some of the batch, as a tensor of the batch's shape would be indexed."""
        return LaplaceDensity(indexed(self.loc, index, 0), indexed(self.scale, index, 0))

    def expand(self, batch_shape: Sequence[int], _instance: None = None) -> LaplaceDensity:
        """Return the density with its batch shape broadcast, as in `torch.distributions`."""
        return LaplaceDensity(self.loc.expand(batch_shape), self.scale.expand(batch_shape))
