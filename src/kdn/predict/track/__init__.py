"""Faces in videos: frames, tracks, and landmarks fused over time."""

from kdn.predict.track.frames import VideoWriter, read_frames
from kdn.predict.track.kalman import Fused, LandmarkFilter, smooth
from kdn.predict.track.motion import Motion
from kdn.predict.track.offline import smooth_tracks, without_maps
from kdn.predict.track.tracker import FaceTracker, Rules, TrackedFace

__all__ = [
    "FaceTracker",
    "Fused",
    "LandmarkFilter",
    "Motion",
    "Rules",
    "TrackedFace",
    "VideoWriter",
    "read_frames",
    "smooth",
    "smooth_tracks",
    "without_maps",
]
