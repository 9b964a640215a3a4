"""Whether predicted densities can be believed: their diagnosis on labelled samples.

Needs predictions on disk alone, no network.
"""

from kdn.calibration.curves import coverage_curve, random_levels, risk_coverage
from kdn.calibration.diagnose import diagnose
from kdn.calibration.diagnosis import Curves, Diagnosis, Part
from kdn.calibration.uniformity import Uniformity, uniformity_test

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
