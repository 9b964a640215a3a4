"""Faces drawn over their picture: points, error ellipses, contours, boxes and heatmaps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float64, UInt8

from kdn.predict.overlay.heat import boundary_of, heat_of
from kdn.predict.overlay.strokes import (
    Colour,
    Window,
    ellipse,
    ellipse_radius,
    face_size,
    own_levels,
    text_width,
    unsure,
)
from kdn.predict.results import Face, Prediction, Scalars

__all__ = ["PARTS", "draw_faces"]

PARTS = ("heatmaps", "boundary", "contours", "boxes", "ellipses", "points")
"""What can be drawn, from the lowest layer to the highest."""

# Okabe and Ito's colours, which the colour-blind tell apart, on strokes that are cased in black:
# one of the two shows on any picture.
_POINT: Colour = (240, 228, 66)
_ELLIPSE: Colour = (86, 180, 233)
_UNSURE: Colour = (255, 64, 200)  # not among Okabe and Ito's: none of theirs shows on skin
_UNKNOWN: Colour = (160, 160, 160)
_LINE: Colour = (255, 255, 255)
_CASING: Colour = (0, 0, 0)


@dataclass(frozen=True)
class _Pens:
    """Widths in image pixels, which follow from the sizes of face and picture."""

    radius: float
    line: float
    frame: float
    casing: float
    text: float

    @classmethod
    def of(cls, size: float, longer: int, *, bold: bool) -> _Pens:
        """Return the pens for a face of a size in a picture with a longer side."""
        # A picture is looked at as a whole: boxes stay as wide on the screen, however small the
        # face; points must not run together in it.
        frame = max(1.2, size / 200, longer / 900)
        return cls(
            radius=(1.6 if bold else 1.0) * max(1.1, size / 110),
            line=(1.6 if bold else 1.0) * max(1.0, size / 240),
            frame=frame,
            casing=max(0.6, size / 400),
            text=max(7.0, 8.0 * frame),
        )


def draw_faces(
    rgb: UInt8[np.ndarray, "height width 3"],
    faces: Sequence[Prediction],
    *,
    level: float = 0.9,
    what: Sequence[str] = ("points", "ellipses"),
    uncertain: float | str | None = None,
) -> UInt8[np.ndarray, "height width 3"]:
    """Return a copy of a picture with faces drawn over it.

    Widths follow from the size of face and picture; positions are exact to about a twentieth of a
    pixel. What is not finite, or outside the picture, is not drawn. Landmarks that a face has given
    up are grey rings, with grey ellipses.

    Args:
        rgb: The picture.
        faces: In image pixels, integer pixel centres.
        level: Share of the mass that the ellipses hold, of the Gaussian with the landmark's
            covariance: their radius is `√(−2 ln(1 − level))` standard deviations, with the
            landmark's own level (`Face.own_level`) where the model is recalibrated.
        what: Some of `PARTS`. `contours` join the landmarks along the mark-up's edges, `boxes`
            are each face's `bbox` with its score, `heatmaps` show each face's `density`: full
            colour at a mode, none where more than 99 % of the mass is denser; `boundary` is where
            the edge of the face may pass (`kdn.predict.boundary`). Of scalars the box and the
            values are drawn.
        uncertain: Draw points and ellipses, in another colour, of those landmarks alone whose
            uncertainty exceeds this: px, or text like `3%` of `√(w·h)` of the landmarks' box.

    Raises:
        ValueError: If there is no such part, if `level` is no share, or if `uncertain` is no
            length; or if a boundary is asked for of a mark-up or density that has none.
    """
    wrong = [part for part in what if part not in PARTS]
    if wrong or isinstance(what, str):
        raise ValueError(f"what must be some of {', '.join(PARTS)}, got {what!r}")
    ellipse_radius(level)  # raises, also where there is no face
    drawn = np.ascontiguousarray(rgb).copy()
    for face in faces:
        if isinstance(face, Face):
            _draw(drawn, face, level, what, uncertain)
        elif isinstance(face, Scalars):
            _draw_scalars(drawn, face)
    return drawn


def _draw_scalars(rgb: UInt8[np.ndarray, "height width 3"], scalars: Scalars) -> None:
    """Draw the box of an object, with its scalars inside, one a line."""
    x0, y0, x1, y1 = scalars.bbox
    size = math.sqrt((x1 - x0) * (y1 - y0))
    pens = _Pens.of(size, max(rgb.shape[:2]), bold=False)
    words = [
        f"{name} {value:.1f} +- {deviation:.1f}{'' if known else ' ?'}"  # OpenCV's font has no ±
        for name, value, deviation, known in zip(
            scalars.names, scalars.values, scalars.uncertainty, scalars.known, strict=True
        )
    ]
    wide = max(text_width(line, height=pens.text) for line in words)
    deep = 2.0 * pens.text * (len(words) + 1)
    margin = 2 * pens.text
    box = (x0 - margin, y0 - margin, max(x1, x0 + wide) + margin, max(y1, y0 + deep) + margin)
    window = Window(rgb, box)
    if window.empty:
        return
    frame = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float64)
    for width, colour in ((2 * pens.casing, _CASING), (0.0, _LINE)):
        window.lines([frame], width=pens.frame + width, closed=True)
        for number, line in enumerate(words):
            corner = np.array([x0 + pens.text, y0 + 2.0 * pens.text * (number + 1)])
            window.words(line, corner, height=pens.text, width=pens.text / 8 + 1.5 * width)
        window.lay(colour)


def _draw(
    rgb: UInt8[np.ndarray, "height width 3"],
    face: Face,
    level: float,
    what: Sequence[str],
    uncertain: float | str | None,
) -> None:
    """Draw one face."""
    marked = unsure(face, uncertain) & np.isfinite(face.landmarks).all(axis=1)
    size = face_size(face)
    pens = _Pens.of(size, max(rgb.shape[:2]), bold=uncertain is not None)
    known = face.known
    ellipses, doubtful = (
        _ellipses(face, marked & which, level) if "ellipses" in what else []
        for which in (known, ~known)
    )
    spread = size * (0.6 if "heatmaps" in what else 0.1)  # densities reach beyond their points
    window = Window(rgb, _around(face, ellipses + doubtful, pens, spread))
    if window.empty:
        return
    if "heatmaps" in what:
        _heatmap(window, face)
    if "boundary" in what:
        _boundary(window, face, pens)
    if "contours" in what:
        _contours(window, face, pens)
    if "boxes" in what:
        _box(window, face, pens)
    if doubtful:
        _cased(window, doubtful, pens, _UNKNOWN)
    if ellipses:
        _cased(window, ellipses, pens, _ELLIPSE if uncertain is None else _UNSURE)
    if "points" in what:
        rings = [_ring(point, pens.radius) for point in face.landmarks[marked & ~known]]
        _cased(window, rings, pens, _UNKNOWN)
        points = list(face.landmarks[marked & known])
        window.discs(points, radius=pens.radius + pens.casing)
        window.lay(_CASING, opacity=0.8)
        window.discs(points, radius=pens.radius)
        window.lay(_POINT if uncertain is None else _UNSURE)


def _ellipses(
    face: Face, which: Bool[np.ndarray, " L"], level: float
) -> list[Float64[np.ndarray, "points 2"]]:
    """Return the ellipses of some landmarks, of those that have one."""
    levels = own_levels(face, level).tolist()
    ellipses = (
        ellipse(face.landmarks[i], face.covariances[i], levels[i]) for i in np.where(which)[0]
    )
    return [points for points in ellipses if points is not None]


def _ring(centre: Float64[np.ndarray, "2"], radius: float) -> Float64[np.ndarray, "points 2"]:
    """Return points on a circle that is hollow when it is drawn as wide as a line."""
    angles = np.linspace(0.0, 2.0 * np.pi, 32, endpoint=False)
    return centre + 1.6 * radius * np.stack((np.cos(angles), np.sin(angles)), axis=-1)


def _around(
    face: Face, ellipses: list[Float64[np.ndarray, "points 2"]], pens: _Pens, spread: float
) -> tuple[float, float, float, float]:
    """Return a box that everything drawn of a face lies in, `spread` px wider than its points."""
    corners = np.array(face.bbox, np.float64).reshape(2, 2)
    points = np.concatenate([face.landmarks, corners, *ellipses])
    points = points[np.isfinite(points).all(axis=1)]
    if not len(points):
        return 0.0, 0.0, -2.0, -2.0
    margin = spread + 2 * pens.text
    (x0, y0), (x1, y1) = points.min(axis=0) - margin, points.max(axis=0) + margin
    wide = text_width("0.00", height=pens.text) + margin
    return float(x0), float(y0), float(max(x1, x0 + wide)), float(y1)


def _cased(
    window: Window,
    lines: list[Float64[np.ndarray, "points 2"]],
    pens: _Pens,
    colour: Colour,
    *,
    closed: bool = True,
) -> None:
    """Draw lines with a dark edge."""
    window.lines(lines, width=pens.line + 2 * pens.casing, closed=closed)
    window.lay(_CASING, opacity=0.7)
    window.lines(lines, width=pens.line, closed=closed)
    window.lay(colour)


def _contours(window: Window, face: Face, pens: _Pens) -> None:
    """Draw the mark-up's edges."""
    ends = (face.landmarks[list(edge)] for edge in face.markup.edges)
    _cased(window, [pair for pair in ends if np.isfinite(pair).all()], pens, _LINE, closed=False)


