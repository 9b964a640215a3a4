"""Predictions on disk, which `predict` writes and all metrics and figures read.

A Parquet file holds the predictions, a safetensors file beside it the heatmaps of a few samples.
"""

from kdn.predictions.cores import core_covariances
from kdn.predictions.labels import Labels, add_labels
from kdn.predictions.maps import Maps, maps_path, read_maps, write_maps
from kdn.predictions.parquet import read_column, read_predictions, write_predictions
from kdn.predictions.published import read_published
from kdn.predictions.record import AREA_LEVELS, DECODERS, Predictions

__all__ = [
    "AREA_LEVELS",
    "DECODERS",
    "Labels",
    "Maps",
    "Predictions",
    "add_labels",
    "core_covariances",
    "maps_path",
    "read_column",
    "read_maps",
    "read_predictions",
    "read_published",
    "write_maps",
    "write_predictions",
]
