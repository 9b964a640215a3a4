"""Consistent rank logits: an ordinal regression by one yes or no for every cell boundary."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from kdn.density import KernelDensity
from kdn.grid import Grid
from kdn.models.heads.head import Head, at_least_single

__all__ = ["Coral"]


class Coral(Head):
    """CORAL: `P(Y > b_k) = σ(s + β_k)` for the boundaries `b_k` between the cells of a grid.

    The score `s` is the network's, one a value; the biases `β_k` are parameters, the same for all
    samples, so that the probabilities fall with `k` for every sample if the biases do. The loss is
    the sum of the binary cross-entropies over the boundaries. The prediction, `rank`, is the centre
    of the cell whose number is that of the boundaries with a probability above ½.

    Its density is constant within a cell, with the differences of neighbouring probabilities as
    masses. Biases that training has left out of order are sorted for it, as at the minimum of the
    loss they are in order (Theorem 1 of the source).

    Source: Cao, Mirjalili & Raschka, Rank consistent ordinal regression for neural networks with
    application to age estimation, Pattern Recognition Letters 2020, eq. 3 to 6.

    Args:
        count: Number of labels.
        grid: Their axis, two cells at least.
        rounding: See `Head`.

    Raises:
        ValueError: If the grid has one cell.
    """

    name = "coral"
    fits = ("scalars",)
    decoder = "rank"

    def __init__(self, count: int, grid: Grid, rounding: float = 0.0):
        super().__init__(count, grid, rounding)
        if grid.numel < 2:
            raise ValueError(f"grid must have at least two cells, got {grid.numel}")
        self.channels = count
        # From the first boundary, nearly always exceeded, to the last, hardly ever.
        start = torch.linspace(3.0, -3.0, grid.numel - 1)
        self.bias = nn.Parameter(start.expand(count, -1).clone())

    def density(self, outputs: Float[Tensor, "batch channels"]) -> KernelDensity:
        """Return the piecewise constant density, in the unit of the labels."""
        logits = self._scores(outputs) + self._biases(outputs).sort(dim=-1, descending=True)[0]
        # σ(a) − σ(b) = σ(a) σ(−b) (1 − e^(b − a)) for a ≥ b; σ is 1 before the first, 0 behind.
        above = F.pad(F.logsigmoid(logits), (1, 0))
        below = F.pad(F.logsigmoid(-logits), (0, 1))
        step = logits[..., :-1] - logits[..., 1:]
        between = F.pad((-torch.expm1(-step)).log(), (1, 1))
        return KernelDensity(above + below + between, self.grid, kernel="uniform")

    def loss(
        self, outputs: Float[Tensor, "batch channels"], target: Float[Tensor, "batch labels"]
    ) -> Float[Tensor, "batch labels"]:
        """Return the sum of the binary cross-entropies over the boundaries, in nats."""
        logits = self._scores(outputs) + self._biases(outputs)
        boundaries = logits.new_tensor(self.grid.low) + self.grid.spacing[0] * torch.arange(
            1, self.grid.numel, device=logits.device, dtype=logits.dtype
        )
        exceeded = (target.unsqueeze(-1) > boundaries).to(logits)
        return F.binary_cross_entropy_with_logits(logits, exceeded, reduction="none").sum(-1)

    def decode(
        self, density: KernelDensity, decoder: str = "default"
    ) -> Float[Tensor, "batch labels"]:
        """Return the rank, or what another decoder makes of the density.

        The number of boundaries exceeded with a probability above ½ is the number of the first
        cell up to which the masses add up to ½.
        """
        if (self.decoder if decoder == "default" else decoder) != "rank":
            return super().decode(density, decoder)
        short = (density.probs.cumsum(-1) < 0.5).sum(-1).clamp(max=self.grid.numel - 1)
        return self.grid.origin[0] + self.grid.spacing[0] * short.to(density.probs)

    def _scores(self, outputs: Tensor) -> Tensor:
        return at_least_single(outputs).unsqueeze(-1)

    def _biases(self, like: Tensor) -> Tensor:
        return self.bias.to(like) if like.dtype == torch.float64 else self.bias
