"""Faces made by hand, with what writers and overlays need to know of one."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from kdn.data.markup import Markup

TRIO = Markup(
    name="trio", landmarks=3, flip=(1, 0, 2), edges=((0, 1),), names=("right", "left", "chin")
)


@dataclass(frozen=True)
class HandFace:
    """A face of three landmarks or more."""

    bbox: tuple[float, float, float, float]
    landmarks: np.ndarray
    covariances: np.ndarray
    uncertainty: np.ndarray
    score: float = 0.75
    markup: Markup = TRIO
    density: Any = None


def hand_face(dx: float = 0.0, dy: float = 0.0) -> HandFace:
    """Return a face whose landmarks differ in everything, moved by `(dx, dy)` px."""
    landmarks = np.array([[10.25, 20.5], [41.0, 18.1234567], [27.0, 61.0]]) + np.array((dx, dy))
    covariances = np.array(
        [[[4.0, 1.0], [1.0, 2.0]], [[9.0, 0.0], [0.0, 0.25]], [[1e-3, 0.0], [0.0, 123456.789]]]
    )
    box = (10.0 + dx, 18.0 + dy, 41.0 + dx, 61.5 + dy)
    return HandFace(box, landmarks, covariances, np.linalg.det(covariances) ** 0.25)


def spoilt(face: HandFace, landmark: int) -> HandFace:
    """Return a face with a landmark of which nothing is known."""
    landmarks, covariances = face.landmarks.copy(), face.covariances.copy()
    uncertainty = face.uncertainty.copy()
    landmarks[landmark, 0], covariances[landmark], uncertainty[landmark] = np.nan, np.inf, np.nan
    return replace(
        face, landmarks=landmarks, covariances=covariances, uncertainty=uncertainty, score=np.nan
    )
