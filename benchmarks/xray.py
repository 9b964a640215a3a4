"""Draws X-ray-like pictures of a pelvis with eight named points, and the tables that label them.

    python benchmarks/xray.py pelvis --train 600 --test 200

writes `pelvis/train.csv` and `pelvis/test.csv` (`path`, `x0`, `y0`, …, `visible0`, …, `inverted`)
with 16-bit grey PNG files of 12 bits beside them. Pictures have all sizes, none is square. Bones
absorb more than soft tissue; exposure, contrast and noise vary, a tenth is inverted (bones dark).
A point outside the picture has no position; one outside the collimated field, or behind an implant
or a gonad shield, is labelled where it would be and is not visible.
"""

from __future__ import annotations

import argparse
import csv
import math
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

NAMES = (
    *("right iliac crest", "left iliac crest", "right femoral head", "left femoral head"),
    *("right ischium", "left ischium", "sacrum", "symphysis"),
)
"""What the points are; left and right are the patient's own, who is seen from the front."""

_POINTS = np.array(
    [
        *((-0.86, -0.70), (0.86, -0.70), (-0.66, 0.22), (0.66, 0.22)),
        *((-0.32, 0.66), (0.32, 0.66), (0.0, -0.48), (0.0, 0.40)),
    ]
)
"""Of a pelvis of half width 1, x to the right of the picture, y down."""

_FINE = 4  # OpenCV takes points as whole numbers of 1/16 pixel


@dataclass(frozen=True)
class Xray:
    """A picture, its points in image pixels, and which of them can be seen."""

    picture: np.ndarray
    points: np.ndarray
    visible: np.ndarray
    inverted: bool


def draw(rng: np.random.Generator) -> Xray:
    """Return one picture with its labels; points outside it are NaN."""
    height, width = int(rng.integers(150, 231)), int(rng.integers(240, 341))
    points, to_image, unit = _posed(rng, height, width)
    absorbed = _tissue(rng, to_image, unit, height, width)
    absorbed += _bones(rng, points, to_image, unit, height, width)
    hidden = np.zeros(len(points), bool)
    for disc in _metal(rng, points, unit):
        absorbed += 2.0 * disc.mask(height, width)
        hidden |= disc.covers(points)
    field, seen = _collimation(rng, points, height, width)
    light = np.exp(-absorbed) * field
    light = rng.poisson(light * (dose := rng.uniform(150, 900))) / dose
    shown = np.maximum(-np.log(np.maximum(light, 1e-3)), 0) * field  # bones bright, as on films
    shown = (shown / max(float(np.quantile(shown, 0.98)), 1e-6)) ** rng.uniform(0.7, 1.4)
    inverted = bool(rng.random() < 0.1)
    shown = 1.15 - shown if inverted else shown
    low, gain = rng.uniform(0, 600), rng.uniform(900, 3000)
    picture = np.clip(low + gain * shown, 0, 4095).astype(np.uint16)
    edge = np.array([width - 0.5, height - 0.5])
    outside = np.asarray(((points < -0.5) | (points > edge)).any(axis=1))
    points = np.where(outside[:, None], np.nan, points)
    return Xray(picture, points, seen & ~hidden & ~outside, inverted)


