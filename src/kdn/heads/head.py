"""What every head offers: outputs of a network in, a density in crop pixels and a loss out."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from kdn.density import GaussianDensity, KernelDensity, decode
from kdn.grid import Grid

__all__ = ["Head", "MapHead"]

_LOCAL_CELLS = 2.5


class Head(nn.Module, ABC):
    """Turns the outputs of a network into a density over crop pixels, and into a loss.

    Attributes:
        landmarks: Number of landmarks.
        channels: Number of output channels the network must have.
        takes_maps: True if outputs are maps, False if they are vectors.
        stride: Crop pixels per cell of the network's maps; 0 where there are none.
        decoder: The decoder that this head's prediction uses unless another is asked for.
    """

    landmarks: int
    channels: int
    takes_maps: bool = True
    stride: int = 0
    decoder: str = "mean"

    @abstractmethod
    def density(self, outputs: Float[Tensor, "batch ..."]) -> KernelDensity | GaussianDensity:
        """Return every landmark's density, batch shape `(batch, landmarks)`, in crop pixels."""

    def loss(
        self,
        outputs: Float[Tensor, "batch ..."],
        points: Float[Tensor, "batch landmarks 2"],
    ) -> Float[Tensor, "batch landmarks"]:
        """Return one loss per landmark: `−log p(point)` in nats per crop-pixel².

        Args:
            outputs: What the network gave, `(batch, channels, …)`.
            points: True landmarks, in crop pixels.
        """
        return -self.density(outputs).log_prob(points)

    def decode(
        self, density: KernelDensity | GaussianDensity, decoder: str = "default"
    ) -> Float[Tensor, "batch landmarks 2"]:
        """Return one point per landmark, in the frame of the density.

        Args:
            density: What `density` gave, in crop pixels.
            decoder: One of `kdn.density.DECODERS`, or `default` for the head's own. `local_mean`
                looks 2.5 cells of the network's maps around the argmax, however fine the density.

        Raises:
            ValueError: If there is no such decoder.
        """
        name = self.decoder if decoder == "default" else decoder
        local = name == "local_mean" and self.takes_maps
        return decode(density, name, radius=_LOCAL_CELLS * self.stride if local else None)

    def covers(
        self, outputs: Float[Tensor, "batch ..."], points: Float[Tensor, "batch landmarks 2"]
    ) -> Bool[Tensor, "batch landmarks"]:
        """Return True where the loss can be learned from: everywhere, for most heads."""
        return torch.ones(points.shape[:-1], dtype=torch.bool, device=points.device)


class MapHead(Head):
    """A head over maps with one group of `maps` channels per kind of quantity.

    The channels of the network are ordered by kind first: all logits, then all of the next kind.

    Args:
        landmarks: Number of landmarks.
        stride: Crop pixels per cell of the network's maps.
        maps: Kinds of quantity per landmark.

    Attributes:
        within: True if nothing can be learned from a point outside the map.
    """

    within: bool = False

    def __init__(self, *, landmarks: int, stride: int, maps: int = 1):
        super().__init__()
        self.landmarks = landmarks
        self.stride = stride
        self.channels = landmarks * maps

    def grid(self, outputs: Float[Tensor, "batch channels rows columns"]) -> Grid:
        """Return the grid of the maps, its cell centres in crop pixels."""
        return Grid.of_heatmap(
            height=outputs.shape[-2], width=outputs.shape[-1], stride=self.stride
        )

    def kinds(
        self, outputs: Float[Tensor, "batch channels rows columns"]
    ) -> Float[Tensor, "batch kinds landmarks rows columns"]:
        """Return the outputs with the kinds of quantity apart, in float32 or better."""
        outputs = outputs if outputs.dtype == torch.float64 else outputs.float()
        return outputs.unflatten(1, (-1, self.landmarks))

    def covers(
        self,
        outputs: Float[Tensor, "batch channels rows columns"],
        points: Float[Tensor, "batch landmarks 2"],
    ) -> Bool[Tensor, "batch landmarks"]:
        """Return True where the loss can be learned from: within the map, or everywhere."""
        if not self.within:
            return super().covers(outputs, points)
        grid = self.grid(outputs)
        low, high = points.new_tensor(grid.low), points.new_tensor(grid.high)
        return ((points >= low) & (points < high)).all(dim=-1)
