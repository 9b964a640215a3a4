"""A canvas with smooth edges, and the parts of a synthetic face drawn on it."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float64, UInt8

from kdn.grid import Grid

__all__ = [
    "OVERSAMPLING",
    "Canvas",
    "Colour",
    "Palette",
    "curve",
    "draw_face",
    "draw_head",
    "head_outline",
    "visible_jaw",
]

Colour = tuple[float, float, float]
"""Red, green and blue, each from 0 to 255."""

Points = Float64[np.ndarray, "points 2"]

OVERSAMPLING = 2
"""How many pixels of a canvas, on each axis, make one pixel of the finished picture."""

_SHIFT = 4  # OpenCV takes coordinates in sixteenths of a pixel


class Canvas:
    """A picture drawn at twice its resolution, and which of its pixels something hides.

    All coordinates and lengths are in pixels of the finished picture.

    Args:
        pixels: `(2·height, 2·width, 3)`, what is drawn on.
    """

    def __init__(self, pixels: UInt8[np.ndarray, "rows columns 3"]) -> None:
        rows, columns, _ = pixels.shape
        self.pixels = pixels
        self.hidden = np.zeros((rows, columns), dtype=np.uint8)
        self.height, self.width = rows // OVERSAMPLING, columns // OVERSAMPLING
        fine = Grid.of_heatmap(height=self.height, width=self.width, stride=OVERSAMPLING)
        self._origin = np.array(fine.origin)

    def polygon(self, points: Points, colour: Colour, *, hides: bool = False) -> None:
        """Fill a closed outline; `hides` marks what lies below as not visible."""
        corners = [self._fixed(points)]
        cv2.fillPoly(self.pixels, corners, colour, cv2.LINE_AA, _SHIFT)
        if hides:
            cv2.fillPoly(self.hidden, corners, (1,), cv2.LINE_8, _SHIFT)

    def line(
        self,
        points: Points,
        colour: Colour,
        thickness: float,
        *,
        closed: bool = False,
        hides: bool = False,
    ) -> None:
        """Draw a line through points."""
        wide = max(1, round(OVERSAMPLING * thickness))
        corners = [self._fixed(points)]
        cv2.polylines(self.pixels, corners, closed, colour, wide, cv2.LINE_AA, _SHIFT)
        if hides:
            cv2.polylines(self.hidden, corners, closed, (1,), wide, cv2.LINE_8, _SHIFT)

    def disc(self, centre: Float64[np.ndarray, " 2"], radius: float, colour: Colour) -> None:
        """Fill a circle."""
        x, y = self._fixed(centre).tolist()
        size = max(1, round(OVERSAMPLING * radius * 2**_SHIFT))
        cv2.circle(self.pixels, (x, y), size, colour, -1, cv2.LINE_AA, _SHIFT)

    def finished(self) -> UInt8[np.ndarray, "height width 3"]:
        """Return the picture at its own resolution."""
        size = (self.width, self.height)
        return cv2.resize(self.pixels, size, interpolation=cv2.INTER_AREA)  # type: ignore[return-value]

    def hides(self, points: Points) -> Bool[np.ndarray, " points"]:
        """Return which points lie below something that hides; outside the picture nothing does."""
        rows, columns = self.hidden.shape
        x, y = np.rint(points * OVERSAMPLING + self._origin).astype(int).T
        inside = (x >= 0) & (x < columns) & (y >= 0) & (y < rows)
        return inside & (self.hidden[y.clip(0, rows - 1), x.clip(0, columns - 1)] > 0)

    def _fixed(self, points: np.ndarray) -> np.ndarray:
        fine = (points * OVERSAMPLING + self._origin) * 2**_SHIFT
        return np.rint(fine).astype(np.int32)


@dataclass(frozen=True)
class Palette:
    """Colours of one face, RGB, and whether it has a beard and how heavy its brows are.

    Args:
        skin: Of the face.
        shade: Of lines and shadows on the skin.
        hair: Of hair and brows.
        lips: Of the lips.
        iris: Of the eyes.
        beard: Of the beard; None has none.
        brow: Thickness of the brows, in head units.
        line: Thickness of thin lines, in head units.
    """

    skin: Colour
    shade: Colour
    hair: Colour
    lips: Colour
    iris: Colour
    beard: Colour | None
    brow: float
    line: float


def curve(points: Points) -> Float64[np.ndarray, "samples 2"]:
    """Return a smooth curve that goes through the points in order (Catmull and Rom's spline)."""
    return _spline(len(points)) @ points


@functools.cache
def _spline(count: int, samples: int = 6) -> Float64[np.ndarray, "samples points"]:
    """Return the matrix that takes points to `samples` points on each piece between them."""
    ends = np.eye(count)
    padded = np.concatenate([[2 * ends[0] - ends[1]], ends, [2 * ends[-1] - ends[-2]]])
    t = np.arange(samples)[:, None, None] / samples
    p0, p1, p2, p3 = (padded[i : i + count - 1][None] for i in range(4))
    pieces = 0.5 * (
        2 * p1
        + (p2 - p0) * t
        + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2
        + (3 * p1 - p0 - 3 * p2 + p3) * t**3
    )
    flat = pieces.transpose(1, 0, 2).reshape(-1, count)
    return np.concatenate([flat, ends[-1:]])


def _mixed(first: Colour, second: Colour, share: float) -> Colour:
    r, g, b = (a + share * (c - a) for a, c in zip(first, second, strict=True))
    return r, g, b


def draw_head(
    canvas: Canvas,
    outline: Points,
    unit: float,
    ears: Float64[np.ndarray, "ears 2"],
    palette: Palette,
) -> None:
    """Draw ears and the skin inside the head's outline."""
    for ear in ears:
        canvas.disc(ear, 0.2 * unit, palette.shade)
        canvas.disc(ear, 0.16 * unit, _mixed(palette.skin, palette.shade, 0.3))
    canvas.polygon(outline, palette.skin)


def draw_face(
    canvas: Canvas,
    variants: list[Float64[np.ndarray, "68 2"]],
    unit: float,
    palette: Palette,
    *,
    closed: tuple[bool, bool],
    gaze: Float64[np.ndarray, " 2"],
    jaw_seen: Bool[np.ndarray, " 17"],
) -> None:
    """Draw the features of a face on its skin, each variant of the landmarks alike.

    Args:
        canvas: What is drawn on.
        variants: One or two sets of landmarks, image pixels; features that differ appear twice.
        unit: Image pixels per head unit.
        palette: Colours.
        closed: Whether the left and the right eye are closed.
        gaze: Where the irises are, from −1 to 1 on each axis of the eye.
        jaw_seen: Which points of the jaw are on the near side of the head.
    """
    first = variants[0]
    thin = palette.line * unit
    if palette.beard is not None:
        _draw_beard(canvas, first, palette.beard)
    for points in variants:
        canvas.line(curve(points[:17][jaw_seen]), palette.shade, thin)
    _draw_nose(canvas, variants, unit, palette)
    for points in variants:
        canvas.polygon(_ring(points[48:60], 6), palette.lips)
    for points in variants:
        _draw_inner_mouth(canvas, points, unit, palette)
    for start, shut in zip((36, 42), closed, strict=True):
        _draw_eye(canvas, first[start : start + 6], unit, palette, shut=shut, gaze=gaze)
    for points in variants:
        for start in (17, 22):
            canvas.line(curve(points[start : start + 5]), palette.hair, palette.brow * unit)


def _ring(points: Points, corner: int) -> Float64[np.ndarray, "samples 2"]:
    """Return a closed outline with corners at the first point and at the one numbered `corner`."""
    upper = curve(points[: corner + 1])
    lower = curve(np.concatenate([points[corner:], points[:1]]))
    return np.concatenate([upper[:-1], lower[:-1]])


def _draw_beard(canvas: Canvas, points: Float64[np.ndarray, "68 2"], colour: Colour) -> None:
    jaw = curve(points[2:15])
    mouth = points[48:60].mean(axis=0)
    inner = mouth + 0.62 * (curve(points[3:14]) - mouth)
    lip = 0.5 * (points[[50, 51, 52]] + points[[32, 33, 34]])
    canvas.polygon(np.concatenate([jaw, inner[::-1]]), colour)
    around = np.concatenate([inner, lip[::-1]])
    canvas.polygon(around, colour)


def _draw_nose(
    canvas: Canvas, variants: list[Float64[np.ndarray, "68 2"]], unit: float, palette: Palette
) -> None:
    first = variants[0]
    thin = palette.line * unit
    bridge = np.concatenate([first[27:30], np.mean([v[30] for v in variants], axis=0)[None]])
    soft = _mixed(palette.skin, palette.shade, 0.6)
    canvas.line(curve(bridge), soft, 1.6 * thin)
    canvas.line(curve(first[31:36]), palette.shade, 1.5 * thin)
    for nostril in (31.5, 34.5):
        centre = first[[int(nostril), int(nostril) + 1]].mean(axis=0)
        canvas.disc(centre, 0.035 * unit, _mixed(palette.shade, (0, 0, 0), 0.4))
    for points in variants:
        canvas.disc(points[30], 0.055 * unit, palette.shade)
        canvas.disc(points[30], 0.03 * unit, _mixed(palette.skin, (255, 255, 255), 0.5))


def _draw_inner_mouth(
    canvas: Canvas, points: Float64[np.ndarray, "68 2"], unit: float, palette: Palette
) -> None:
    inside = _ring(points[60:68], 4)
    dark = _mixed(palette.lips, (20, 0, 0), 0.8)
    canvas.polygon(inside, dark)
    gap = np.linalg.norm(points[62] - points[66])
    if gap > 0.08 * unit:
        depth = 0.35 * (points[66] - points[62])
        teeth = np.concatenate([curve(points[60:65]), curve(points[61:64] + depth)[::-1]])
        canvas.polygon(teeth, (235, 232, 225))
    canvas.line(inside, dark, 0.6 * palette.line * unit, closed=True)


def _draw_eye(
    canvas: Canvas,
    eye: Float64[np.ndarray, "6 2"],
    unit: float,
    palette: Palette,
    *,
    shut: bool,
    gaze: Float64[np.ndarray, " 2"],
) -> None:
    ring = _ring(eye, 3)
    thin = palette.line * unit
    if shut:
        canvas.polygon(ring, palette.shade)
        canvas.line(ring, palette.shade, thin, closed=True)
        return
    opening = float(np.linalg.norm(eye[[1, 2]].mean(axis=0) - eye[[4, 5]].mean(axis=0)))
    along = 0.25 * (eye[3] - eye[0])
    down = 0.15 * (eye[[4, 5]].mean(axis=0) - eye[[1, 2]].mean(axis=0))
    centre = eye.mean(axis=0) + gaze[0] * along + gaze[1] * down
    radius = 0.5 * min(opening, 0.6 * float(np.linalg.norm(eye[3] - eye[0])))
    canvas.polygon(ring, (242, 240, 238))
    canvas.disc(centre, radius, palette.iris)
    canvas.disc(centre, 0.5 * radius, (15, 12, 12))
    canvas.disc(centre - 0.3 * radius, 0.18 * radius, (250, 250, 250))
    canvas.line(curve(eye[:4]), _mixed(palette.shade, (0, 0, 0), 0.6), 1.5 * thin)
    canvas.line(curve(eye[[3, 4, 5, 0]]), palette.shade, 0.8 * thin)


def head_outline(
    variants: list[np.ndarray], cranium: np.ndarray
) -> Float64[np.ndarray, "points 2"]:
    """Return the outline of the head as it is seen: the hull of jaw and skull."""
    parts = [curve(np.concatenate([points[:17], cranium])) for points in variants]
    hull = cv2.convexHull(np.concatenate(parts).astype(np.float32))
    return hull[:, 0].astype(np.float64)


def visible_jaw(
    variants: list[np.ndarray], outline: np.ndarray, unit: float
) -> Bool[np.ndarray, " 17"]:
    """Return which points of the jaw lie near the outline rather than behind the cheek."""
    hull = outline.astype(np.float32)[:, None]
    seen = np.zeros(17, dtype=bool)
    for points in variants:
        depth = [cv2.pointPolygonTest(hull, (x, y), True) for x, y in points[:17].tolist()]
        seen |= np.array(depth) < 0.08 * unit
    seen[4:13] = True
    return seen
