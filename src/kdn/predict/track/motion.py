"""How landmarks of a face are expected to move, and how a predictor's errors hang together."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

__all__ = ["Motion", "noise_root", "process_noise", "transition"]


@dataclass(frozen=True)
class Motion:
    """The constants of the filter. Lengths are in sizes of the face, `√(w·h)` of its tight box.

    The true landmark moves at constant velocity but for a white acceleration. The predictor says
    `y_t = x_t + √ρ·R_t^½·z_t + e_t`, with `R_t` the covariance that it says itself,
    `Cov(e_t) = (1 − ρ)·R_t` fresh in every frame, and `z_t` a unit-variance process of correlation
    `exp(−|Δt|/τ)`: what the predictor does wrong at this face in this pose, it does wrong in the
    next frame too. `Cov(y_t − x_t)` is `R_t` in every single frame, whatever `ρ`.

    The defaults come from synthetic videos of `benchmarks/video.py` that its tables do not use.

    Args:
        acceleration: Power spectral density `q` of the acceleration, sizes² / s³.
        speed: Standard deviation of the velocity along each axis when a face is first seen,
            sizes / s.
        systematic: Share `ρ` of the measurement noise that lasts from frame to frame; 0 has all
            noise fresh, and then the fused covariance shrinks as the frames get denser, which the
            error does not.
        memory: Correlation time `τ` of that share, seconds; may be infinite.

    Raises:
        ValueError: If a constant is out of range.
    """

    acceleration: float = 2.0
    speed: float = 1.0
    systematic: float = 0.7
    memory: float = 0.3

    def __post_init__(self) -> None:
        for name in ("acceleration", "speed"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be positive and finite, got {value}")
        if not 0 <= self.systematic < 1:
            raise ValueError(f"systematic must be at least 0 and below 1, got {self.systematic}")
        if not self.memory > 0:
            raise ValueError(f"memory must be positive, got {self.memory}")


def transition(motion: Motion, step: float) -> Float64[np.ndarray, "6 6"]:
    """Return the matrix that takes the state `(x, y, v_x, v_y, z_x, z_y)` on by a time.

    Args:
        motion: Constants.
        step: Time from one frame to the next, seconds.
    """
    matrix = np.eye(6)
    matrix[[0, 1], [2, 3]] = step
    matrix[[4, 5], [4, 5]] = math.exp(-step / motion.memory)
    return matrix


def process_noise(motion: Motion, step: float, size: float) -> Float64[np.ndarray, "6 6"]:
    """Return the covariance that a time adds to the state.

    `q·size²·[[Δt³/3, Δt²/2], [Δt²/2, Δt]]` for position and velocity along each axis, the integral
    of a white acceleration (Bar-Shalom, Li & Kirubarajan, 2001, 6.2.2), and `1 − exp(−2·Δt/τ)` for
    `z`, which keeps its variance 1.

    Args:
        motion: Constants.
        step: Time from one frame to the next, seconds.
        size: Size of the face, image pixels.
    """
    strength = motion.acceleration * size**2
    noise = np.zeros((6, 6))
    for axis in (0, 1):
        pair = [axis, axis + 2]
        block = [[step**3 / 3, step**2 / 2], [step**2 / 2, step]]
        noise[np.ix_(pair, pair)] = strength * np.array(block)
    noise[[4, 5], [4, 5]] = -math.expm1(-2 * step / motion.memory)
    return noise


def noise_root(
    covariances: Float64[np.ndarray, "*batch 2 2"],
) -> Float64[np.ndarray, "*batch 2 2"]:
    """Return the symmetric square root of covariances of the plane.

    `R^½ = (R + √|R|·I) / √(tr R + 2·√|R|)`, from the theorem of Cayley and Hamilton. The symmetric
    one is the only root that turns with the picture, so that a lasting error keeps its direction
    however the covariance changes.

    Args:
        covariances: Positive definite.
    """
    a, b, c = covariances[..., 0, 0], covariances[..., 0, 1], covariances[..., 1, 1]
    root_det = np.sqrt(np.maximum(a * c - b * b, 0.0))[..., None, None]
    trace = (a + c)[..., None, None]
    return (covariances + root_det * np.eye(2)) / np.sqrt(trace + 2 * root_det)
