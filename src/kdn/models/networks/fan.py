"""The face alignment network: stacked hourglasses of multi-scale residual blocks.

Source: Bulat and Tzimiropoulos, *How far are we from solving the 2D & 3D face alignment problem?*,
ICCV 2017. The comments at the ends of lines give shapes for the published size, 256×256 input.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from kdn.models.networks import Network

__all__ = ["FAN", "Activated", "Hourglass", "MultiScaleBlock", "Stack"]


class FAN(Network):
    """Stacked hourglasses that give maps at a quarter of the input's resolution.

    With four stacks, 256 features, depth 4 and 68 output channels it has the published size:
    23 820 176 parameters.

    Args:
        channels: Output channels of every stack.
        stacks: Hourglasses one after the other.
        features: Channels inside an hourglass, a multiple of 8.
        depth: Halvings inside an hourglass.

    Example:
        >>> network = FAN(channels=5, stacks=2, features=16, depth=2)
        >>> [tuple(maps.shape) for maps in network(torch.zeros(1, 3, 32, 48))]
        [(1, 5, 8, 12), (1, 5, 8, 12)]
    """

    name = "fan"
    gives_maps = True
    stride = 4

    def __init__(self, channels: int, *, stacks: int = 4, features: int = 256, depth: int = 4):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, features // 4, 7, stride=2, padding=3),  # (64, 128, 128)
            nn.BatchNorm2d(features // 4),
            nn.ReLU(inplace=True),
            MultiScaleBlock(features // 4, features // 2),  # (128, 128, 128)
            nn.AvgPool2d(2),  # (128, 64, 64)
            MultiScaleBlock(features // 2, features // 2),
            MultiScaleBlock(features // 2, features),  # (256, 64, 64)
        )
        self.stacks = nn.ModuleList(
            Stack(features, channels, depth, last=i == stacks - 1) for i in range(stacks)
        )

    def forward(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> list[Float[Tensor, "batch channels rows columns"]]:
        """Return the maps of every stack, the last one last.

        Raises:
            ValueError: If height or width is not a multiple of the stride.
        """
        if images.shape[-2] % self.stride or images.shape[-1] % self.stride:
            raise ValueError(
                f"images must have a height and width that are multiples of {self.stride}, "
                f"got {tuple(images.shape)}"
            )
        features = self.stem(images)
        outputs = []
        for stack in self.stacks:
            maps, features = stack(features)
            outputs.append(maps)
        return outputs


class Stack(nn.Module):
    """One hourglass, its maps, and what it hands to the next one."""

    def __init__(self, features: int, channels: int, depth: int, *, last: bool):
        super().__init__()
        self.hourglass = Hourglass(features, depth)
        self.after = nn.Sequential(
            MultiScaleBlock(features, features),
            nn.Conv2d(features, features, 1),
            nn.BatchNorm2d(features),
            nn.ReLU(inplace=True),
        )
        self.to_maps = nn.Conv2d(features, channels, 1)
        self.from_features = None if last else nn.Conv2d(features, features, 1)
        self.from_maps = None if last else nn.Conv2d(channels, features, 1)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        refined = self.after(self.hourglass(features))  # (256, 64, 64)
        maps = self.to_maps(refined)  # (68, 64, 64)
        if self.from_features is None or self.from_maps is None:
            return maps, features
        return maps, features + self.from_features(refined) + self.from_maps(maps)


class Hourglass(nn.Module):
    """Halve, work at the coarser scale, double, and add what was kept at the finer one."""

    def __init__(self, features: int, depth: int):
        super().__init__()
        self.beside = MultiScaleBlock(features, features)
        self.down = MultiScaleBlock(features, features)
        self.inner = (
            Hourglass(features, depth - 1) if depth > 1 else MultiScaleBlock(features, features)
        )
        self.up = MultiScaleBlock(features, features)

    def forward(self, features: Tensor) -> Tensor:
        beside = self.beside(features)
        below = self.down(F.avg_pool2d(features, 2, ceil_mode=True))  # odd sizes keep their edge
        below = self.up(self.inner(below))
        return beside + F.interpolate(below, size=beside.shape[-2:], mode="nearest")


class MultiScaleBlock(nn.Module):
    """Three 3×3 convolutions in a row whose outputs are laid side by side, plus a shortcut."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        half, quarter = outputs // 2, outputs // 4
        self.first = Activated(inputs, half, 3)
        self.second = Activated(half, quarter, 3)
        self.third = Activated(quarter, quarter, 3)
        self.shortcut = nn.Identity() if inputs == outputs else Activated(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        first = self.first(x)  # half of the channels
        second = self.second(first)  # a quarter
        third = self.third(second)  # a quarter
        return torch.cat((first, second, third), dim=1) + self.shortcut(x)


class Activated(nn.Module):
    """Batch normalisation, ReLU, convolution: pre-activation order."""

    def __init__(self, inputs: int, outputs: int, kernel: int):
        super().__init__()
        self.norm = nn.BatchNorm2d(inputs)
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.relu(self.norm(x), inplace=True))
