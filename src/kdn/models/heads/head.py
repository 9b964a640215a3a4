"""What every head offers: outputs of a network in, a density over the label and a loss out."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from kdn.density import DECODERS, GaussianDensity, KernelDensity, LaplaceDensity, decode
from kdn.grid import Grid

__all__ = ["Head", "MapHead", "rounded_log_prob"]

_LOCAL_CELLS = 2.5


class Head(nn.Module, ABC):
    """Turns the outputs of a network into a density over labels, and into a loss.

    Labels are landmarks in crop pixels, `*event` is `2`; or values on an axis of their own, in its
    unit, and there is no `*event`.

    Attributes:
        landmarks: Number of landmarks, or of values.
        channels: Number of output channels the network must have.
        takes_maps: True if outputs are maps, False if they are vectors.
        stride: Crop pixels per cell of the network's maps; 0 where there are none.
        rounding: Values are known to within half of this either way; 0 for labels that are exact.
        decoder: The decoder that this head's prediction uses unless another is asked for.
    """

    landmarks: int
    channels: int
    takes_maps: bool = True
    stride: int = 0
    rounding: float = 0.0
    decoder: str = "mean"

    @abstractmethod
    def density(self, outputs: Float[Tensor, "batch ..."]) -> Any:
        """Return every landmark's density, batch shape `(batch, landmarks)`, in crop pixels.

        A `KernelDensity` or `GaussianDensity`; of values, which are in the unit of their axis, a
        `KernelDensity` or `LaplaceDensity`.
        """

    def loss(
        self,
        outputs: Float[Tensor, "batch ..."],
        points: Float[Tensor, "batch landmarks *event"],
    ) -> Float[Tensor, "batch landmarks"]:
        """Return one loss per landmark: `−log p(point)` in nats per crop-pixel², or per unit.

        Of values that were rounded it is that of the mean density where they may lie, see
        `rounded_log_prob`.

        Args:
            outputs: What the network gave, `(batch, channels, …)`.
            points: True landmarks, in crop pixels, or values.
        """
        return -rounded_log_prob(self.density(outputs), points, self.rounding)

    def decode(
        self,
        density: KernelDensity | GaussianDensity | LaplaceDensity,
        decoder: str = "default",
    ) -> Float[Tensor, "batch landmarks *event"]:
        """Return one point per landmark, in the frame of the density.

        Args:
            density: What `density` gave.
            decoder: One of `kdn.density.DECODERS`, of values also `median`, or `default` for the
                head's own. `local_mean` looks 2.5 cells of the network's maps around the argmax,
                however fine the density.

        Raises:
            ValueError: If there is no such decoder.
        """
        name = self.decoder if decoder == "default" else decoder
        if isinstance(density, LaplaceDensity):  # of which every point is the same
            names = (*DECODERS, "median")
            if name not in names:
                raise ValueError(f"decoder must be one of {', '.join(names)}, got {name!r}")
            return density.mean
        local = name == "local_mean" and self.takes_maps
        return decode(density, name, radius=_LOCAL_CELLS * self.stride if local else None)

    def covers(
        self,
        outputs: Float[Tensor, "batch ..."],
        points: Float[Tensor, "batch landmarks *event"],
    ) -> Bool[Tensor, "batch landmarks"]:
        """Return True where the loss can be learned from: everywhere, for most heads."""
        return torch.ones(points.shape[:2], dtype=torch.bool, device=points.device)


def rounded_log_prob(
    density: Any,
    points: Float[Tensor, "*sample_and_batch_and_event"],
    rounding: float,
) -> Float[Tensor, "*sample_and_batch"]:
    """Return the log-likelihood of labels that are known to within half of `rounding` either way.

    `log P(|Y − y| ≤ r/2) − log r`, the logarithm of the mean density where the label may lie; with
    `r = 0` it is `log p(y)`. A label such as an age in whole years says no more than an interval,
    and a likelihood that took it for exact could be made as large as one likes by kernels that
    shrink onto whole numbers.

    Args:
        density: Of `(*batch)` labels.
        points: `(*sample, *batch, *event)`.
        rounding: In the label's unit; other than 0 for values on one axis only.
    """
    if rounding == 0:
        return density.log_prob(points)
    mass = density.log_mass(points - 0.5 * rounding, points + 0.5 * rounding)
    return mass - math.log(rounding)


class MapHead(Head):
    """A head over maps with one group of `maps` channels per kind of quantity.

    The channels of the network are ordered by kind first: all logits, then all of the next kind.
    On an axis of values the same are the parts of a vector, each as long as the grid.

    Args:
        landmarks: Number of landmarks, or of values.
        stride: Crop pixels per cell of the network's maps.
        grid: Instead of a stride, the grid of the values.
        maps: Kinds of quantity per landmark.
        rounding: Of values, see `Head`.

    Attributes:
        unit: Length of a cell of the network's own grid: crop pixels, or the unit of the values.
        within: True if nothing can be learned from a point outside the map.

    Raises:
        ValueError: If not exactly one of `stride` and `grid` is given.
    """

    within: bool = False

    def __init__(
        self,
        *,
        landmarks: int,
        stride: int = 0,
        grid: Grid | None = None,
        maps: int = 1,
        rounding: float = 0.0,
    ):
        super().__init__()
        if (grid is None) == (stride == 0):
            raise ValueError(f"exactly one of stride and grid must be given, got {stride}, {grid}")
        self.landmarks = landmarks
        self.stride = stride
        self.own_grid = grid
        self.takes_maps = grid is None
        self.unit = float(stride) if grid is None else grid.spacing[0]
        self.channels = landmarks * maps * (1 if grid is None else grid.numel)
        self.rounding = rounding
        if grid is not None:
            self.decoder = "median"

    def grid(self, outputs: Float[Tensor, "batch channels *cells"]) -> Grid:
        """Return the grid of the maps, its cell centres in crop pixels, or that of the values."""
        if self.own_grid is not None:
            return self.own_grid
        return Grid.of_heatmap(
            height=outputs.shape[-2], width=outputs.shape[-1], stride=self.stride
        )

    def kinds(
        self, outputs: Float[Tensor, "batch channels *cells"]
    ) -> Float[Tensor, "batch kinds landmarks *own_cells"]:
        """Return the outputs with the kinds of quantity apart, in float32 or better."""
        outputs = outputs if outputs.dtype == torch.float64 else outputs.float()
        cells = () if self.own_grid is None else self.own_grid.shape
        return outputs.unflatten(1, (-1, self.landmarks, *cells))

    def covers(
        self,
        outputs: Float[Tensor, "batch channels *cells"],
        points: Float[Tensor, "batch landmarks *event"],
    ) -> Bool[Tensor, "batch landmarks"]:
        """Return True where the loss can be learned from: within the map, or everywhere."""
        if not self.within:
            return super().covers(outputs, points)
        grid = self.grid(outputs)
        low, high = points.new_tensor(grid.low), points.new_tensor(grid.high)
        apart = points.reshape(*points.shape[:2], grid.ndim)
        return ((apart >= low) & (apart < high)).all(dim=-1)
