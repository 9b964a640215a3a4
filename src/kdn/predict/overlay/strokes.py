"""Shapes that stand for a face, and lines, discs and words laid over its picture.

OpenCV's own smooth lines are up to 0.16 px off and 1.35, 3.4 or 5.4 px wide for a thickness of 1, 2
or 3. So shapes are drawn several times larger than they will be, as coverage, and reduced.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float64, Int, UInt8

from kdn.data.numbers import length_of
from kdn.grid import Grid
from kdn.predict.results import Face

__all__ = [
    "Colour",
    "Window",
    "ellipse",
    "ellipse_radius",
    "face_size",
    "own_levels",
    "text_width",
    "unsure",
]


def ellipse_radius(level: float) -> float:
    """Return the radius, in standard deviations, of what holds `level` of a Gaussian in the plane.

    `r = √(−2 ln(1 − level))`, from the chi-squared distribution of two degrees of freedom.

    Raises:
        ValueError: If the level is not above 0 and below 1.

    Example:
        >>> round(ellipse_radius(0.9), 4)
        2.146
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must be above 0 and below 1, got {level}")
    return math.sqrt(-2.0 * math.log1p(-level))


def own_levels(face: Face, level: float) -> Float64[np.ndarray, " L"]:
    """Return the level that each landmark's ellipse is drawn for: the face's own for that.

    At most 0.9999, which is 4.3 standard deviations: an ellipse can be drawn for no more than that.
    """
    return np.clip(face.own_level(level), 1e-4, 0.9999)


def ellipse(
    centre: Float64[np.ndarray, "2"],
    covariance: Float64[np.ndarray, "2 2"],
    level: float,
    *,
    points: int = 64,
) -> Float64[np.ndarray, "points 2"] | None:
    """Return points on the ellipse that holds `level` of a Gaussian, in its frame.

    Args:
        centre: Mean.
        covariance: Covariance.
        level: Share of the mass inside.
        points: How many.

    Returns:
        The points; None if the covariance is not finite or not positive.
    """
    if not np.isfinite(covariance).all():
        return None
    values, vectors = np.linalg.eigh(covariance)
    if values[0] <= 0.0:
        return None
    angles = np.linspace(0.0, 2.0 * np.pi, points, endpoint=False)
    circle = ellipse_radius(level) * np.stack((np.cos(angles), np.sin(angles)), axis=-1)
    return centre + (circle * np.sqrt(values)) @ vectors.T


def face_size(face: Face) -> float:
    """Return `√(w·h)` of the tight box of a face's landmarks, px; 0 if none is finite."""
    points = face.landmarks[np.isfinite(face.landmarks).all(axis=1)]
    if not len(points):
        return 0.0
    return math.sqrt(float(np.prod(points.max(axis=0) - points.min(axis=0))))


def unsure(face: Face, threshold: float | str | None) -> Bool[np.ndarray, " L"]:
    """Return which landmarks are less sure than a threshold; all of them without one.

    Args:
        face: In image pixels.
        threshold: A length in image pixels; or text: one, or `3%` for so much of `√(w·h)` of the
            tight box of the landmarks. An uncertainty that is not finite is above any.

    Raises:
        ValueError: If it is neither, or not positive.
    """
    if threshold is None:
        return np.ones(len(face.landmarks), bool)
    return ~(face.uncertainty <= length_of(threshold, face_size(face), name="uncertain"))


Colour = tuple[int, int, int]
"""Red, green, blue, 0 to 255."""

_SHIFT = 4  # OpenCV takes points as whole numbers of 1/16 of an enlarged pixel
_MOST = 1 << 24  # enlarged pixels of a window
_FAR = 1e5  # what is further off than this many pixels is not drawn


