"""Detectors of faces: functions from an RGB picture to tight landmark boxes."""

from kdn.predict.detect.detection import Detection, Detector
from kdn.predict.detect.haar import HaarDetector
from kdn.predict.detect.named import WholePicture, detector_for, detector_named, whole_picture
from kdn.predict.detect.yunet import YuNetDetector, box_of_five

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
