"""Kernel density networks: a calibrated probability density for every landmark."""

from kdn.density import GaussianDensity, KernelDensity, decode
from kdn.grid import Affine, Grid
from kdn.markup import FACE68, Markup
from kdn.recipe import Recipe

__all__ = [
    "FACE68",
    "Affine",
    "GaussianDensity",
    "Grid",
    "KernelDensity",
    "Markup",
    "Recipe",
    "__version__",
    "decode",
]

__version__ = "0.1.0"