class Window:
    """A rectangle of a picture in which strokes are gathered and then laid on.

    Convention: points are `(x, y)` in image pixels with integer pixel centres, widths and radii in
    image pixels.

    Args:
        rgb: The picture, which is changed.
        box: `(x0, y0, x1, y1)` that the strokes lie in; what is outside the picture is cut off.
    """

    def __init__(
        self, rgb: UInt8[np.ndarray, "height width 3"], box: tuple[float, float, float, float]
    ) -> None:
        height, width = rgb.shape[:2]
        x0, y0 = max(math.floor(box[0]), 0), max(math.floor(box[1]), 0)
        x1, y1 = min(math.ceil(box[2]) + 1, width), min(math.ceil(box[3]) + 1, height)
        self.pixels = rgb[y0 : max(y1, y0), x0 : max(x1, x0)]
        self.corner = np.array([x0, y0], np.float64)
        area = self.pixels.shape[0] * self.pixels.shape[1]
        self.enlarged = max(1, min(4, math.isqrt(_MOST // max(area, 1))))
        self._mask = self._blank()

    @property
    def empty(self) -> bool:
        """Whether nothing of the box is in the picture."""
        return self.pixels.size == 0

    def lines(
        self, lines: Iterable[Float[np.ndarray, "points 2"]], *, width: float, closed: bool
    ) -> None:
        """Draw lines through points."""
        whole = [self._whole(line) for line in lines if _near(line)]
        if whole:
            # OpenCV's smooth lines of odd thickness t are t + 2.4 wide, but 1.35 for 1.
            wanted = width * self.enlarged
            thickness = 1 if wanted < 2.4 else 2 * round((wanted - 1.44) / 2)
            cv2.polylines(self._mask, whole, closed, 255, thickness, cv2.LINE_AA, _SHIFT)

    def discs(self, points: Iterable[Float[np.ndarray, "2"]], *, radius: float) -> None:
        """Draw filled circles."""
        size = max(1, round(radius * self.enlarged * (1 << _SHIFT)))
        for point in points:
            if _near(point):
                x, y = self._whole(point).ravel().tolist()
                cv2.circle(self._mask, (x, y), size, 255, -1, cv2.LINE_AA, _SHIFT)

    def words(
        self, text: str, point: Float[np.ndarray, "2"], *, height: float, width: float
    ) -> None:
        """Draw words whose lower left corner is at a point."""
        scale = height * self.enlarged / _letter_height()
        x, y = (self._whole(point).ravel() >> _SHIFT).tolist()
        thickness = max(1, round(width * self.enlarged))
        cv2.putText(
            self._mask, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, scale, 255, thickness, cv2.LINE_AA
        )

    def lay(self, colour: Colour, *, opacity: float = 1.0) -> None:
        """Lay what was drawn since the last time over the picture, in one colour."""
        if not self.empty:
            size = (self.pixels.shape[1], self.pixels.shape[0])
            cover = cv2.resize(self._mask, size, interpolation=cv2.INTER_AREA)
            rows, columns = np.nonzero(cover)  # strokes are a small part of a large face
            shares = cover[rows, columns].astype(np.float32) * (opacity / 255.0)
            self.blend(rows, columns, np.array([colour], np.float32), shares)
        self._mask = self._blank()

    def blend(
        self,
        rows: Int[np.ndarray, " some"],
        columns: Int[np.ndarray, " some"],
        colours: Float[np.ndarray, "*some 3"],
        shares: Float[np.ndarray, " some"],
    ) -> None:
        """Mix colours into some of the window's pixels, each by its share, 0 to 1."""
        under = self.pixels[rows, columns].astype(np.float32)
        mixed = under + shares[:, None] * (colours - under)
        self.pixels[rows, columns] = np.rint(mixed).astype(np.uint8)

    def _blank(self) -> UInt8[np.ndarray, "rows columns"]:
        rows, columns = self.pixels.shape[:2]
        return np.zeros((rows * self.enlarged, columns * self.enlarged), np.uint8)

    def _whole(self, points: Float[np.ndarray, "..."]) -> np.ndarray:
        """Return points as OpenCV takes them, in enlarged pixels."""
        # Pixels of the window are to enlarged ones what cells are to crop pixels.
        grid = Grid.of_heatmap(height=1, width=1, stride=self.enlarged)
        large = (points - self.corner) * self.enlarged + np.array(grid.origin)
        return np.rint(large * (1 << _SHIFT)).astype(np.int32).reshape(-1, 1, 2)


def _near(points: Float[np.ndarray, "..."]) -> bool:
    """Return whether points are finite and not so far off that whole numbers overflow."""
    return bool(np.isfinite(points).all() and np.abs(points).max() < _FAR)


def _letter_height() -> int:
    """Return the height of a capital letter at scale 1, enlarged pixels."""
    return cv2.getTextSize("X", cv2.FONT_HERSHEY_SIMPLEX, 1.0, 1)[0][1]


def text_width(text: str, *, height: float) -> float:
    """Return how wide words are whose letters have a height, image pixels."""
    return cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 1.0, 1)[0][0] * height / _letter_height()
