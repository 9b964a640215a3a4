"""Faces that were found, written to files: JSON, JSON Lines, CSV, Parquet and `.pts`."""

from kdn.predict.outputs.face import FoundFace, ImageFaces, known_of, reason_of
from kdn.predict.outputs.names import OutputNames, refuse_inputs
from kdn.predict.outputs.output import FORMATS, Output, open_output
from kdn.predict.outputs.summary import Summary

__all__ = [
    "FORMATS",
    "FoundFace",
    "ImageFaces",
    "Output",
    "OutputNames",
    "Summary",
    "known_of",
    "open_output",
    "reason_of",
    "refuse_inputs",
]
