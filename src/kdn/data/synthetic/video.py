"""Synthetic videos: one drawn face that moves smoothly, with its landmarks exact in every frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

import numpy as np
from jaxtyping import Float64, UInt8

from kdn.data.sample import Sample, tight_box
from kdn.data.synthetic import scene as scene
from kdn.data.synthetic.drawing import Canvas, draw_face, draw_head
from kdn.data.synthetic.faces import _jaw_seen, _outline
from kdn.data.synthetic.motion import Pose, draw_moves, expressed
from kdn.data.synthetic.shape import FaceShape, draw_shape, project

__all__ = ["SyntheticVideo"]

# What each stream of random numbers is for: of one video, the same in all of its frames.
_SHAPE, _MOVES, _PALETTE, _GAZE, _ROUTE, _BACKGROUND, _HAIR, _BODY, _FRINGE, _GLASSES = range(10)
_OCCLUDER, _LIGHT, _NOISE = range(10, 13)


class SyntheticVideo(Sequence[Sample]):
    """The frames of a cartoon face that turns, moves, talks and blinks.

    Face, colours, background, hair, glasses and light are those of one seed and stay; the head goes
    from pose to pose and rests there (`kdn.data.synthetic.motion`). Frame `index` depends on
    `seed`, `fps`, `size` and `index` alone, not on the number of frames; times are `index / fps`.

    The box is the tight box of the landmarks, `visible` is False behind the occluder and where the
    head hides its far jaw, and nothing is ambiguous.

    Args:
        frames: Number of frames.
        seed: Seed of everything.
        size: Height and width of the pictures.
        fps: Frames per second.
        noise: Standard deviation of grain, fresh in every frame, in grey values of 0 to 255.
        occluder: Let something (a hand, a card, a bar) pass across the face, every three seconds.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> video = SyntheticVideo(50, seed=3)
        >>> video[10].read().shape, video.times[10].item()
        ((192, 192, 3), 0.4)
    """

    def __init__(
        self,
        frames: int,
        *,
        seed: int,
        size: tuple[int, int] = (192, 192),
        fps: float = 25.0,
        noise: float = 5.0,
        occluder: bool = True,
    ) -> None:
        if frames < 1:
            raise ValueError(f"frames must be at least 1, got {frames}")
        if seed < 0:
            raise ValueError(f"seed must be 0 or more, got {seed}")
        if min(size) < 16:
            raise ValueError(f"size must be at least 16 on both axes, got {size}")
        for name, value, least in (("fps", fps, 1e-6), ("noise", noise, 0.0)):
            if not (np.isfinite(value) and value >= least):
                raise ValueError(f"{name} must be finite and at least {least}, got {value}")
        self._seed = seed
        self._size = size
        self._noise = noise
        self._occluder = occluder
        self.times: Float64[np.ndarray, " frames"] = np.arange(frames) / fps
        self._moves = draw_moves(self._rng(_MOVES), seconds=frames / fps)
        self._shape = _face_at_rest(self._rng(_SHAPE))
        self._palette = scene.draw_palette(self._rng(_PALETTE))
        self._gaze = self._rng(_GAZE).uniform(-1, 1, 2)
        self._background = scene.draw_background(
            self._rng(_BACKGROUND), height=size[0], width=size[1]
        ).pixels

    def _rng(self, *stream: int) -> np.random.Generator:
        return np.random.default_rng((self._seed, 2, *stream))

    def __len__(self) -> int:
        return len(self.times)

    @overload
    def __getitem__(self, index: int) -> Sample: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Sample]: ...

    def __getitem__(self, index: int | slice) -> Sample | Sequence[Sample]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"index {index} is out of range for {len(self)} frames")
        index = int(index) % len(self)
        time = float(self.times[index])
        landmarks, cranium, unit = self._placed(self._moves.at(time))
        canvas = Canvas(self._background.copy())
        jaw_seen = self._draw(canvas, landmarks, cranium, unit)
        if self._occluder:
            self._draw_occluder(canvas, time)
        visible = ~canvas.hides(landmarks)
        visible[:17] &= jaw_seen
        picture = scene.finish(canvas, self._rng(_LIGHT), degrade=False)
        name = f"synthetic-video/{self._seed}/{index:06d}"
        whole = np.ones(68, dtype=bool)
        return Sample(
            id=name,
            image=self._grained(picture, index),
            landmarks=landmarks,
            bbox=tight_box(landmarks, whole),
            valid=whole,
            visible=visible,
            alternatives=np.full((68, 2), np.nan),
            picture=name,
        )

    def landmarks(self, time: float) -> Float64[np.ndarray, "68 2"]:
        """Return where the landmarks are at a time, seconds, in image pixels."""
        return self._placed(self._moves.at(time))[0]

    def _placed(self, pose: Pose) -> tuple[np.ndarray, np.ndarray, float]:
        """Return landmarks and skull in image pixels, and the head's unit."""
        height, width = self._size
        short = min(height, width)
        unit = pose.size * short
        centre = np.array([(width - 1) / 2, (height - 1) / 2]) + short * pose.centre
        # The middle of the head's landmarks at rest, which the face turns about on the screen.
        pivot = 0.5 * (self._shape.landmarks.max(axis=0) + self._shape.landmarks.min(axis=0))
        view = {"rotation": pose.rotation, "unit": unit, "centre": centre}
        face = expressed(self._shape.landmarks, pose)
        landmarks, cranium = (
            project(points - pivot * [0, 1, 0], **view) for points in (face, self._shape.cranium)
        )
        return landmarks, cranium, unit

    def _draw(
        self, canvas: Canvas, landmarks: np.ndarray, cranium: np.ndarray, unit: float
    ) -> np.ndarray:
        """Draw the head; return which points of the jaw are seen."""
        palette = self._palette
        outline = _outline([landmarks], cranium)
        jaw_seen = _jaw_seen([landmarks], outline, unit)
        scene.draw_hair(canvas, self._rng(_HAIR), landmarks, outline, palette)
        scene.draw_body(canvas, self._rng(_BODY), landmarks, palette)
        draw_head(canvas, outline, unit, landmarks[[0, 16]][jaw_seen[[0, 16]]], palette)
        draw_face(
            canvas,
            [landmarks],
            unit,
            palette,
            closed=(False, False),
            gaze=self._gaze,
            jaw_seen=jaw_seen,
        )
        scene.draw_fringe(canvas, self._rng(_FRINGE), landmarks, cranium, palette)
        scene.draw_glasses(canvas, self._rng(_GLASSES), landmarks, unit)
        return jaw_seen

    def _draw_occluder(self, canvas: Canvas, time: float) -> None:
        """Draw the thing in front, on its straight way across the place where the face rests."""
        route = self._rng(_ROUTE)
        begins, angle = route.uniform(0.2, 1.2), route.uniform(0, 2 * np.pi)
        # From 3.5 units on one side to 3.5 on the other in two seconds, then one of pause.
        along = ((time - begins) % 3.0) * 3.5 - 3.5
        landmarks, _, unit = self._placed(self._moves.at(0.0))
        away = along * unit * np.array([np.cos(angle), np.sin(angle)])
        scene.draw_occluder(canvas, self._rng(_OCCLUDER), landmarks + away, unit, self._palette)

    def _grained(
        self, picture: UInt8[np.ndarray, "height width 3"], index: int
    ) -> UInt8[np.ndarray, "height width 3"]:
        grain = self._noise * self._rng(_NOISE, index).standard_normal((*picture.shape[:2], 1))
        return np.rint(picture + grain).clip(0, 255).astype(np.uint8)


def _face_at_rest(rng: np.random.Generator) -> FaceShape:
    """Return a face with open eyes and a shut mouth."""
    while True:
        shape = draw_shape(rng, ambiguous=0.0)
        if shape.closed == (False, False) and shape.mouth_open == 0:
            return shape
