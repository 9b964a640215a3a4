"""Synthetic videos: one drawn face that moves smoothly, with its landmarks exact in every frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import cv2
import numpy as np
from jaxtyping import Float64, UInt8

from kdn.data.sample import Sample, tight_box
from kdn.data.synthetic import scene
from kdn.data.synthetic.drawing import Canvas, draw_face, draw_head, head_outline, visible_jaw
from kdn.data.synthetic.shape import FaceShape, draw_shape, project

# What each stream of random numbers is for: of one video, the same in all of its frames.
_SHAPE, _MOVES, _PALETTE, _GAZE, _ROUTE, _BACKGROUND, _HAIR, _BODY, _FRINGE, _GLASSES = range(10)
_OCCLUDER, _LIGHT, _NOISE = range(10, 13)
_LIDS = {37: 41, 38: 40, 43: 47, 44: 46}  # upper lid: the lower lid below it


@dataclass(frozen=True)
class Pose:
    """Where a face is and what it does at one moment.

    Args:
        centre: `(x, y)` of the middle of the landmarks, in units of the picture's shorter side,
            from its centre.
        size: Half the width of the head, in units of the picture's shorter side.
        rotation: `(3, 3)`, of the head.
        mouth: Opening of the mouth, head units.
        brows: How far the brows are raised, head units.
        smile: How far the corners of the mouth are, head units, up and outwards.
        lids: How far the eyes are shut, 0 to 1.
    """

    centre: Float64[np.ndarray, " 2"]
    size: float
    rotation: Float64[np.ndarray, "3 3"]
    mouth: float
    brows: float
    smile: float
    lids: float


@dataclass(frozen=True)
class Moves:
    """The poses of a face over time.

    From `begins[i]` to `ends[i]` seconds a value goes from `values[i]` to `values[i + 1]` with the
    least jerk, `10·u³ − 15·u⁴ + 6·u⁵`, and rests until `begins[i + 1]`.

    Args:
        pose: Schedule of position, size and rotation: begins, ends and values `(moves + 1, 6)`.
        expression: Schedule of mouth, brows and smile, likewise `(moves + 1, 3)`.
        blinks: Seconds at which the eyes are shut.
    """

    pose: _Schedule
    expression: _Schedule
    blinks: Float64[np.ndarray, " blinks"]

    def at(self, time: float) -> Pose:
        """Return the pose at a time, seconds."""
        x, y, size, *turn = self.pose.at(time).tolist()
        mouth, brows, smile = self.expression.at(time).tolist()
        rotation = cv2.Rodrigues(np.array(turn))[0]
        near = np.abs(self.blinks - time).min() / 0.16
        return Pose(
            centre=np.array([x, y]),
            size=size,
            rotation=np.asarray(rotation, dtype=np.float64),
            mouth=mouth,
            brows=brows,
            smile=smile,
            lids=float(np.cos(np.pi / 2 * min(near, 1.0)) ** 2),
        )


@dataclass(frozen=True)
class _Schedule:
    """When values change, seconds, and what they are in between."""

    begins: Float64[np.ndarray, " moves"]
    ends: Float64[np.ndarray, " moves"]
    values: Float64[np.ndarray, "poses channels"]

    def at(self, time: float) -> Float64[np.ndarray, " channels"]:
        u = ((time - self.begins) / (self.ends - self.begins)).clip(0, 1)
        eased = u**3 * (10 - 15 * u + 6 * u**2)
        return self.values[0] + eased @ np.diff(self.values, axis=0)


def draw_moves(rng: np.random.Generator, *, seconds: float) -> Moves:
    """Return random moves for a time.

    Head: up to 0.13 of the shorter side from the middle, yaw up to 35°, pitch up to 18°, roll up to
    25°, each move 0.4 to 1 s long after a rest of up to 0.5 s. Those of a longer time begin with
    those of a shorter one.
    """
    head, face, lids = rng.spawn(3)
    middle = np.array([0.0, 0.0, 0.19])
    reach = np.array([0.13, 0.1, 0.03, *np.radians([18.0, 35.0, 25.0])])

    def pose() -> np.ndarray:
        return np.array([*middle, 0.0, 0.0, 0.0]) + reach * head.uniform(-1, 1, 6)

    def expression() -> np.ndarray:
        mouth = face.uniform(0, 0.35) * (face.random() < 0.6)
        return np.array([mouth, face.uniform(-0.05, 0.12), face.uniform(-0.04, 0.06)])

    blinks = np.cumsum(lids.uniform(0.8, 3.0, int(seconds / 0.8) + 1))
    return Moves(
        _schedule(head, pose, seconds, move=(0.4, 1.0), rest=0.5),
        _schedule(face, expression, seconds, move=(0.2, 0.5), rest=1.0),
        blinks,
    )


def _schedule(rng: np.random.Generator, draw, seconds: float, *, move, rest: float) -> _Schedule:
    begins, ends, values, now = [], [], [draw()], 0.0
    while now < seconds:
        begins.append(now + rng.uniform(0, rest))
        ends.append(begins[-1] + rng.uniform(*move))
        values.append(draw())
        now = ends[-1]
    return _Schedule(np.array(begins), np.array(ends), np.array(values))


def expressed(landmarks: Float64[np.ndarray, "68 3"], pose: Pose) -> Float64[np.ndarray, "68 3"]:
    """Return the landmarks of a face at rest, in the head's frame, with the expression of a pose.

    Args:
        landmarks: With open eyes and the mouth as it is at rest.
        pose: Whose expression is put on.
    """
    moved = landmarks.copy()
    chin = np.cos(np.linspace(-1, 1, 17) * np.radians(96)).clip(0) ** 2
    moved[:17, 1] += 0.6 * pose.mouth * chin
    moved[17:27, 1] -= pose.brows
    # Lower lips sink, most in the middle; their corners and the upper lips stay.
    for lip in (range(55, 60), range(65, 68)):
        corners = moved[[48, 54] if 55 in lip else [60, 64], 0]
        x = (landmarks[lip, 0] - corners.mean()) / (0.5 * np.ptp(corners))
        moved[lip, 1] += pose.mouth * np.sqrt((1 - x**2).clip(0))
    for corner, side in ((48, -1.0), (60, -1.0), (54, 1.0), (64, 1.0)):
        moved[corner] += pose.smile * np.array([side, -1.0, 0.0])
    for upper, lower in _LIDS.items():
        # Shut eyes keep a sliver, as the ones of still pictures do.
        moved[upper] += 0.9 * pose.lids * (landmarks[lower] - landmarks[upper])
    return moved


class SyntheticVideo(Sequence[Sample]):
    """The frames of a cartoon face that turns, moves, talks and blinks.

    Face, colours, background, hair, glasses and light are those of one seed and stay; the head goes
    from pose to pose and rests there (`draw_moves`). Frame `index` depends on
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
        outline = head_outline([landmarks], cranium)
        jaw_seen = visible_jaw([landmarks], outline, unit)
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
