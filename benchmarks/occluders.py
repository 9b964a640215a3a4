"""Faces with something pasted over them, so that it is known which landmarks are hidden."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import overload

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from kdn.data.sample import Box, Sample, tight_box
from kdn.data.split import picture_names

_FILLINGS = ("flat", "noise", "texture")


class Occluded(Sequence[Sample]):
    """The samples of a sequence, each with one random thing in front of the face.

    A rectangle or an ellipse, turned by any angle, with its centre anywhere in the tight box of the
    valid landmarks, filled with one colour, with noise of any grain, or with the picture as it is
    elsewhere. Covered landmarks have `visible` False; where they are (`landmarks`, `valid`) and the
    box stay as labelled. So nothing else tells a covered landmark from a seen one: the occluder
    does not follow any part of the face.

    What is put over sample `index` depends on `seed`, `index` and the sample alone. Pictures are
    read when a sample is asked for.

    Args:
        samples: What is covered; each needs a valid landmark.
        seed: Seed of everything.
        size: Least and largest side of the occluder as a share of the mean side of the box; each
            of its two sides is drawn by itself.

    Raises:
        ValueError: If the seed is negative, or the sizes are not `0 < least ≤ largest`.
    """

    def __init__(
        self, samples: Sequence[Sample], *, seed: int, size: tuple[float, float] = (0.25, 0.6)
    ) -> None:
        if seed < 0:
            raise ValueError(f"seed must be 0 or more, got {seed}")
        if not 0 < size[0] <= size[1] < float("inf"):
            raise ValueError(f"size must be 0 < least ≤ largest, got {size}")
        self._samples = samples
        self._seed = seed
        self._size = size

    @property
    def pictures(self) -> tuple[str, ...]:
        """Names of the pictures, those of the samples."""
        return picture_names(self._samples)

    def __len__(self) -> int:
        return len(self._samples)

    @overload
    def __getitem__(self, index: int) -> Sample: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Sample]: ...

    def __getitem__(self, index: int | slice) -> Sample | Sequence[Sample]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        sample = self._samples[index]
        rng = np.random.default_rng((self._seed, int(index) % len(self)))
        image = sample.read().copy()
        box = tight_box(sample.landmarks, sample.valid)
        points, valid = sample.landmarks, sample.valid
        canvas = _Canvas(image.shape[:2], points[valid])
        covered = canvas.draw(rng, box, self._size)
        _fill(image, canvas.within(covered), rng)
        hidden = np.zeros(len(points), dtype=bool)
        hidden[valid] = canvas.hides(covered)
        return replace(sample, image=image, visible=sample.visible & ~hidden)


class _Canvas:
    """A mask of the picture, widened so that all landmarks lie on it.

    Landmarks may lie outside the picture, and an occluder there hides them all the same.
    """

    def __init__(self, size: tuple[int, ...], points: np.ndarray) -> None:
        pixels = np.rint(points).astype(int)
        low = np.minimum(pixels.min(axis=0), 0)
        high = np.maximum(pixels.max(axis=0) + 1, [size[1], size[0]])
        self._picture = slice(-low[1], size[0] - low[1]), slice(-low[0], size[1] - low[0])
        self._at = tuple((pixels - low).T[::-1])
        self._low = low
        self._shape = int(high[1] - low[1]), int(high[0] - low[0])

    def draw(
        self, rng: np.random.Generator, box: Box, size: tuple[float, float]
    ) -> Bool[np.ndarray, "rows columns"]:
        """Return what a random shape over the box covers."""
        x0, y0, x1, y1 = box
        sides = rng.uniform(*size, 2) * 0.5 * (x1 - x0 + y1 - y0)
        centre = rng.uniform((x0, y0), (x1, y1)) - self._low
        angle, round_one = rng.uniform(0, 180), rng.random() < 0.5
        mask = np.zeros(self._shape, dtype=np.uint8)
        shape = (centre.tolist(), np.maximum(sides, 1.0).tolist(), float(angle))
        if round_one:
            cv2.ellipse(mask, shape, (1,), -1)
        else:
            corners = np.rint(cv2.boxPoints(shape)).astype(np.int32)
            cv2.fillConvexPoly(mask, corners, (1,))
        return mask > 0

    def within(self, covered: np.ndarray) -> Bool[np.ndarray, "height width"]:
        """Return the part of the mask that is the picture."""
        return covered[self._picture]

    def hides(self, covered: np.ndarray) -> Bool[np.ndarray, " points"]:
        """Return which landmarks lie on a covered pixel."""
        return covered[self._at]


def _fill(
    image: UInt8[np.ndarray, "height width 3"],
    covered: Bool[np.ndarray, "height width"],
    rng: np.random.Generator,
) -> None:
    """Paint over the covered pixels."""
    filling = _FILLINGS[rng.integers(len(_FILLINGS))]
    height, width = covered.shape
    colour = rng.integers(256, size=3)
    if filling == "flat":
        image[covered] = colour
    elif filling == "noise":
        grain = int(rng.integers(1, 9))
        small = rng.integers(256, size=(-(-height // grain), -(-width // grain), 3), dtype=np.uint8)
        noise = small.repeat(grain, axis=0).repeat(grain, axis=1)[:height, :width]
        image[covered] = noise[covered]
    else:
        # The picture moved by a quarter to three quarters of itself, round its edges.
        shift = (rng.uniform(0.25, 0.75, 2) * (height, width)).astype(int)
        image[covered] = np.roll(image, tuple(shift.tolist()), axis=(0, 1))[covered]
