"""Metrics on arrays of numbers: what is valid counts, percentages are percentages, no networks."""

from kdn.metrics.accuracy import (
    auc,
    ced,
    check_auc,
    failure_rate,
    image_errors,
    nme,
    normalisers,
    point_errors,
)
from kdn.metrics.bootstrap import interval, resample_counts
from kdn.metrics.bounds import auc_bounds, least_nme
from kdn.metrics.correlation import pearson, spearman
from kdn.metrics.dropping import Dropping, dropping
from kdn.metrics.keypoints import BOX_AREA, COCO_CONSTANTS, oks, pck_terms
from kdn.metrics.ranking import auroc, average_precision
from kdn.metrics.rounded import central_coverage, pit_histogram
from kdn.metrics.shape import axis_angle, contour_tangents, elongation
from kdn.metrics.sparsification import ause, sparsification
from kdn.metrics.uncertainty import coverage, crop_log_prob, nll, nll_median, zero_density
from kdn.metrics.values import cumulative_score, f1_at, icc31, mean_absolute_error

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
