"""Networks that score the cells of a grid, or give one vector per picture."""

from kdn.models.networks.conv import ConvNet
from kdn.models.networks.fan import FAN
from kdn.models.networks.resnet import ResNet

__all__ = ["FAN", "ConvNet", "ResNet"]
