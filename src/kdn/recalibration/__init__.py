"""Densities mended after training, on labels that were held out: what is fitted and how it is used.

What is measured of calibration is in `kdn.calibration`.
"""

from kdn.recalibration.adjustment import Adjustment
from kdn.recalibration.conformal import ConformalLevels
from kdn.recalibration.fit import PARTS, fit_adjustment, mean_nll
from kdn.recalibration.record import Recalibration

__all__ = [
    "PARTS",
    "Adjustment",
    "ConformalLevels",
    "Recalibration",
    "fit_adjustment",
    "mean_nll",
]
