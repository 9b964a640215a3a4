"""Tracks of a whole video, smoothed backwards and forwards once all of it is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from kdn.predict.track.kalman import Fused, smooth
from kdn.predict.track.motion import Motion
from kdn.predict.track.tracker import TrackedFace, fused_face, with_extent

__all__ = ["smooth_tracks", "without_maps"]


def smooth_tracks(
    times: Sequence[float],
    frames: Sequence[Sequence[TrackedFace]],
    *,
    motion: Motion | None = None,
) -> list[list[TrackedFace]]:
    """Return the faces of all frames with their landmarks smoothed over the track of each.

    Every landmark of every frame then rests on the frames before and after it; gaps in which a face
    was not found are bridged, and frames after the last in which it was found are left out.

    Args:
        times: Of the frames, seconds.
        frames: What `FaceTracker.update` returned for each.
        motion: Constants of the smoother; those that the tracker had.

    Raises:
        ValueError: If there is not one time for each frame.
    """
    if len(times) != len(frames):
        raise ValueError(f"times must be one for each of {len(frames)} frames, got {len(times)}")
    result: list[list[TrackedFace]] = [[] for _ in frames]
    for track in sorted({face.track for faces in frames for face in faces}):
        rows = [
            (index, face)
            for index, faces in enumerate(frames)
            for face in faces
            if face.track == track
        ]
        while rows and rows[-1][1].measured is None:
            rows.pop()
        if not rows:
            continue
        measured = [face.measured for _, face in rows]
        fused = smooth(
            np.array([times[index] for index, _ in rows], dtype=np.float64),
            [None if face is None else face.landmarks for face in measured],
            [None if face is None else with_extent(face.covariances) for face in measured],
            motion=motion,
        )
        for row, (index, face) in enumerate(rows):
            here = Fused(fused.landmarks[row], fused.covariances[row], fused.velocities[row])
            result[index].append(replace(face, face=fused_face(face.face, here)))
    return result


def without_maps(faces: Sequence[TrackedFace]) -> list[TrackedFace]:
    """Return faces of a frame without their heatmaps, so that a whole video can be kept.

    What was measured keeps its landmarks and covariances, with the Gaussian of these as density.
    """
    return [
        face
        if face.measured is None
        else replace(face, measured=replace(face.measured, density=face.face.density))
        for face in faces
    ]
