"""Predictions drawn from known Gaussians, for tests of what reads predictions."""

import numpy as np
from scipy.special import erf

from kdn.predictions import DECODERS, Predictions


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
    return Predictions(
        id=tuple(f"face {i}" for i in range(samples)),
        path=("",) * samples,
        bbox=rng.uniform(size=(samples, 4)),
        crop_to_image=crop_to_image,
        landmarks=landmarks_at,
        **{name: landmarks_at + 0.1 * i for i, name in enumerate(DECODERS)},
        covariances=np.stack([said**2, 0 * said, said**2], axis=-1),
        uncertainty=said,
        entropy=np.log(2 * np.pi * np.e * said**2),
        peak_mass=erf(2.0 / np.sqrt(2) / said) ** 2,
        target=target * hidden[..., None],
        valid=valid,
        visible=valid,
        log_prob=(-0.5 * squares - np.log(2 * np.pi * said**2)) * hidden,
        hdr_level=-np.expm1(-0.5 * squares) * hidden,
        metadata={"markup": markup, "decoder": "mean", "head": "kdn_gaussian"},
    )
