"""What every model has: pictures in, outputs of a network that a head makes densities of."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kdn.models.heads import Head
from kdn.models.networks import FAN, ConvNet, ResNet
from kdn.recipe import NetworkRecipe, Recipe

__all__ = ["PictureModel", "build_network", "stride_of"]

_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)


class PictureModel(nn.Module):
    """A network and a head put together as a recipe says.

    Args:
        recipe: What it was built from.
        network: Gives a list of outputs, one per stack.
        head: Turns one of them into densities.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, *, recipe: Recipe, network: nn.Module, head: Head):
        super().__init__()
        self.recipe = recipe
        self.network = network
        self.head = head
        self.register_buffer("mean", torch.tensor(_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(_DEVIATION).view(3, 1, 1), persistent=False)

    def forward(self, crops: Tensor) -> list[Float[Tensor, "batch ..."]]:
        """Return the network's outputs, one per stack, the last one last.

        Args:
            crops: RGB, `(batch, 3, height, width)`: `uint8`, or floating point in [0, 1].
        """
        images = crops.to(self.mean) / 255 if crops.dtype == torch.uint8 else crops
        images = (images - self.mean) / self.deviation
        return self.network(images.contiguous(memory_format=torch.channels_last))


def build_network(recipe: NetworkRecipe, *, channels: int) -> FAN | ResNet | ConvNet:
    """Return a network with fresh weights drawn from torch's global generator.

    Args:
        recipe: What it is.
        channels: Channels of its maps, or length of its vector.
    """
    if recipe.name == "fan":
        return FAN(
            channels=channels, stacks=recipe.stacks, features=recipe.features, depth=recipe.depth
        )
    if recipe.name == "conv":
        return ConvNet(
            channels=channels,
            features=recipe.features,
            depth=recipe.depth,
            dropout=recipe.dropout,
        )
    return ResNet(channels=channels, layers=int(recipe.name.removeprefix("resnet")))


def stride_of(recipe: Recipe) -> int:
    """Return how many crop pixels a network's last cell is wide.

    Raises:
        ValueError: If the crop is no multiple of it.
    """
    strides = {"fan": FAN.stride, "conv": 2**recipe.network.depth}
    stride = strides.get(recipe.network.name, ResNet.stride)
    height, width = recipe.data.height, recipe.data.width
    if height % stride or width % stride:
        raise ValueError(
            f"data.height and data.width must be multiples of {stride} for {recipe.network.name}, "
            f"got {height} and {width}"
        )
    return stride
