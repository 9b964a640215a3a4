"""What surrounds a synthetic face: background, hair, glasses, things in front, light and noise."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float64, UInt8

from kdn.data.synthetic.drawing import OVERSAMPLING, Canvas, Colour, Palette, curve

__all__ = [
    "draw_background",
    "draw_body",
    "draw_fringe",
    "draw_glasses",
    "draw_hair",
    "draw_occluder",
    "draw_palette",
    "finish",
]

Points = Float64[np.ndarray, "points 2"]
Landmarks = Float64[np.ndarray, "68 2"]


def _any_colour(rng: np.random.Generator) -> Colour:
    """Return a random colour."""
    red, green, blue = rng.uniform(0, 255, 3).tolist()
    return red, green, blue


def _scaled(colour: np.ndarray, factor: float) -> Colour:
    red, green, blue = np.clip(colour * factor, 0, 255).tolist()
    return red, green, blue


def draw_palette(rng: np.random.Generator) -> Palette:
    """Return random colours of a face: skin from dark to light, hair of any usual colour."""
    tone = rng.random()
    skin = (1 - tone) * np.array([75, 48, 36]) + tone * np.array([246, 208, 184])
    skin = skin * rng.uniform(0.9, 1.08, 3)
    hairs = np.array([[28, 22, 20], [70, 45, 28], [140, 85, 45], [205, 165, 95], [170, 168, 165]])
    hair = hairs[rng.integers(len(hairs))] * rng.uniform(0.75, 1.2)
    lips = skin * np.array([0.95, 0.62, 0.62]) * rng.uniform(0.75, 1.05)
    irises = np.array([[70, 45, 25], [60, 100, 140], [80, 110, 60], [30, 25, 25]])
    beard = _scaled(0.7 * hair + 0.3 * skin, 0.95) if rng.random() < 0.22 else None
    return Palette(
        skin=_scaled(skin, 1.0),
        shade=_scaled(skin, rng.uniform(0.5, 0.72)),
        hair=_scaled(hair, 1.0),
        lips=_scaled(lips, 1.0),
        iris=_scaled(irises[rng.integers(len(irises))], rng.uniform(0.8, 1.3)),
        beard=beard,
        brow=float(rng.uniform(0.05, 0.12)),
        line=float(rng.uniform(0.02, 0.035)),
    )


def draw_background(rng: np.random.Generator, *, height: int, width: int) -> Canvas:
    """Return a canvas of soft colours cluttered with shapes, some of them like parts of faces."""
    coarse = rng.integers(2, 9)
    soft = rng.uniform(0, 255, 3) + rng.uniform(5, 50) * rng.standard_normal((coarse, coarse, 3))
    size = (width * OVERSAMPLING, height * OVERSAMPLING)
    small = soft.clip(0, 255).astype(np.uint8)
    canvas = Canvas(cv2.resize(small, size, interpolation=cv2.INTER_LINEAR))  # type: ignore[arg-type]
    extent = np.array([width, height])
    for _ in range(rng.integers(2, 9)):
        centre, reach = rng.random(2) * extent, rng.uniform(0.03, 0.22) * min(height, width)
        kind = rng.integers(4)
        if kind == 0:
            canvas.polygon(centre + reach * rng.normal(0, 1, (4, 2)), _any_colour(rng))
        elif kind == 1:
            ends = np.stack([centre, rng.random(2) * extent])
            canvas.line(ends, _any_colour(rng), 0.15 * reach)
        elif kind == 2:
            canvas.disc(centre, reach, _any_colour(rng))
        else:
            _draw_decoy(canvas, rng, centre, reach)
    return canvas


def _draw_decoy(canvas: Canvas, rng: np.random.Generator, centre: np.ndarray, reach: float) -> None:
    """Draw a disc of skin with an eye or a mouth that belongs to no face."""
    palette = draw_palette(rng)
    canvas.disc(centre, reach, palette.skin)
    where = centre + reach * rng.uniform(-0.5, 0.5, 2)
    if rng.random() < 0.5:
        canvas.disc(where, 0.3 * reach, (240, 240, 240))
        canvas.disc(where, 0.15 * reach, palette.iris)
    else:
        ends = np.array([[-0.4, 0.0], [0.0, 0.1], [0.4, 0.0]]) * reach
        canvas.line(where + ends, palette.lips, 0.15 * reach)


def draw_body(
    canvas: Canvas, rng: np.random.Generator, landmarks: Landmarks, palette: Palette
) -> None:
    """Draw neck and shoulders below the jaw."""
    left, right, chin = landmarks[4], landmarks[12], landmarks[8]
    down = chin - landmarks[27]
    across = 0.5 * (right - left)
    base = 0.5 * (left + right) + down * rng.uniform(0.5, 0.75)
    neck = np.stack([left, right, base + 0.8 * across, base - 0.8 * across])
    canvas.polygon(neck, _scaled(np.array(palette.shade), 1.1))
    width, depth = rng.uniform(1.7, 2.4), rng.uniform(0.2, 0.5)
    shoulders = np.stack(
        [
            base - 0.7 * across,
            base + 0.3 * depth * down,
            base + 0.7 * across,
            base + width * across + depth * down,
            base + width * across + 3 * down,
            base - width * across + 3 * down,
            base - width * across + depth * down,
        ]
    )
    canvas.polygon(shoulders, _any_colour(rng))


def draw_hair(
    canvas: Canvas,
    rng: np.random.Generator,
    landmarks: Landmarks,
    outline: Points,
    palette: Palette,
) -> None:
    """Draw the hair behind the head: none, short or long."""
    kind = rng.random()
    if kind < 0.12:
        return
    middle = outline.mean(axis=0)
    grown = middle + rng.uniform(1.06, 1.25) * (outline - middle)
    canvas.polygon(grown + 0.12 * (landmarks[27] - landmarks[8]), palette.hair)
    if kind > 0.55:
        across = 0.5 * (landmarks[16] - landmarks[0])
        down = (landmarks[8] - landmarks[27]) * rng.uniform(0.7, 1.6)
        top = 0.5 * (landmarks[0] + landmarks[16])
        sides = [top - 1.2 * across, top + 1.2 * across]
        ends = [top + 1.4 * across + down, top - 1.4 * across + down]
        canvas.polygon(np.stack([*sides, *ends]), palette.hair)


def draw_fringe(
    canvas: Canvas,
    rng: np.random.Generator,
    landmarks: Landmarks,
    cranium: Points,
    palette: Palette,
) -> None:
    """Draw hair over the forehead, sometimes over the brows, on some heads."""
    if rng.random() > 0.5:
        return
    height = rng.uniform(0.15, 0.9)
    brows = landmarks[[26, 25, 23, 20, 18, 17]]  # from right to left, as the skull
    roots = cranium[np.linspace(1, len(cranium) - 2, len(brows)).round().astype(int)]
    tips = roots + (height + rng.uniform(-0.12, 0.12, (len(brows), 1))) * (brows - roots)
    shape = np.concatenate([curve(cranium[1:-1]), curve(tips)[::-1]])
    canvas.polygon(shape, palette.hair, hides=True)


def draw_glasses(
    canvas: Canvas, rng: np.random.Generator, landmarks: Landmarks, unit: float
) -> None:
    """Draw glasses on some faces, and dark ones, which hide the eyes, on a few."""
    kind = rng.random()
    if kind > 0.28:
        return
    colour = _scaled(np.array(_any_colour(rng)), 0.45)
    across = (landmarks[45] - landmarks[36]) / np.linalg.norm(landmarks[45] - landmarks[36])
    down = np.array([-across[1], across[0]])
    round_ = rng.uniform(2, 4)
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    ring = np.sign(ring) * np.abs(ring) ** (2 / round_)
    size = rng.uniform(1.25, 1.6), rng.uniform(0.8, 1.4)
    rims = []
    for eye in (landmarks[36:42], landmarks[42:48]):
        reach = max(0.5 * float(np.linalg.norm(eye[3] - eye[0])), 0.08 * unit)
        shape = ring[:, :1] * (size[0] * across) + ring[:, 1:] * (size[1] * down)
        rim = eye.mean(axis=0) + reach * shape
        rims.append(rim)
        if kind < 0.08:
            canvas.polygon(rim, colour, hides=True)
        canvas.line(rim, colour, 0.05 * unit, closed=True)
    canvas.line(np.stack([rims[0][0], rims[1][12]]), colour, 0.05 * unit)
    canvas.line(np.stack([rims[0][12], landmarks[0]]), colour, 0.04 * unit)
    canvas.line(np.stack([rims[1][0], landmarks[16]]), colour, 0.04 * unit)


def draw_occluder(
    canvas: Canvas, rng: np.random.Generator, landmarks: Landmarks, unit: float, palette: Palette
) -> None:
    """Draw something in front of a face: a hand, a card or a bar."""
    target = landmarks[rng.integers(68)] + unit * rng.normal(0, 0.25, 2)
    angle = rng.uniform(0, 2 * np.pi)
    along = np.array([np.cos(angle), np.sin(angle)]) * unit
    side = np.array([-along[1], along[0]])
    kind = rng.integers(3)
    if kind == 0:
        _draw_hand(canvas, rng, target, along, side, palette)
        return
    length, width = rng.uniform(0.3, 0.8), rng.uniform(0.2, 0.6)
    if kind == 2:
        length, width = 6.0, rng.uniform(0.06, 0.2)
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    shape = target + corners[:, :1] * length * along + corners[:, 1:] * width * side
    canvas.polygon(shape, _any_colour(rng), hides=True)
    if kind == 1:
        canvas.polygon(target + 0.6 * (shape - target), _any_colour(rng), hides=True)


def _draw_hand(
    canvas: Canvas,
    rng: np.random.Generator,
    target: np.ndarray,
    along: np.ndarray,
    side: np.ndarray,
    palette: Palette,
) -> None:
    skin = _scaled(np.array(palette.skin), rng.uniform(0.85, 1.05))
    thickness = 0.2 * float(np.linalg.norm(along))
    for finger in (-0.36, -0.12, 0.12, 0.36):
        root = target + 0.3 * along + finger * side
        tip = root + rng.uniform(0.45, 0.75) * along + 0.3 * finger * side
        ends = np.stack([root, tip])
        canvas.line(ends, palette.shade, 1.25 * thickness, hides=True)
        canvas.line(ends, skin, thickness)
    angle = np.linspace(0, 2 * np.pi, 20, endpoint=False)[:, None]
    palm = target + 0.45 * (np.cos(angle) * along + np.sin(angle) * side)
    canvas.polygon(palm, skin, hides=True)
    wrist = np.stack([target - 0.28 * side, target + 0.28 * side])
    arm = np.concatenate([wrist, wrist[::-1] - 4 * along])
    canvas.polygon(arm, skin, hides=True)


def finish(
    canvas: Canvas, rng: np.random.Generator, *, degrade: bool
) -> UInt8[np.ndarray, "height width 3"]:
    """Return the finished picture: lit from one side and, on demand, blurred and noisy."""
    picture = canvas.finished()
    height, width, _ = picture.shape
    light = rng.uniform(0.55, 1.25, (2, 2)).astype(np.float32)
    shading = cv2.resize(light, (width, height), interpolation=cv2.INTER_LINEAR)
    tint = rng.uniform(0.88, 1.12, 3).astype(np.float32)
    blur = rng.uniform(0.3, 1.5) if rng.random() < 0.35 else 0.0
    noise = rng.uniform(1, 14) if rng.random() < 0.7 else 0.0
    grey = rng.random() < 0.07
    if degrade and blur > 0:
        picture = cv2.GaussianBlur(picture, (0, 0), blur)
    lit = cv2.multiply(picture, cv2.merge([shading * t for t in tint]), dtype=cv2.CV_32F)
    if degrade and noise > 0:
        grain = np.float32(noise) * rng.standard_normal((height, width), dtype=np.float32)
        lit = cv2.add(lit, cv2.merge([grain, grain, grain]))
    picture = cv2.convertScaleAbs(np.maximum(lit, 0))
    if grey:
        picture = cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return picture  # type: ignore[return-value]
