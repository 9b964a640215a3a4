"""How landmarks of a face are expected to move, and the arithmetic of filter and smoother on that.

Frames: positions are image pixels, times seconds. The state of a landmark is
`(x, y, v_x, v_y, z_x, z_y)`, see `Motion`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

__all__ = [
    "Fused",
    "Measurement",
    "Motion",
    "Step",
    "backwards",
    "first_step",
    "measurement",
    "next_step",
    "noise_root",
    "process_noise",
    "transition",
]


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


States = Float64[np.ndarray, "landmarks 6"]
Spreads = Float64[np.ndarray, "landmarks 6 6"]


@dataclass(frozen=True)
class Fused:
    """Landmarks of one frame, or of a sequence with a leading axis of frames.

    Args:
        landmarks: `(*frames, landmarks, 2)`, image pixels.
        covariances: `(*frames, landmarks, 2, 2)`, image pixels²: of the position, systematic
            errors included.
        velocities: `(*frames, landmarks, 2)`, image pixels per second.
    """

    landmarks: Float64[np.ndarray, "*frames landmarks 2"]
    covariances: Float64[np.ndarray, "*frames landmarks 2 2"]
    velocities: Float64[np.ndarray, "*frames landmarks 2"]


@dataclass(frozen=True)
class Measurement:
    """What a frame says: positions, covariances, and the size of the face, image pixels."""

    landmarks: Float64[np.ndarray, "landmarks 2"]
    covariances: Float64[np.ndarray, "landmarks 2 2"]
    size: float


@dataclass(frozen=True)
class Step:
    """The state after a frame, and how it came from the frame before."""

    time: float
    size: float
    state: States
    spread: Spreads
    predicted: States
    matrix: Float64[np.ndarray, "6 6"]
    noise: Float64[np.ndarray, "6 6"]

    def fused(self) -> Fused:
        """Return what users see of the state."""
        return _of_state(self.state, self.spread)


def _of_state(state: np.ndarray, spread: np.ndarray) -> Fused:
    return Fused(state[..., :2].copy(), spread[..., :2, :2].copy(), state[..., 2:4].copy())


def first_step(motion: Motion, time: float, measured: Measurement) -> Step:
    """Return the limit of an update with a prior that is ever wider in the position.

    Then `x = y − √ρ·R^½·z − e`: its covariance is `R`, that with `z` is `−√ρ·R^½`.
    """
    count = len(measured.landmarks)
    state, spread = np.zeros((count, 6)), np.zeros((count, 6, 6))
    state[:, :2] = measured.landmarks
    spread[:, :2, :2] = measured.covariances
    spread[:, 2:4, 2:4] = (motion.speed * measured.size) ** 2 * np.eye(2)
    spread[:, 4:, 4:] = np.eye(2)
    shared = -np.sqrt(motion.systematic) * noise_root(measured.covariances)
    spread[:, :2, 4:], spread[:, 4:, :2] = shared, shared
    return Step(time, measured.size, state, spread, state, np.eye(6), np.zeros((6, 6)))


def next_step(motion: Motion, last: Step, time: float, measured: Measurement | None) -> Step:
    """Return the step of the next frame."""
    if not time > last.time:
        raise ValueError(f"time must be later than {last.time}, that of the last frame, got {time}")
    matrix = transition(motion, time - last.time)
    noise = process_noise(motion, time - last.time, last.size)
    predicted = last.state @ matrix.T
    state, spread = predicted, matrix @ last.spread @ matrix.T + noise
    size = last.size
    if measured is not None:
        if len(measured.landmarks) != len(state):
            raise ValueError(
                f"landmarks must be {len(state)}, as in the frames before, "
                f"got {len(measured.landmarks)}"
            )
        state, spread = _updated(motion, predicted, spread, measured)
        size = measured.size
    return Step(time, size, state, spread, predicted, matrix, noise)


def _updated(
    motion: Motion, state: States, spread: Spreads, measured: Measurement
) -> tuple[States, Spreads]:
    """Return the state given a measurement, its covariance in Joseph's form."""
    seen = np.zeros((len(state), 2, 6))
    seen[:, :, :2] = np.eye(2)
    seen[:, :, 4:] = np.sqrt(motion.systematic) * noise_root(measured.covariances)
    fresh = (1 - motion.systematic) * measured.covariances
    across = seen @ spread
    # The gain P·Hᵀ·S⁻¹, as the transpose of S⁻¹·H·P.
    gain = _turned(np.linalg.solve(across @ _turned(seen) + fresh, across))
    surprise = measured.landmarks - (seen @ state[..., None])[..., 0]
    kept = np.eye(6) - gain @ seen
    joseph = kept @ spread @ _turned(kept) + gain @ fresh @ _turned(gain)
    return state + (gain @ surprise[..., None])[..., 0], 0.5 * (joseph + _turned(joseph))


def backwards(steps: list[Step]) -> list[Fused]:
    """Return what all frames say of each, from the last one to the first."""
    state, spread = steps[-1].state, steps[-1].spread
    frames = [steps[-1].fused()]
    for here, later in zip(reversed(steps[:-1]), reversed(steps[1:]), strict=True):
        matrix, noise = later.matrix, later.noise
        across = matrix @ here.spread
        back = _turned(np.linalg.solve(across @ matrix.T + noise, across))
        state = here.state + (back @ (state - later.predicted)[..., None])[..., 0]
        # P − C·P⁻·Cᵀ = (I − C·F)·P·(I − C·F)ᵀ + C·Q·Cᵀ, which rounding cannot make negative.
        kept = np.eye(6) - back @ matrix
        spread = kept @ here.spread @ _turned(kept) + back @ (spread + noise) @ _turned(back)
        frames.append(_of_state(state, 0.5 * (spread + _turned(spread))))
    return frames[::-1]


def _turned(matrices: np.ndarray) -> np.ndarray:
    return matrices.swapaxes(-1, -2)


def measurement(
    landmarks: np.ndarray | None, covariances: np.ndarray | None, size: float | None
) -> Measurement | None:
    """Return what a frame says, checked; None if it says nothing."""
    if landmarks is None or covariances is None:
        if landmarks is not None or covariances is not None:
            raise ValueError("landmarks and covariances must both be given, or neither")
        return None
    if not np.isfinite(landmarks).all():
        raise ValueError("landmarks must be finite")
    a, d = covariances[:, 0, 0], covariances[:, 1, 1]
    b, c = covariances[:, 0, 1], covariances[:, 1, 0]
    # A comparison with NaN is false. The two halves may differ by float32's rounding.
    good = (a > 0) & (a * d > b * c) & (np.abs(b - c) <= 1e-6 * (a + d)) & np.isfinite(a + d)
    if not good.all():
        raise ValueError(
            "covariances must be symmetric and positive definite, got "
            f"{covariances[~good][0].tolist()}"
        )
    if size is None:
        size = float(np.sqrt(np.prod(np.ptp(landmarks, axis=0))))
    if not (np.isfinite(size) and size > 0):
        raise ValueError(f"size must be positive and finite, got {size}")
    return Measurement(landmarks, 0.5 * (covariances + _turned(covariances)), size)
