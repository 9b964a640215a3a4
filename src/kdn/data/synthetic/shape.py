"""Shapes of synthetic faces: 68 landmarks in space, varied, turned and projected.

The head's own frame has x to the right and y down as the picture shows a face from the front, z
towards the viewer, and half the width of the head as its unit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

__all__ = ["AMBIGUITIES", "FaceShape", "draw_rotation", "draw_shape", "project"]

Points = Float64[np.ndarray, "points 3"]

AMBIGUITIES: dict[str, tuple[int, ...]] = {
    "chin": (6, 7, 8, 9, 10),
    "left_brow": (17, 18, 19, 20, 21),
    "right_brow": (22, 23, 24, 25, 26),
    "nose_tip": (30,),
    "left_mouth_corner": (48, 60),
    "right_mouth_corner": (54, 64),
}
"""What may be drawn twice, and which landmarks then have two equally likely positions."""

_HALF_OFFSETS = {
    "chin": [[0, 0.05, 0], [0, 0.1, 0], [0, 0.12, 0], [0, 0.1, 0], [0, 0.05, 0]],
    "left_brow": [[0, 0.1, 0]],
    "right_brow": [[0, 0.1, 0]],
    "nose_tip": [[0.1, 0, 0]],
    "left_mouth_corner": [[0, 0.1, 0], [0, 0.08, 0]],
    "right_mouth_corner": [[0, 0.1, 0], [0, 0.08, 0]],
}


@dataclass(frozen=True)
class FaceShape:
    """A face in its head's own frame.

    Args:
        landmarks: `(68, 3)`, first positions.
        second: `(68, 3)`, second positions; the same as the first where there is only one.
        cranium: `(11, 3)`, outline of the skull from the right end of the jaw to its left end.
        ambiguity: What has two positions, a key of `AMBIGUITIES`, or None.
        closed: Whether the left and the right eye are closed.
        mouth_open: Opening of the mouth, in head units.
    """

    landmarks: Float64[np.ndarray, "68 3"]
    second: Float64[np.ndarray, "68 3"]
    cranium: Float64[np.ndarray, "11 3"]
    ambiguity: str | None
    closed: tuple[bool, bool]
    mouth_open: float


def draw_shape(rng: np.random.Generator, *, ambiguous: float, rest: bool = False) -> FaceShape:
    """Return a random face seen from the front, ambiguous with the probability `ambiguous`.

    One at `rest` has open eyes and a shut mouth, and its brows, lids and corners of the mouth vary
    little from face to face.
    """
    mouth_open = float(rng.uniform(0.05, 0.4)) if rng.random() < 0.45 else 0.0
    closed = _eyes_closed(rng)
    if rest:
        mouth_open, closed = 0.0, (False, False)
    jaw, cranium = _outline(rng, drop=0.6 * mouth_open)
    features = (
        _brows(rng, rest),
        _nose(rng),
        _eyes(rng, closed, rest),
        _mouth(rng, mouth_open, rest),
    )
    landmarks = np.concatenate([jaw, *features])
    landmarks[:17, 0] += rng.normal(0, 0.02)
    ambiguity, half = _draw_ambiguity(rng, ambiguous)
    return FaceShape(
        landmarks=landmarks - half,
        second=landmarks + half,
        cranium=cranium,
        ambiguity=ambiguity,
        closed=closed,
        mouth_open=mouth_open,
    )


def project(
    points: Points, *, rotation: Float64[np.ndarray, "3 3"], unit: float, centre: np.ndarray
) -> Float64[np.ndarray, "points 2"]:
    """Return points of the head as image pixels: turned, then seen from eight units away.

    Args:
        points: In the head's frame.
        rotation: Of the head, about its own origin.
        unit: Image pixels per head unit.
        centre: Image pixel of the head's origin, `(x, y)`.
    """
    turned = points @ rotation.T
    nearness = 8.0 / (8.0 - turned[:, 2:])
    return centre + unit * nearness * turned[:, :2]


def draw_rotation(rng: np.random.Generator) -> Float64[np.ndarray, "3 3"]:
    """Return a random pose: roll up to 30°, yaw up to 40°, pitch up to 20°."""
    yaw = math.radians(float(np.clip(rng.normal(0, 17), -40, 40)))
    pitch = math.radians(float(np.clip(rng.normal(0, 9), -20, 20)))
    roll = math.radians(float(rng.uniform(-30, 30)))
    cos, sin = math.cos(yaw), math.sin(yaw)
    about_y = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
    cos, sin = math.cos(pitch), math.sin(pitch)
    about_x = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    cos, sin = math.cos(roll), math.sin(roll)
    about_z = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    return about_z @ about_x @ about_y


def _draw_ambiguity(
    rng: np.random.Generator, probability: float
) -> tuple[str | None, Float64[np.ndarray, "68 3"]]:
    """Return what is drawn twice, and half the way between the two positions."""
    half = np.zeros((68, 3))
    chance, which, size = rng.random(), rng.integers(len(AMBIGUITIES)), rng.uniform(0.75, 1.25)
    if chance >= probability:
        return None, half
    name = list(AMBIGUITIES)[which]
    half[list(AMBIGUITIES[name])] = size * np.array(_HALF_OFFSETS[name])
    return name, half


def _eyes_closed(rng: np.random.Generator) -> tuple[bool, bool]:
    both, wink = rng.random() < 0.12, rng.random()
    return bool(both or wink < 0.04), bool(both or wink > 0.96)


def _outline(
    rng: np.random.Generator, *, drop: float
) -> tuple[Float64[np.ndarray, "17 3"], Float64[np.ndarray, "11 3"]]:
    """Return the 17 points of the jaw, and the skull from its right end to its left end."""
    length, top = rng.uniform(1.12, 1.45), rng.uniform(1.15, 1.45)
    square, width = rng.uniform(0.7, 1.1), rng.uniform(0.9, 1.1)
    t = np.linspace(-1, 1, 17)
    angle = t * math.radians(96)
    x = width * np.sign(t) * np.abs(np.sin(angle)) ** square
    y = -0.2 + length * np.cos(angle) + drop * np.cos(angle).clip(0) ** 2
    jaw = np.stack([x, y, 0.25 - 0.85 * np.abs(t) ** 1.5], axis=1)
    over = np.linspace(math.radians(100), math.radians(260), 11)
    sides = np.abs(np.sin(over)) ** 0.85 * np.sign(np.sin(over))
    cranium = np.stack([width * 1.02 * sides, -0.2 + top * np.cos(over), 0 * over - 0.3], axis=1)
    return jaw, cranium


def _brows(rng: np.random.Generator, rest: bool) -> Points:
    """Return the ten points of the brows, 17 to 26."""
    raised = rng.uniform(-0.02, 0.02) if rest else rng.uniform(-0.1, 0.12)
    spacing = rng.uniform(0.15, 0.27)
    length, arch = rng.uniform(0.5, 0.68), rng.uniform(0.02, 0.16)
    brows = []
    for side in (-1, 1):
        t = np.linspace(0, 1, 5)  # from the temple to the nose
        frown = rng.normal(0, 0.02 if rest else 0.06) + 0.3 * raised
        x = side * (spacing + length * (1 - t))
        y = -0.6 - raised - arch * np.sin(math.pi * t**0.8) - frown * t + rng.normal(0, 0.025)
        points = np.stack([x, y, 0.05 + 0.3 * t], axis=1)
        brows.append(points if side < 0 else points[::-1])
    return np.concatenate(brows)


def _nose(rng: np.random.Generator) -> Points:
    """Return bridge and base of the nose, 27 to 35."""
    length, width, tip = rng.uniform(0.45, 0.68), rng.uniform(0.15, 0.29), rng.uniform(0.55, 0.85)
    bend = rng.normal(0, 0.03)
    t = np.linspace(0, 1, 4)
    bridge = np.stack([bend * np.sin(math.pi * t), -0.35 + length * t, 0.32 + (tip - 0.32) * t], 1)
    s = np.linspace(-1, 1, 5)
    y = -0.35 + length + 0.08 + 0.07 * (1 - s**2)
    base = np.stack([width * s, y, tip - 0.2 - 0.15 * s**2], axis=1)
    return np.concatenate([bridge, base])


def _eyes(rng: np.random.Generator, closed: tuple[bool, bool], rest: bool) -> Points:
    """Return the twelve points of the eyes, 36 to 47."""
    spacing, height = rng.uniform(0.37, 0.48), rng.uniform(-0.4, -0.27)
    half_width, opening = rng.uniform(0.13, 0.2), rng.uniform(0.08 if rest else 0.05, 0.12)
    slant = rng.normal(0, 0.1)
    # Left eye: outer corner, two above, inner corner, two below.
    x = np.array([-1, -0.4, 0.4, 1, 0.4, -0.4])
    up = np.array([0, 1, 1, 0, -0.7, -0.7])
    eyes = []
    for side, shut in zip((-1, 1), closed, strict=True):
        lift = 0.12 if shut else rng.uniform(0.85, 1.15)
        # A lid that closes comes down to the lower one.
        y = height - opening * (lift * up - (0.5 if shut else 0.0) * (np.abs(up) > 0))
        y = y + slant * half_width * x
        points = np.stack([-spacing + half_width * x, y, 0.24 - 0.06 * x**2], axis=1)
        if side > 0:
            points = points[[3, 2, 1, 0, 5, 4]] * np.array([-1.0, 1.0, 1.0])
        eyes.append(points)
    return np.concatenate(eyes)


def _mouth(rng: np.random.Generator, opening: float, rest: bool) -> Points:
    """Return outer and inner lips, 48 to 67."""
    height, half_width = rng.uniform(0.55, 0.7), rng.uniform(0.27, 0.42)
    smile = rng.uniform(-0.2, 0.2) if rest else rng.uniform(-0.5, 1.0)
    skew = rng.normal(0, 0.03)
    upper, lower = rng.uniform(0.05, 0.12), rng.uniform(0.07, 0.16)
    half_width = half_width + 0.07 * smile - 0.25 * opening
    above, below = np.linspace(-1, 1, 7), np.linspace(1, -1, 7)[1:-1]
    bow = np.array([0, 0.75, 1.05, 0.9, 1.05, 0.75, 0])  # the dip in the middle of the upper lip
    outer_x = np.concatenate([above, below])
    outer_y = np.concatenate([-upper * bow, (lower + opening) * np.sqrt(1 - below**2)])
    inner_above, inner_below = np.linspace(-1, 1, 5), np.linspace(1, -1, 5)[1:-1]
    inner_x = 0.85 * np.concatenate([inner_above, inner_below])
    gap = 0.012 + opening
    inner_y = np.concatenate([0 * inner_above, gap * np.sqrt(1 - inner_below**2)])
    x, y = np.concatenate([outer_x, inner_x]), np.concatenate([outer_y, inner_y])
    lifted = y - 0.14 * smile * x**2 + skew * x
    return np.stack([half_width * x + 0.5 * skew, height + lifted, 0.42 - 0.17 * x**2], axis=1)
