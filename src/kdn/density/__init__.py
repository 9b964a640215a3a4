"""Predictive densities over positions, as `torch.distributions`.

This layer needs torch alone, so that it can be used inside other people's training code.
"""

from kdn.density.decode import DECODERS, decode
from kdn.density.distribution import KernelDensity
from kdn.density.gaussian import GaussianDensity
from kdn.density.heaviest import peak_mass
from kdn.density.mapped import MappedDensity

__all__ = [
    "DECODERS",
    "GaussianDensity",
    "KernelDensity",
    "MappedDensity",
    "decode",
    "peak_mass",
]
