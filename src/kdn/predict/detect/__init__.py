"""Detectors of faces: functions from an RGB picture to tight landmark boxes."""

from kdn.predict.detect.detection import Detection, Detector
from kdn.predict.detect.detectors import HaarDetector, YuNetDetector, box_of_five
from kdn.predict.detect.named import WholePicture, detector_for, detector_named, whole_picture

__all__ = [
    "Detection",
    "Detector",
    "HaarDetector",
    "WholePicture",
    "YuNetDetector",
    "box_of_five",
    "detector_for",
    "detector_named",
    "whole_picture",
]
