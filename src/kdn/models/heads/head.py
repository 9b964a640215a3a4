"""What every head offers: outputs of a network in, a density over the label and a loss out."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from kdn.density import Density, decode
from kdn.grid import Grid
from kdn.models.registry import Named

__all__ = ["CellHead", "Head", "at_least_single", "rounded_log_prob"]

_LOCAL_CELLS = 2.5


class Head(Named, nn.Module, ABC):
    """Turns the outputs of a network into a density over labels, and into a loss.

    Labels are points in crop pixels, `*event` is `2`; or scalars on an axis of their own, in its
    unit, and there is no `*event`. Further arguments of a subclass, which are keyword-only,
    are its settings: a recipe sets them by their name.

    Args:
        count: Number of labels.
        grid: Cells of the network's maps over the crop, in crop pixels; of scalars, of their axis.
        rounding: Scalars are known to within half of this either way; 0 for labels that are exact.

    Attributes:
        fits: Kinds of labels that it is for.
        flips: Whether densities of a crop and of its flipped image can be averaged.
        takes_maps: True if outputs are maps, False if they are vectors.
        channels: Number of output channels the network must have.
        decoder: The decoder that this head's prediction uses unless another is asked for.
    """

    registry: ClassVar[dict[str, type]] = {}
    fits: ClassVar[tuple[str, ...]] = ("points", "scalars")
    flips: ClassVar[bool] = False
    takes_maps: bool = False
    decoder: str = "mean"
    channels: int

    def __init__(self, count: int, grid: Grid, rounding: float = 0.0):
        super().__init__()
        self.count = count
        self.grid = grid
        self.rounding = rounding

    @abstractmethod
    def density(self, outputs: Float[Tensor, "batch ..."]) -> Any:
        """Return every label's density, batch shape `(batch, labels)`: a `kdn.density.Density`.

        Points are in crop pixels, scalars in the unit of their axis.
        """

    def loss(
        self,
        outputs: Float[Tensor, "batch ..."],
        target: Float[Tensor, "batch labels *event"],
    ) -> Float[Tensor, "batch labels"]:
        """Return one loss per label: `−log p(label)` in nats per crop-pixel², or per unit.

        Of scalars that were rounded it is that of the mean density where they may lie, see
        `rounded_log_prob`.

        Args:
            outputs: What the network gave, `(batch, channels, …)`.
            target: The labels, in crop pixels or their unit.
        """
        return -rounded_log_prob(self.density(outputs), target, self.rounding)

    def decode(
        self, density: Density, decoder: str = "default"
    ) -> Float[Tensor, "*batch labels *event"]:
        """Return one point or number per label, in the frame of the density.

        Args:
            density: What `density` gave.
            decoder: One of `kdn.density.DECODERS`, of scalars also `median`, or `default` for the
                head's own. `local_mean` looks 2.5 cells of the network's maps around the argmax,
                however fine the density.

        Raises:
            ValueError: If there is no such decoder.
        """
        name = self.decoder if decoder == "default" else decoder
        local = name == "local_mean" and self.takes_maps
        return decode(density, name, radius=_LOCAL_CELLS * self.grid.spacing[0] if local else None)

    def covers(
        self,
        outputs: Float[Tensor, "batch ..."],
        target: Float[Tensor, "batch labels *event"],
    ) -> Bool[Tensor, "batch labels"]:
        """Return True where the loss can be learned from: everywhere, for most heads."""
        return torch.ones(target.shape[:2], dtype=torch.bool, device=target.device)


def rounded_log_prob(
    density: Any,
    target: Float[Tensor, "*sample_and_batch_and_event"],
    rounding: float,
) -> Float[Tensor, "*sample_and_batch"]:
    """Return the log-likelihood of labels that are known to within half of `rounding` either way.

    `log P(|Y − y| ≤ r/2) − log r`, the logarithm of the mean density where the label may lie; with
    `r = 0` it is `log p(y)`. A label such as an age in whole years says no more than an interval,
    and a likelihood that took it for exact could be made as large as one likes by kernels that
    shrink onto whole numbers.

    Args:
        density: Of `(*batch)` labels.
        target: `(*sample, *batch, *event)`.
        rounding: In the label's unit; other than 0 for scalars only.
    """
    if rounding == 0:
        return density.log_prob(target)
    mass = density.log_mass(target - 0.5 * rounding, target + 0.5 * rounding)
    return mass - math.log(rounding)


class CellHead(Head):
    """A head with one number a cell for each kind of quantity, such as a logit.

    The network gives maps for points and a vector for scalars, whose parts are as long as the
    axis. They are ordered by kind first: all logits, then all of the next kind.

    Args:
        count: Number of labels.
        grid: See `Head`.
        rounding: See `Head`.
        kinds: Kinds of quantity per label.

    Attributes:
        scalar_decoder: What `decoder` is for scalars.
        unit: Length of a cell of the network's own grid, in crop pixels or the unit of the labels.
        within: True if nothing can be learned from a label outside the grid.
    """

    scalar_decoder: ClassVar[str] = "median"
    within: ClassVar[bool] = False

    def __init__(self, count: int, grid: Grid, rounding: float = 0.0, kinds: int = 1):
        super().__init__(count, grid, rounding)
        self.takes_maps = grid.ndim > 1
        self.unit = grid.spacing[0]
        self.channels = count * kinds * (1 if self.takes_maps else grid.numel)
        if not self.takes_maps:
            self.decoder = self.scalar_decoder

    def kinds(
        self, outputs: Float[Tensor, "batch channels *cells"]
    ) -> Float[Tensor, "batch kinds labels *own_cells"]:
        """Return the outputs with the kinds of quantity apart, in float32 or better."""
        cells = () if self.takes_maps else self.grid.shape
        return at_least_single(outputs).unflatten(1, (-1, self.count, *cells))

    def covers(
        self,
        outputs: Float[Tensor, "batch channels *cells"],
        target: Float[Tensor, "batch labels *event"],
    ) -> Bool[Tensor, "batch labels"]:
        """Return True where the loss can be learned from: within the grid, or everywhere."""
        if not self.within:
            return super().covers(outputs, target)
        low, high = target.new_tensor(self.grid.low), target.new_tensor(self.grid.high)
        points = target.reshape(*target.shape[:2], self.grid.ndim)
        return ((points >= low) & (points < high)).all(dim=-1)


def at_least_single(outputs: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """Return outputs in float32, or in float64 if they are."""
    return outputs if outputs.dtype == torch.float64 else outputs.float()
