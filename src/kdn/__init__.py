"""Kernel density networks: a calibrated probability density for every landmark and scalar."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kdn.data.markup import FACE68, Markup
    from kdn.density import GaussianDensity, KernelDensity, LaplaceDensity, decode, mixture
    from kdn.grid import Affine, Grid
    from kdn.predict.predictor import load
    from kdn.predict.predictor import load_values as load_values
    from kdn.recipe import Recipe

__all__ = [
    "FACE68",
    "Affine",
    "GaussianDensity",
    "Grid",
    "KernelDensity",
    "LaplaceDensity",
    "Markup",
    "Recipe",
    "__version__",
    "decode",
    "load",
    "mixture",
]

__version__ = "0.1.0"

_HOMES = {
    "kdn.data.markup": ("FACE68", "Markup"),
    "kdn.density": ("GaussianDensity", "KernelDensity", "LaplaceDensity", "decode", "mixture"),
    "kdn.grid": ("Affine", "Grid"),
    "kdn.predict.predictor": ("load", "load_values"),
    "kdn.recipe": ("Recipe",),
}
"""Where each name is defined. It is imported when it is asked for: torch and OpenCV take seconds,
which `kdn --help` and densities alone need not spend."""


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            value = getattr(importlib.import_module(module), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module 'kdn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
