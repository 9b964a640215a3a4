"""Faces made by hand, with what writers and overlays need to know of one."""

from dataclasses import replace

import numpy as np
import torch

from kdn.data import PointLabels
from kdn.data.markup import Markup
from kdn.density import GaussianDensity
from kdn.grid import Affine
from kdn.predict.results import Face

TRIO = Markup(
    name="trio", landmarks=3, flip=(1, 0, 2), edges=((0, 1),), names=("right", "left", "chin")
)


def face_of(
    bbox: tuple[float, float, float, float],
    landmarks: np.ndarray,
    covariances: np.ndarray,
    *,
    score: float = 0.75,
    markup: Markup = TRIO,
) -> Face:
    """Return a face whose densities are Gaussians."""
    mean, spread = torch.from_numpy(landmarks), torch.from_numpy(covariances)
    return Face(
        bbox=bbox,
        labels=PointLabels(markup),
        landmarks=landmarks,
        covariances=covariances,
        uncertainty=np.linalg.det(covariances) ** 0.25,
        score=score,
        density=GaussianDensity(mean, covariance=spread).mapped(Affine.identity()),
    )


def hand_face(dx: float = 0.0, dy: float = 0.0) -> Face:
    """Return a face whose landmarks differ in everything, moved by `(dx, dy)` px."""
    landmarks = np.array([[10.25, 20.5], [41.0, 18.1234567], [27.0, 61.0]]) + np.array((dx, dy))
    covariances = np.array(
        [[[4.0, 1.0], [1.0, 2.0]], [[9.0, 0.0], [0.0, 0.25]], [[1e-3, 0.0], [0.0, 123456.789]]]
    )
    return face_of((10.0 + dx, 18.0 + dy, 41.0 + dx, 61.5 + dy), landmarks, covariances)


def spoilt(face: Face, landmark: int) -> Face:
    """Return a face with a landmark of which nothing is known."""
    landmarks, covariances = face.landmarks.copy(), face.covariances.copy()
    uncertainty = face.uncertainty.copy()
    landmarks[landmark, 0], covariances[landmark], uncertainty[landmark] = np.nan, np.inf, np.nan
    return replace(
        face, landmarks=landmarks, covariances=covariances, uncertainty=uncertainty, score=np.nan
    )