def _posed(
    rng: np.random.Generator, height: int, width: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the points of a patient in a picture, the map to it, and the length of one unit."""
    own = _POINTS.copy()
    own *= rng.normal(1.0, 0.06, 2)  # broad and tall pelves
    own[:2, 0] *= 1 + rng.normal(0, 0.06)
    own += rng.normal(0, 0.02, own.shape)
    unit = 0.40 * min(width, 1.5 * height) * math.exp(rng.normal(0, 0.12))
    angle = rng.normal(0, math.radians(6))
    turn = unit * np.array(
        [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    )
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    middle += rng.normal(0, 0.06, 2) * (width, height)
    to_image = np.column_stack([turn, middle])
    return own @ turn.T + middle, to_image, unit


def _tissue(
    rng: np.random.Generator, to_image: np.ndarray, unit: float, height: int, width: int
) -> np.ndarray:
    """Return what soft tissue absorbs: a trunk with thighs, and gas in the bowel."""
    canvas = np.zeros((height, width), np.float32)
    thick = rng.uniform(0.5, 1.0)
    for centre, axes in (
        ((0, -0.4), (1.35, 1.3)),
        ((-0.6, 1.2), (0.6, 1.0)),
        ((0.6, 1.2), (0.6, 1.0)),
    ):
        canvas = np.maximum(canvas, _ellipse(to_image, centre, axes, height, width) * thick)
    for _ in range(int(rng.integers(3, 9))):
        centre = rng.normal((0, -0.55), (0.35, 0.2))
        gas = _ellipse(to_image, centre, rng.uniform(0.05, 0.16, 2), height, width)
        canvas -= 0.18 * thick * gas * (canvas > 0)
    return cv2.GaussianBlur(canvas, (0, 0), 0.05 * unit)


def _bones(
    rng: np.random.Generator,
    points: np.ndarray,
    to_image: np.ndarray,
    unit: float,
    height: int,
    width: int,
) -> np.ndarray:
    """Return what bones absorb; what they look like follows from the points."""
    strong = rng.uniform(0.35, 0.6)
    sacrum, symphysis = points[6], points[7]
    down = to_image[:, 1]
    masks = []
    for side in (0, 1):
        crest, head, ischium = points[side], points[2 + side], points[4 + side]
        out = crest - points[1 - side]
        out = out / np.linalg.norm(out)
        joint = sacrum + 0.22 * unit * out + 0.1 * down
        wing = [crest, 0.55 * crest + 0.45 * sacrum - 0.12 * down, joint,
                0.4 * joint + 0.6 * head - 0.1 * unit * out, head - 0.05 * down,
                head + 0.1 * unit * out - 0.3 * down]  # fmt: skip
        masks.append(0.8 * _polygon(wing, height, width))
        ring = [0.7 * head + 0.3 * symphysis, symphysis - 0.08 * down, symphysis + 0.06 * down,
                ischium, head + 0.14 * down]  # fmt: skip
        hole = [0.45 * symphysis + 0.3 * head + 0.25 * ischium + 0.3 * (p - ischium)
                for p in (head, symphysis, ischium)]  # fmt: skip
        masks.append(np.maximum(_polygon(ring, height, width) - _polygon(hole, height, width), 0))
        masks.append(_Disc(head, 0.15 * unit).mask(height, width))
        trochanter = head + 0.34 * unit * out + 0.12 * down
        masks.append(_line(head, trochanter, 0.15 * unit, height, width))
        masks.append(_line(trochanter, trochanter + 1.4 * down - 0.1 * unit * out,
                           0.15 * unit, height, width))  # fmt: skip
        masks.append(_Disc(ischium, 0.10 * unit).mask(height, width))
    for level in range(4):
        upper, lower = sacrum - (0.22 + 0.2 * level) * down, sacrum - (0.12 + 0.2 * level) * down
        masks.append(0.8 * _line(lower, upper, 0.25 * unit, height, width))
    wide = 0.2 * to_image[:, 0]
    tail = 0.35 * sacrum + 0.65 * symphysis
    masks.append(0.7 * _polygon([sacrum - wide, sacrum + wide, tail], height, width))
    total = strong * np.maximum.reduce(masks) + 0.3 * strong * np.minimum(np.sum(masks, axis=0), 2)
    return cv2.GaussianBlur(total.astype(np.float32), (0, 0), 0.012 * unit + 0.4)


@dataclass(frozen=True)
class _Disc:
    """A disc in image pixels."""

    centre: np.ndarray
    radius: float

    def mask(self, height: int, width: int) -> np.ndarray:
        """Return how much of each pixel it covers."""
        rows, columns = np.mgrid[:height, :width]
        away = np.hypot(columns - self.centre[0], rows - self.centre[1])
        return np.clip(self.radius + 0.5 - away, 0.0, 1.0)

    def covers(self, points: np.ndarray) -> np.ndarray:
        """Return which points it hides."""
        return np.hypot(*(points - self.centre).T) < self.radius


def _metal(rng: np.random.Generator, points: np.ndarray, unit: float) -> list[_Disc]:
    """Return implants and shields, which let nothing through: none in most pictures."""
    found = []
    if rng.random() < 0.25:  # a new hip
        side = 2 + int(rng.integers(2))
        found.append(_Disc(points[side] + rng.normal(0, 0.02, 2) * unit, 0.17 * unit))
    if rng.random() < 0.2:  # a shield
        middle = points[7] + rng.normal(0, 0.15, 2) * unit
        found.append(_Disc(middle, rng.uniform(0.2, 0.35) * unit))
    if rng.random() < 0.2:  # something in a pocket
        near = points[int(rng.integers(2))] + rng.normal(0, 0.1, 2) * unit
        found.append(_Disc(near, rng.uniform(0.08, 0.2) * unit))
    return found


def _collimation(
    rng: np.random.Generator, points: np.ndarray, height: int, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return where there is light, and which points lie there: shutters may cut off any side."""
    low = np.where(rng.random(2) < 0.5, rng.uniform(0.0, 0.12, 2), -0.1) * (width, height)
    high = (1 - np.where(rng.random(2) < 0.5, rng.uniform(0.0, 0.12, 2), -0.1)) * (width, height)
    corners = [low, (high[0], low[1]), high, (low[0], high[1])]
    field = cv2.GaussianBlur(_polygon(corners, height, width), (0, 0), 0.8)
    return field, np.all((points > low) & (points < high), axis=1)


def _polygon(corners: list, height: int, width: int) -> np.ndarray:
    """Return how much of each pixel a polygon in image pixels covers."""
    mask = np.zeros((height, width), np.uint8)
    whole = np.rint(np.array(corners) * 2**_FINE).astype(np.int32)
    cv2.fillPoly(mask, [whole], 255, cv2.LINE_AA, _FINE)
    return mask.astype(np.float32) / 255


def _line(start: np.ndarray, end: np.ndarray, radius: float, height: int, width: int) -> np.ndarray:
    """Return a thick line with round ends."""
    rows, columns = np.mgrid[:height, :width]
    along = end - start
    share = ((columns - start[0]) * along[0] + (rows - start[1]) * along[1]) / (along @ along)
    share = np.clip(share, 0.0, 1.0)
    away = np.hypot(columns - start[0] - share * along[0], rows - start[1] - share * along[1])
    return np.clip(radius + 0.5 - away, 0.0, 1.0)


def _ellipse(
    to_image: np.ndarray, centre: object, axes: object, height: int, width: int
) -> np.ndarray:
    """Return the thickness of an ellipsoid: 1 in its middle, 0 at its rim."""
    rows, columns = np.mgrid[:height, :width]
    turn, middle = to_image[:, :2], to_image[:, 2]
    own = np.stack([columns - middle[0], rows - middle[1]], axis=-1) @ np.linalg.inv(turn).T
    square = (((own - np.asarray(centre)) / np.asarray(axes)) ** 2).sum(axis=-1)
    return np.sqrt(np.maximum(1 - square, 0)).astype(np.float32)


def write(folder: Path, name: str, count: int, seed: int) -> Path:
    """Draw pictures into `folder/name` and return the table beside it that labels them."""
    (folder / name).mkdir(parents=True, exist_ok=True)
    table = folder / f"{name}.csv"
    axes = [f"{axis}{i}" for i in range(len(NAMES)) for axis in "xy"]
    flags = [f"visible{i}" for i in range(len(NAMES))]
    with open(table, "w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", *axes, *flags, "inverted"])
        for index in range(count):
            found = draw(np.random.default_rng((seed, index)))
            path = f"{name}/{index:05d}.png"
            cv2.imwrite(str(folder / path), found.picture)
            cells = ["" if np.isnan(v) else f"{v:.3f}" for v in found.points.ravel().tolist()]
            seen = [str(int(flag)) for flag in found.visible]
            rows.writerow([path, *cells, *seen, str(found.inverted).lower()])
    return table


def main() -> None:
    """Draw training and test pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--train", type=int, default=600)
    parser.add_argument("--test", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if given.folder is None:
        print("Nothing drawn: name a folder.")
        return
    for name, count, seed in (("train", given.train, 0), ("test", given.test, 1)):
        print(f"{count} pictures: {write(given.folder, name, count, 2 * given.seed + seed)}")


if __name__ == "__main__":
    main()
