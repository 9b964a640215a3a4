"""Predictions drawn from known Gaussians, for tests of what reads predictions."""

import math
from typing import Any

import numpy as np
from scipy import special, stats

from kdn.predictions import AREA_LEVELS, Predictions, decoders_of


def gaussian_predictions(
    *,
    samples: int = 12,
    landmarks: int = 68,
    width: float = 1.0,
    markup: str = "face68",
    seed: int = 0,
) -> Predictions:
    """Return predictions whose labels are draws from round Gaussians of varying size.

    Faces differ in size and lie off-centre; some labels are not valid. Covariances are said to be
    `width²` times what they are.
    """
    rng = np.random.default_rng(seed)
    scale = rng.uniform(0.5, 3.0, (samples, 1))
    shape = rng.uniform((100, 40), (180, 200), (landmarks, 2))
    landmarks_at = shape * scale[..., None] + rng.normal(size=(samples, landmarks, 2))
    true = scale * rng.gamma(4.0, 0.5, (samples, landmarks))
    target = landmarks_at + true[..., None] * rng.normal(size=landmarks_at.shape)
    valid = rng.uniform(size=(samples, landmarks)) < 0.9
    hidden = np.where(valid, 1.0, np.nan)
    said = width * true
    squares = ((target - landmarks_at) ** 2).sum(axis=-1) / said**2
    crop_to_image = np.zeros((samples, 2, 3))
    crop_to_image[:, 0, 1], crop_to_image[:, 1, 0] = -scale[:, 0], scale[:, 0]
    decoded: dict[str, Any] = {
        name: landmarks_at + 0.1 * i for i, name in enumerate(decoders_of("points"))
    }
    return Predictions(
        id=tuple(f"face {i}" for i in range(samples)),
        path=("",) * samples,
        bbox=np.concatenate([rng.uniform(size=(samples, 2)), 100 * scale + [[9, 20]]], axis=1),
        crop_to_image=crop_to_image,
        landmarks=landmarks_at,
        **decoded,
        covariances=np.stack([said**2, 0 * said, said**2], axis=-1),
        uncertainty=said,
        entropy=np.log(2 * np.pi * np.e * said**2),
        target=target * hidden[..., None],
        valid=valid,
        visible=valid,
        log_prob=(-0.5 * squares - np.log(2 * np.pi * said**2)) * hidden,
        hdr_level=-np.expm1(-0.5 * squares) * hidden,
        hdr_areas=math.pi * said[..., None] ** 2 * stats.chi2.ppf(AREA_LEVELS, 2),
        hdr_tie=0.0 * hidden,
        energy_score=round_energy_score(squares, said) * hidden,
        metadata={"markup": markup, "decoder": "mean", "head": "kdn_gaussian"},
    )


def round_energy_score(squares: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Return the energy score of a round Gaussian, from squared distances in bandwidths."""
    x = squares / 4
    mean = (1 + 2 * x) * special.ive(0, x) + 2 * x * special.ive(1, x)
    return scale * math.sqrt(math.pi / 2) * (mean - math.sqrt(0.5))
