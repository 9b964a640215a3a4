"""Faces that were found, written to files: JSON, JSON Lines, CSV, Parquet and `.pts`."""

from kdn.outputs.face import FoundFace, ImageFaces, known_of, reason_of
from kdn.outputs.names import OutputNames, refuse_inputs
from kdn.outputs.output import FORMATS, Output, open_output
from kdn.outputs.summary import Summary

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
