"""Metrics on arrays of numbers: what is valid counts, percentages are percentages, no networks."""

from kdn.evaluate.accuracy import (
    auc,
    ced,
    check_auc,
    failure_rate,
    image_errors,
    nme,
    normalisers,
    point_errors,
)
from kdn.evaluate.bootstrap import interval, resample_counts
from kdn.evaluate.bounds import auc_bounds, least_nme
from kdn.evaluate.correlation import pearson, spearman
from kdn.evaluate.dropping import Dropping, dropping
from kdn.evaluate.keypoints import BOX_AREA, COCO_CONSTANTS, oks, pck_terms
from kdn.evaluate.ranking import auroc, average_precision
from kdn.evaluate.rounded import central_coverage, pit_histogram
from kdn.evaluate.shape import axis_angle, contour_tangents, elongation
from kdn.evaluate.sparsification import ause, sparsification
from kdn.evaluate.uncertainty import coverage, crop_log_prob, nll, nll_median, zero_density
from kdn.evaluate.values import cumulative_score, f1_at, icc31, mean_absolute_error

__all__ = [
    "BOX_AREA",
    "COCO_CONSTANTS",
    "Dropping",
    "auc",
    "auc_bounds",
    "auroc",
    "ause",
    "average_precision",
    "axis_angle",
    "ced",
    "central_coverage",
    "check_auc",
    "contour_tangents",
    "coverage",
    "crop_log_prob",
    "cumulative_score",
    "dropping",
    "elongation",
    "f1_at",
    "failure_rate",
    "icc31",
    "image_errors",
    "interval",
    "least_nme",
    "mean_absolute_error",
    "nll",
    "nll_median",
    "nme",
    "normalisers",
    "oks",
    "pck_terms",
    "pearson",
    "pit_histogram",
    "point_errors",
    "resample_counts",
    "sparsification",
    "spearman",
    "zero_density",
]
