"""Predicted objects, written to files: JSON, JSON Lines, CSV, Parquet and `.pts`."""

from kdn.predict.outputs.names import OutputNames, refuse_inputs
from kdn.predict.outputs.output import FORMATS, Output, open_output
from kdn.predict.outputs.rows import PictureObjects
from kdn.predict.outputs.summary import Listing, Summary

__all__ = [
    "FORMATS",
    "Listing",
    "Output",
    "OutputNames",
    "PictureObjects",
    "Summary",
    "open_output",
    "refuse_inputs",
]
