"""How a synthetic face moves: smooth moves between poses that it holds, and expressions."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float64

__all__ = ["Moves", "Pose", "draw_moves", "expressed"]

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
