"""Densities mended after training, on labels that were held out: what is fitted and how it is used.

What is measured of calibration is in `kdn.evaluate.calibration`.
"""

from kdn.models.recalibration.adjustment import PARTS, Adjustment
from kdn.models.recalibration.conformal import ConformalLevels
from kdn.models.recalibration.fit import fit_adjustment, mean_nll
from kdn.models.recalibration.record import Recalibration

__all__ = [
    "PARTS",
    "Adjustment",
    "ConformalLevels",
    "Recalibration",
    "fit_adjustment",
    "mean_nll",
]
