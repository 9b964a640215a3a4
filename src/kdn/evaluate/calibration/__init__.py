"""Whether predicted densities can be believed: their diagnosis on labelled samples.

Needs predictions on disk alone, no network.
"""

from kdn.evaluate.calibration.curves import coverage_curve, random_levels, risk_coverage
from kdn.evaluate.calibration.diagnose import diagnose
from kdn.evaluate.calibration.diagnosis import Curves, Diagnosis, Part
from kdn.evaluate.calibration.uniformity import Uniformity, uniformity_test

__all__ = [
    "Curves",
    "Diagnosis",
    "Part",
    "Uniformity",
    "coverage_curve",
    "diagnose",
    "random_levels",
    "risk_coverage",
    "uniformity_test",
]
