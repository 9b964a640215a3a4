"""Networks that score the cells of a grid, or give one vector per picture."""

from kdn.networks.conv import ConvNet
from kdn.networks.fan import FAN
from kdn.networks.resnet import ResNet

__all__ = ["FAN", "ConvNet", "ResNet"]
