"""Faces in videos: frames, tracks, and landmarks fused over time."""

from kdn.track.frames import VideoWriter, read_frames
from kdn.track.kalman import Fused, LandmarkFilter, smooth
from kdn.track.motion import Motion
from kdn.track.offline import smooth_tracks
from kdn.track.tracker import FaceTracker, Rules, TrackedFace

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
]
