"""Detectors of faces: functions from an RGB picture to tight landmark boxes."""

from kdn.detect.detection import Detection, Detector
from kdn.detect.haar import HaarDetector
from kdn.detect.named import WholePicture, detector_for, detector_named, whole_picture
from kdn.detect.yunet import YuNetDetector, box_of_five

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
