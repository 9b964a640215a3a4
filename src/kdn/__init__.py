"""Kernel density networks: a calibrated probability density for every landmark."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdn.data.markup import FACE68, Markup
from kdn.density import GaussianDensity, KernelDensity, LaplaceDensity, decode
from kdn.grid import Affine, Grid
from kdn.recipe import Recipe

if TYPE_CHECKING:
    from kdn.predict.estimator import Estimator
    from kdn.predict.predictor import Landmarker

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
    """Return a landmarker of models; see `kdn.predict.predictor.load`."""
    from kdn.predict.predictor import load  # OpenCV and the rest, which densities alone do not need

    return load(
        model, device=device, mirror=mirror, views=views, combine=combine, calibrated=calibrated
    )


def load_values(model: str | Path, *, device: str = "cpu") -> Estimator:
    """Return an estimator of scalars; see `kdn.predict.estimator.load_values`."""
    from kdn.predict.estimator import load_values

    return load_values(model, device=device)
