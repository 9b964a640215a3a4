"""Predictive densities over positions, as `torch.distributions`.

This layer needs torch alone, so that it can be used inside other people's training code.
"""

from kdn.density.decode import DECODERS, decode
from kdn.density.discs import mass_within
from kdn.density.distribution import KernelDensity
from kdn.density.gaussian import GaussianDensity
from kdn.density.heaviest import peak_mass
from kdn.density.laplace import LaplaceDensity
from kdn.density.mapped import MappedDensity
from kdn.density.mixture import MixtureDensity, mixture
from kdn.density.product import ProductDensity, product

__all__ = [
    "DECODERS",
    "GaussianDensity",
    "KernelDensity",
    "LaplaceDensity",
    "MappedDensity",
    "MixtureDensity",
    "ProductDensity",
    "decode",
    "mass_within",
    "mixture",
    "peak_mass",
    "product",
]
