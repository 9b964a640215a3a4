"""Predictions on disk, which `predict` writes and all metrics and figures read.

A Parquet file holds the predictions, a safetensors file beside it the heatmaps of a few samples.
"""

from kdn.predictions.maps import Maps, maps_path, read_maps, write_maps
from kdn.predictions.parquet import read_predictions, write_predictions
from kdn.predictions.record import DECODERS, Predictions

__all__ = [
    "DECODERS",
    "Maps",
    "Predictions",
    "maps_path",
    "read_maps",
    "read_predictions",
    "write_maps",
    "write_predictions",
]
