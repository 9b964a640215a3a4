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
from kdn.metrics.correlation import pearson, spearman
from kdn.metrics.sparsification import ause, sparsification
from kdn.metrics.uncertainty import coverage, crop_log_prob, nll, nll_median, zero_density

__all__ = [
    "auc",
    "ause",
    "ced",
    "check_auc",
    "coverage",
    "crop_log_prob",
    "failure_rate",
    "image_errors",
    "interval",
    "nll",
    "nll_median",
    "nme",
    "normalisers",
    "pearson",
    "point_errors",
    "resample_counts",
    "sparsification",
    "spearman",
    "zero_density",
]
