"""A small convolutional network that gives one vector per picture.

Residual blocks of two 3×3 convolutions, one a stage; every stage but the first halves the
resolution and doubles the features. The shortcut of such a stage averages 2×2 cells before its 1×1
convolution, so that it looks at all of them (He et al., *Bag of tricks for image classification
with convolutional neural networks*, CVPR 2019, ResNet-D). End-of-line comments give shapes for 32
features and a depth of 4 at 64×64.
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from kdn.models.networks import Network

__all__ = ["ConvNet"]


class ConvNet(Network):
    """What tells scalars such as an age from a few thousand pictures in minutes.

    Args:
        channels: Length of the output vector.
        features: Channels of the first stage.
        depth: Halvings of the resolution, at least one.
        dropout: Share of the pooled features that are left out at random in training.

    Example:
        >>> import torch
        >>> network = ConvNet(channels=10, features=8, depth=3)
        >>> [vector.shape for vector in network(torch.zeros(2, 3, 32, 48))]
        [torch.Size([2, 10])]
    """

    name = "conv"

    def __init__(self, channels: int, *, features: int = 32, depth: int = 4, dropout: float = 0.0):
        super().__init__()
        self.stride = self.stride_of(depth=depth)
        self.conv1 = nn.Conv2d(3, features, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(features)
        widths = [features * 2**stage for stage in range(depth)]
        blocks = [_Block(features, features, 1)]
        blocks += [_Block(width // 2, width, 2) for width in widths[1:]]
        self.stages = nn.Sequential(*blocks)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(widths[-1], channels)

    @classmethod
    def stride_of(cls, *, depth: int = 4, **settings: Any) -> int:
        """Return `2 ** depth`."""
        return 2**depth

    def forward(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> list[Float[Tensor, "batch channels"]]:
        """Return the output vectors, in a list of one as a network of one stack gives."""
        x = F.relu(self.bn1(self.conv1(images)), inplace=True)  # (32, 32, 32)
        x = self.stages(x)  # (32, 32, 32) → (64, 16, 16) → (128, 8, 8) → (256, 4, 4)
        return [self.fc(self.dropout(x.mean(dim=(-2, -1))))]


class _Block(nn.Module):
    """Two 3×3 convolutions and a shortcut, which where the resolution is halved averages first."""

    def __init__(self, inputs: int, width: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut = nn.Sequential()
        if stride > 1:
            self.shortcut = nn.Sequential(
                nn.AvgPool2d(stride),
                nn.Conv2d(inputs, width, 1, bias=False),
                nn.BatchNorm2d(width),
            )

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(self.bn2(self.conv2(y)) + self.shortcut(x), inplace=True)
