"""Kernel density networks: a calibrated probability density for every landmark."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdn.density import GaussianDensity, KernelDensity, LaplaceDensity, decode
from kdn.grid import Affine, Grid
from kdn.markup import FACE68, Markup
from kdn.recipe import Recipe

if TYPE_CHECKING:
    from kdn.estimator import Estimator
    from kdn.landmarker import Landmarker

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
    "load_values",
]

__version__ = "0.1.0"


def load(
    model: str | Path | Sequence[str | Path] = "face68",
    *,
    device: str = "cpu",
    mirror: bool | None = None,
    views: Sequence[Any] = (1.0,),
    combine: str = "mixture",
    calibrated: bool = True,
) -> Landmarker:
    """Return a landmarker, of the package's model or checkpoints; see `kdn.landmarker.load`."""
    from kdn.landmarker import load  # OpenCV and the rest, which densities alone do not need

    return load(
        model, device=device, mirror=mirror, views=views, combine=combine, calibrated=calibrated
    )


def load_values(model: str | Path, *, device: str = "cpu") -> Estimator:
    """Return what tells values, such as an age, of pictures; see `kdn.estimator.load_values`."""
    from kdn.estimator import load_values

    return load_values(model, device=device)
