"""Predictions on disk, which `predict` writes and all scores and figures read.

A Parquet file holds the predictions, a safetensors file beside it the heatmaps of a few samples.
"""

from kdn.predictions.columns import AREA_LEVELS, COLUMNS, DECODERS, QUANTILES, Column, decoders_of
from kdn.predictions.files import (
    PredictionsWriter,
    read_predictions,
    require_kind,
    write_predictions,
)
from kdn.predictions.flat import holds_scalars
from kdn.predictions.labels import Targets, add_labels
from kdn.predictions.maps import Maps, core_covariances, maps_path, read_maps, write_maps
from kdn.predictions.published import read_any, read_published
from kdn.predictions.record import Predictions

__all__ = [
    "AREA_LEVELS",
    "COLUMNS",
    "DECODERS",
    "QUANTILES",
    "Column",
    "Maps",
    "Predictions",
    "PredictionsWriter",
    "Targets",
    "add_labels",
    "core_covariances",
    "decoders_of",
    "holds_scalars",
    "maps_path",
    "read_any",
    "read_maps",
    "read_predictions",
    "read_published",
    "require_kind",
    "write_maps",
    "write_predictions",
]
