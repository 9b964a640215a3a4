"""Scores of predictions on disk: what is valid counts, percentages are percentages, no networks.

`evaluate` gives all scores of a file, `diagnose` says whether its densities are calibrated; both
read `kdn.evaluate.table.SCORES`. The functions are their parts, for arrays of numbers.
"""

from kdn.evaluate.accuracy import (
    BOX_AREA,
    COCO_CONSTANTS,
    auc,
    ced,
    failure_rate,
    image_errors,
    nme,
    normalisers,
    oks,
    pck_terms,
    point_errors,
)
from kdn.evaluate.bounds import auc_bounds, check_auc, least_nme
from kdn.evaluate.calibration import diagnose
from kdn.evaluate.diagnosis import Curves, Diagnosis, Part
from kdn.evaluate.labelled import crop_log_prob
from kdn.evaluate.levels import Uniformity, central_share, share_up_to, uniformity_test
from kdn.evaluate.resamples import Resamples, interval
from kdn.evaluate.scalars import f1_at, icc31
from kdn.evaluate.scores import Evaluation, Score
from kdn.evaluate.scoring import evaluate
from kdn.evaluate.shape import axis_angle, contour_tangents, elongation
from kdn.evaluate.table import SCORES

__all__ = [
    "BOX_AREA",
    "COCO_CONSTANTS",
    "SCORES",
    "Curves",
    "Diagnosis",
    "Evaluation",
    "Part",
    "Resamples",
    "Score",
    "Uniformity",
    "auc",
    "auc_bounds",
    "axis_angle",
    "ced",
    "central_share",
    "check_auc",
    "contour_tangents",
    "crop_log_prob",
    "diagnose",
    "elongation",
    "evaluate",
    "f1_at",
    "failure_rate",
    "icc31",
    "image_errors",
    "interval",
    "least_nme",
    "nme",
    "normalisers",
    "oks",
    "pck_terms",
    "point_errors",
    "share_up_to",
    "uniformity_test",
]
