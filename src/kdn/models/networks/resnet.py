"""Residual networks whose state-dict keys are torchvision's, so that its weights load.

Source: He, Zhang, Ren and Sun, *Deep residual learning for image recognition*, CVPR 2016, with the
stride on the 3×3 convolution of a bottleneck. End-of-line comments give shapes for ResNet-50 at
128×128.
"""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from kdn.models.networks import Network

__all__ = ["Basic", "Bottleneck", "ResNet", "ResNet18", "ResNet50"]


class ResNet(Network):
    """A residual network that gives one vector per picture.

    Args:
        channels: Length of the output vector.

    Attributes:
        block: What a stage is made of.
        blocks: How many of them each of the four stages has.
    """

    stride = 32
    block: ClassVar[type[Basic] | type[Bottleneck]]
    blocks: ClassVar[tuple[int, int, int, int]]

    def __init__(self, channels: int):
        super().__init__()
        block, counts = self.block, self.blocks
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = _layer(block, 64, 64, counts[0], stride=1)
        self.layer2 = _layer(block, 64 * block.expansion, 128, counts[1], stride=2)
        self.layer3 = _layer(block, 128 * block.expansion, 256, counts[2], stride=2)
        self.layer4 = _layer(block, 256 * block.expansion, 512, counts[3], stride=2)
        self.fc = nn.Linear(512 * block.expansion, channels)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> list[Float[Tensor, "batch channels"]]:
        """Return the output vectors, in a list of one as a network of one stack gives."""
        x = F.relu(self.bn1(self.conv1(images)), inplace=True)  # (64, 64, 64)
        x = F.max_pool2d(x, 3, stride=2, padding=1)  # (64, 32, 32)
        x = self.layer1(x)  # (256, 32, 32)
        x = self.layer2(x)  # (512, 16, 16)
        x = self.layer3(x)  # (1024, 8, 8)
        x = self.layer4(x)  # (2048, 4, 4)
        return [self.fc(x.mean(dim=(-2, -1)))]


def _layer(
    block: type[Basic] | type[Bottleneck], inputs: int, width: int, count: int, *, stride: int
) -> nn.Sequential:
    """Return `count` blocks, the first of which changes resolution and channels."""
    outputs = width * block.expansion
    blocks = [block(inputs, width, stride)]
    blocks += [block(outputs, width, 1) for _ in range(count - 1)]
    return nn.Sequential(*blocks)


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    """Return the projection of a block that changes shape; None where the identity serves."""
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
    )


class Basic(nn.Module):
    """Two 3×3 convolutions and a shortcut."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(inputs, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(self.bn2(self.conv2(x)) + shortcut, inplace=True)


class Bottleneck(nn.Module):
    """A 1×1, a 3×3 and a 1×1 convolution that widens four times, and a shortcut."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int):
        super().__init__()
        outputs = width * self.expansion
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = _shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = F.relu(self.bn2(self.conv2(x)), inplace=True)
        return F.relu(self.bn3(self.conv3(x)) + shortcut, inplace=True)


class ResNet18(ResNet):
    """The smaller one.

    Example:
        >>> import torch
        >>> [vector.shape for vector in ResNet18(10)(torch.zeros(2, 3, 32, 64))]
        [torch.Size([2, 10])]
    """

    name = "resnet18"
    block, blocks = Basic, (2, 2, 2, 2)


class ResNet50(ResNet):
    """The larger one, of 23.6 million weights beside the last layer's."""

    name = "resnet50"
    block, blocks = Bottleneck, (3, 4, 6, 3)
