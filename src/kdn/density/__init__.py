"""Predictive densities over positions, as `torch.distributions`.

This layer needs torch alone, so that it can be used inside other people's training code.
"""

from kdn.density.combine import LogPool, MixtureDensity, log_pool, mixture
from kdn.density.decode import DECODERS, decode
from kdn.density.density import Density, MappedDensity
from kdn.density.gaussian import GaussianDensity
from kdn.density.kernel_density import KernelDensity
from kdn.density.kernels import Gaussian, Kernel, Uniform
from kdn.density.laplace import LaplaceDensity
from kdn.density.nodes import Nodes

__all__ = [
    "DECODERS",
    "Density",
    "Gaussian",
    "GaussianDensity",
    "Kernel",
    "KernelDensity",
    "LaplaceDensity",
    "LogPool",
    "MappedDensity",
    "MixtureDensity",
    "Nodes",
    "Uniform",
    "decode",
    "log_pool",
    "mixture",
]