def _box(window: Window, face: Face, pens: _Pens) -> None:
    """Draw a face's box, and its score above or, where there is no room, inside."""
    x0, y0, x1, y1 = face.bbox
    frame = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float64)
    if not np.isfinite(frame).all():
        return
    above = y0 - 0.6 * pens.text
    baseline = above if above > 1.2 * pens.text else y0 + 1.6 * pens.text
    corner = np.array([x0, baseline])
    for width, colour in ((2 * pens.casing, _CASING), (0.0, _LINE)):
        window.lines([frame], width=pens.frame + width, closed=True)
        if np.isfinite(face.score):
            window.words(
                f"{face.score:.2f}", corner, height=pens.text, width=pens.text / 8 + 1.5 * width
            )
        window.lay(colour)


def _heatmap(window: Window, face: Face) -> None:
    """Draw where the densities are."""
    height, width = window.pixels.shape[:2]
    _glow(window, heat_of(face.density, window.corner, height=height, width=width))


def _boundary(window: Window, face: Face, pens: _Pens) -> None:
    """Draw where the boundary of a face may pass, and the curve through its landmarks' means."""
    height, width = window.pixels.shape[:2]
    heat, curve = boundary_of(face, window.corner, height=height, width=width)
    _glow(window, heat)
    _cased(window, [curve], pens, _LINE, closed=False)


def _glow(window: Window, heat: Float[np.ndarray, "height width"]) -> None:
    """Lay a map of shares, 0 to 1, over the picture."""
    rows, columns = np.nonzero(heat > 0.01)
    if not len(rows):  # a face smaller than a pixel
        return
    heat = np.minimum(heat[rows, columns], 1.0)
    scaled = np.rint(255 * heat).astype(np.uint8)[:, None]
    colours = cv2.applyColorMap(scaled, cv2.COLORMAP_INFERNO)[:, 0, ::-1].astype(np.float32)
    window.blend(rows, columns, colours, np.minimum((heat - 0.01) / 0.4, 0.85))
