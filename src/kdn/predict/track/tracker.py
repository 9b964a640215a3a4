"""Faces followed through a video: who is who, who comes and who goes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float64, UInt8

from kdn.data.sample import Box, iou
from kdn.density import GaussianDensity
from kdn.grid import Affine
from kdn.predict.results import Face
from kdn.predict.track.boxes import box_about, inside, matched, moved
from kdn.predict.track.kalman import Fused, LandmarkFilter
from kdn.predict.track.motion import Motion

__all__ = ["FaceTracker", "Found", "Rules", "TrackedFace", "fused_face", "with_extent"]

Picture = UInt8[np.ndarray, "height width 3"]


class Found(Protocol):
    """What a detector says of one face: `kdn.predict.detect.Detection` will do."""

    @property
    def bbox(self) -> Box:
        """Box `(x0, y0, x1, y1)`, image pixels, as tight as one about the landmarks."""
        ...


@dataclass(frozen=True)
class Rules:
    """When faces are looked for, believed and given up.

    Args:
        every: The detector runs in every so many frames, and in those that follow the loss of a
            face or have none.
        patience: A track ends when its face was not found in more than so many frames on end.
        score: A face with a lower score is none.
        overlap: Boxes with a lower IoU are not one face. This decides about a detection and a
            track, and about a face's landmarks and the box that it was looked for in.
        unconfirmed: A track ends when so many of the detector's regular runs on end had nothing
            there: a network for landmarks may find a face in a wall. None never ends it for that.

    Raises:
        ValueError: If a number is out of range.
    """

    every: int = 10
    patience: int = 5
    score: float = 0.4
    overlap: float = 0.3
    unconfirmed: int | None = 6

    def __post_init__(self) -> None:
        counts = {"every": (self.every, 1), "patience": (self.patience, 0)}
        if self.unconfirmed is not None:
            counts["unconfirmed"] = (self.unconfirmed, 1)
        for name, (value, least) in counts.items():
            if value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}")
        if not 0 <= self.score <= 1:
            raise ValueError(f"score must be in [0, 1], got {self.score}")
        if not 0 < self.overlap <= 1:  # at 0 boxes far apart would be one face
            raise ValueError(f"overlap must be above 0 and at most 1, got {self.overlap}")


@dataclass(frozen=True)
class TrackedFace:
    """A face in one frame of a video.

    Args:
        track: Number of the track, the same as long as the face is followed.
        face: With the landmarks, covariances and uncertainty of all frames so far, all in image
            pixels, the box about these landmarks, and the Gaussian of these moments as its density.
            The score is the model's for this frame alone, 0 where it was not found.
        measured: What the model said of this frame alone; None where the face was not found and
            `face` is where its motion leads.
    """

    track: int
    face: Face
    measured: Face | None


@dataclass
class _Track:
    """A face that is being followed."""

    number: int
    filter: LandmarkFilter
    fused: Fused
    face: Face  # as it was last measured
    time: float  # of that
    missed: int = 0
    unconfirmed: int = 0

    def box_at(self, time: float) -> Box:
        """Return where the face should be: its last box, moved by its landmarks' mean velocity.

        Landmark by landmark the velocities would pull the box apart while a face is not found.
        """
        by = (time - self.time) * self.fused.velocities.mean(axis=0)
        return moved(box_about(self.fused.landmarks), by)


class FaceTracker:
    """Follows faces from frame to frame and fuses their landmarks over time.

    In each frame the model looks for every face in the box that follows from its landmarks so far;
    the detector, which costs more, runs now and then (`Rules`), finds who is new, and says where to
    look for those who were lost. A face that is found goes into the Kalman filter of its track with
    the covariances that the model gives it in this frame, so that a frame in which it is covered or
    blurred counts for little. Of two tracks on one face the younger ends.

    Args:
        model: `kdn.load(…)`, or any function of a picture and `boxes=` that returns a `Face` for
            each box.
        detector: Any function of an RGB picture that returns detections with a `bbox`.
        motion: Constants of the filter.
        rules: When faces are looked for, believed and given up.

    Example:
        >>> tracker = FaceTracker(model, detector)  # doctest: +SKIP
        >>> for time, image in read_frames("clip.mp4"):  # doctest: +SKIP
        ...     for tracked in tracker.update(image, time=time):
        ...         print(tracked.track, tracked.face.landmarks[30], tracked.face.uncertainty[30])
    """

    def __init__(
        self,
        model: Callable[..., Sequence[Face]],
        detector: Callable[[Picture], Sequence[Found]],
        *,
        motion: Motion | None = None,
        rules: Rules | None = None,
    ) -> None:
        self._model = model
        self._detector = detector
        self._motion = Motion() if motion is None else motion
        self._rules = Rules() if rules is None else rules
        self._tracks: list[_Track] = []
        self._frames = 0
        self._number = 0

    def track(
        self, frames: Iterable[tuple[float, Picture]]
    ) -> Iterator[tuple[float, Picture, list[TrackedFace]]]:
        """Yield each frame with its time, seconds, and its faces."""
        for time, image in frames:
            yield time, image, self.update(image, time=time)

    def update(self, image: Picture, *, time: float) -> list[TrackedFace]:
        """Take in a frame and return its faces, the oldest track first.

        Args:
            image: RGB.
            time: Seconds, later than the frame before.

        Raises:
            ValueError: If the time is not later than that of the frame before, or the model does
                not return a face for each box.
        """
        height, width = image.shape[:2]
        boxes = [track.box_at(time) for track in self._tracks]
        new = self._detected(image, boxes)
        self._frames += 1
        # No crop can be cut by a box that lies beside the picture, or has no area.
        asked = [
            i
            for i, box in enumerate([*boxes, *new])
            if inside(box, height=height, width=width) > 0.25
        ]
        faces = dict(
            zip(asked, self._found(image, [[*boxes, *new][i] for i in asked]), strict=True)
        )
        for i, track in enumerate(self._tracks):
            self._follow(track, faces.get(i), boxes[i], time)
        count = len(boxes)
        for i, box in enumerate(new):
            face = faces.get(count + i)
            if face is not None and self._believed(face, box):
                self._start(face, time)
        self._end_tracks()
        return [self._output(track, time) for track in self._tracks]

    def _detected(self, image: Picture, boxes: list[Box]) -> list[Box]:
        """Return the boxes of faces without a track; move the boxes of lost ones, in place."""
        due = self._frames % self._rules.every == 0
        if not due and self._tracks and not any(track.missed for track in self._tracks):
            return []
        detected = [detection.bbox for detection in self._detector(image)]
        pairs = matched(boxes, detected, least=self._rules.overlap)
        for i, track in enumerate(self._tracks):
            # Runs for the sake of another face would count too fast for one seen from the side.
            track.unconfirmed = 0 if i in pairs else track.unconfirmed + due
            if track.missed and i in pairs:
                boxes[i] = detected[pairs[i]]
        # A second detection on a face that is followed is no new face.
        return [
            box
            for j, box in enumerate(detected)
            if j not in pairs.values()
            and all(iou(box, other) < self._rules.overlap for other in boxes)
        ]

    def _found(self, image: Picture, boxes: list[Box]) -> Sequence[Face]:
        """Return the model's face for each box."""
        if not boxes:
            return []
        faces = self._model(image, boxes=boxes)
        if len(faces) != len(boxes):
            raise ValueError(
                f"model must return a face for each of {len(boxes)} boxes, got {len(faces)}"
            )
        return faces

    def _believed(self, face: Face, box: Box) -> bool:
        """Return whether a face is one, and there where it was looked for."""
        near = iou(box_about(face.landmarks), box) >= self._rules.overlap
        return near and face.score >= self._rules.score

    def _follow(self, track: _Track, face: Face | None, box: Box, time: float) -> None:
        if face is not None and self._believed(face, box):
            track.fused = track.filter.filter(time, face.landmarks, with_extent(face.covariances))
            track.face, track.time, track.missed = face, time, 0
        else:
            track.missed += 1

    def _start(self, face: Face, time: float) -> None:
        landmarks = LandmarkFilter(self._motion)
        fused = landmarks.filter(time, face.landmarks, with_extent(face.covariances))
        self._tracks.append(_Track(self._number, landmarks, fused, face, time))
        self._number += 1

    def _end_tracks(self) -> None:
        """End tracks that were lost for too long, or that follow the face of an older one."""
        kept: list[_Track] = []
        for track in self._tracks:
            never = self._rules.unconfirmed
            gone = track.missed > self._rules.patience
            alone = never is not None and track.unconfirmed >= never
            box = box_about(track.fused.landmarks)
            double = any(iou(box, box_about(other.fused.landmarks)) > 0.6 for other in kept)
            if not (gone or alone or double):
                kept.append(track)
        self._tracks = kept

    def _output(self, track: _Track, time: float) -> TrackedFace:
        if not track.missed:
            return TrackedFace(track.number, fused_face(track.face, track.fused), track.face)
        ahead = track.filter.predict(time)
        return TrackedFace(track.number, fused_face(replace(track.face, score=0.0), ahead), None)


def with_extent(
    covariances: Float64[np.ndarray, "landmarks 2 2"],
) -> Float64[np.ndarray, "landmarks 2 2"]:
    """Return covariances of which none is flat.

    A heatmap with all its mass in one cell has the covariance 0. It knows the place to a pixel at
    best: 1/12 px² along each axis is the variance within one.

    Args:
        covariances: Image pixels².
    """
    flat = np.linalg.det(covariances) <= 0
    return covariances + flat[:, None, None] * np.eye(2) / 12


def fused_face(face: Face, fused: Fused) -> Face:
    """Return a face with the landmarks and covariances of one frame of a fusion.

    Args:
        face: Whose score and mark-up are kept.
        fused: Of one frame, image pixels.
    """
    mean, covariance = torch.from_numpy(fused.landmarks), torch.from_numpy(fused.covariances)
    density = GaussianDensity(mean, covariance=covariance).mapped(Affine.identity())
    return replace(
        face,
        bbox=box_about(fused.landmarks),
        landmarks=fused.landmarks,
        covariances=fused.covariances,
        uncertainty=np.linalg.det(fused.covariances) ** 0.25,
        density=density,
    )
