"""Landmarks fused over time: a Kalman filter for live frames, a smoother for whole sequences.

Frames: positions are image pixels, times seconds, velocities image pixels per second. Landmarks are
independent of each other; all of them go through the arithmetic together.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from kdn.predict.track.motion import (
    Fused,
    Motion,
    Step,
    backwards,
    first_step,
    measurement,
    next_step,
)

__all__ = ["Fused", "LandmarkFilter", "smooth"]


class LandmarkFilter:
    """Kalman filter of the landmarks of one face, one frame at a time.

    The model is that of `Motion`. The state of a landmark is its position, its velocity and `z`,
    the systematic error in units of its standard deviation; a measurement sees
    `[I, 0, √ρ·R_t^½]` of it. As long as `z` lasts nothing tells it from the position: frames within
    `τ` take away the fresh noise alone and leave `ρ·R`, however many they are.

    The first frame sets the position to what was measured, as does a prior that knows nothing of
    the position; of the velocity it knows `Motion.speed`.

    Args:
        motion: Constants.
        lag: By how many frames `delayed` is late.

    Raises:
        ValueError: If `lag` is negative.

    Example:
        >>> fused = LandmarkFilter(Motion())
        >>> spread = np.tile(4.0 * np.eye(2), (3, 1, 1))
        >>> for frame in range(5):
        ...     points = np.full((3, 2), 100.0 + frame)
        ...     latest = fused.filter(0.04 * frame, points, spread, size=80.0)
        >>> latest.landmarks.shape, latest.covariances.shape
        ((3, 2), (3, 2, 2))
    """

    def __init__(self, motion: Motion | None = None, *, lag: int = 0) -> None:
        if lag < 0:
            raise ValueError(f"lag must be 0 or more, got {lag}")
        self.motion = Motion() if motion is None else motion
        self._steps: deque[Step] = deque(maxlen=lag + 1)

    def filter(
        self,
        time: float,
        landmarks: Float64[np.ndarray, "landmarks 2"] | None,
        covariances: Float64[np.ndarray, "landmarks 2 2"] | None,
        *,
        size: float | None = None,
    ) -> Fused:
        """Take in a frame and return the landmarks as all frames so far have them.

        Args:
            time: Of the frame, seconds, later than the one before.
            landmarks: Measured in this frame, image pixels; None if nothing was.
            covariances: Their covariances, image pixels², positive definite; None if there are no
                landmarks.
            size: `√(w·h)` of the face's tight box, image pixels, the unit of the process noise
                until the next measured frame. None takes the box of `landmarks`.

        Raises:
            ValueError: If times do not increase, the first frame has no landmarks, their number
                changes, or something is not finite or no covariance.
        """
        measured = measurement(landmarks, covariances, size)
        if self._steps:
            self._steps.append(next_step(self.motion, self._steps[-1], time, measured))
        elif measured is not None:
            self._steps.append(first_step(self.motion, time, measured))
        else:
            raise ValueError("landmarks must be given in the first frame")
        return self._steps[-1].fused()

    def delayed(self) -> Fused | None:
        """Return the frame `lag` frames before the last, smoothed by those that came after it.

        What `smooth` says of that frame of the video so far; None until there are so many frames.
        """
        full = len(self._steps) == self._steps.maxlen
        return backwards(list(self._steps))[0] if full else None

    def predict(self, time: float) -> Fused:
        """Return where the landmarks will be, and take in nothing.

        Args:
            time: Seconds, later than the last frame.

        Raises:
            ValueError: If no frame was measured yet, or the time is not later.
        """
        if not self._steps:
            raise ValueError("predict needs a frame before it")
        return next_step(self.motion, self._steps[-1], time, None).fused()


def smooth(
    times: Float64[np.ndarray, " frames"],
    landmarks: Sequence[Float64[np.ndarray, "landmarks 2"] | None],
    covariances: Sequence[Float64[np.ndarray, "landmarks 2 2"] | None],
    *,
    motion: Motion | None = None,
    sizes: Sequence[float | None] | None = None,
) -> Fused:
    """Return the landmarks of every frame as all frames, earlier and later, have them.

    The filter forwards, then Rauch, Tung and Striebel's recursion backwards:
    `x_t|T = x_t + C·(x_{t+1|T} − x_{t+1|t})` with `C = P_t·Fᵀ·P_{t+1|t}⁻¹`, and
    `P_t|T = P_t + C·(P_{t+1|T} − P_{t+1|t})·Cᵀ` (AIAA Journal 3(8), 1965).

    Args:
        times: Seconds, increasing; steps may differ.
        landmarks: Of each frame, image pixels; None where nothing was measured.
        covariances: Of each frame, image pixels².
        motion: Constants.
        sizes: As in `LandmarkFilter.filter`, of each frame.

    Returns:
        With a leading axis of frames; NaN in frames before the first that was measured.

    Raises:
        ValueError: If the lengths differ, no frame was measured, or a frame is not one that
            `LandmarkFilter.filter` takes.
    """
    chosen = Motion() if motion is None else motion
    extents = [None] * len(times) if sizes is None else sizes
    if not len(times) == len(landmarks) == len(covariances) == len(extents):
        raise ValueError(
            f"times, landmarks, covariances and sizes must be of one length, got {len(times)}, "
            f"{len(landmarks)}, {len(covariances)} and {len(extents)}"
        )
    steps: list[Step] = []
    for time, points, spread, size in zip(
        times.tolist(), landmarks, covariances, extents, strict=True
    ):
        measured = measurement(points, spread, size)
        if steps:
            steps.append(next_step(chosen, steps[-1], time, measured))
        elif measured is not None:
            steps.append(first_step(chosen, time, measured))
    if not steps:
        raise ValueError("landmarks must hold at least one frame that was measured")
    return _stacked(backwards(steps), before=len(times) - len(steps))


def _stacked(frames: list[Fused], *, before: int) -> Fused:
    """Return frames as one sequence, after frames of which nothing is known."""

    def joined(arrays: list[np.ndarray]) -> np.ndarray:
        unknown = np.full((before, *arrays[0].shape), np.nan)
        return np.concatenate([unknown, np.stack(arrays)])

    return Fused(
        joined([frame.landmarks for frame in frames]),
        joined([frame.covariances for frame in frames]),
        joined([frame.velocities for frame in frames]),
    )
