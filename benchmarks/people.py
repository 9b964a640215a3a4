"""Draws cartoon people with COCO's 17 keypoints, several a picture, and the JSON that labels them.

    python benchmarks/people.py people --train 700 --test 250

writes `people/train.json` and `people/test.json` in the format of COCO keypoints with JPEG pictures
in `people/train` and `people/test`. People stand, walk, sit, raise their arms, lie, face the camera
or turn their backs; they hide each other, stand behind things, and reach out of the picture.

As in COCO a keypoint is `x, y, v`: `v` 2 where it can be seen, 1 where somebody else or a thing is
in front of it, 0 (without a position) outside the picture, for faces that are turned away, and for
three in ten of those that are hidden. Boxes and areas are those of what can be seen of a person.
"""

from __future__ import annotations

import argparse
import json
import math
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from kdn.data.markup import BODY17

_FINE = 4  # OpenCV takes points as whole numbers of 1/16 pixel
_SKIN = ((224, 172, 130), (198, 134, 94), (141, 85, 54), (245, 205, 170))
_FEWEST = 5  # keypoints that can be seen, for a person to be labelled


class _Picture:
    """A picture that is drawn from back to front, and who is in front at each pixel."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.height, self.width = int(rng.integers(180, 281)), int(rng.integers(240, 381))
        shade = np.linspace(0, 1, self.height)[:, None, None]
        top, bottom = rng.integers(60, 256, 3), rng.integers(20, 200, 3)
        flat = np.broadcast_to((1 - shade) * top + shade * bottom, (self.height, self.width, 3))
        self.pixels = flat.astype(np.uint8).copy()
        self.front = np.zeros((self.height, self.width), np.uint8)

    def polygon(self, corners: Any, colour: Any, who: int) -> None:
        """Fill a polygon in image pixels."""
        whole = [np.rint(np.array(corners) * 2**_FINE).astype(np.int32)]
        cv2.fillPoly(self.pixels, whole, _plain(colour), cv2.LINE_AA, _FINE)
        cv2.fillPoly(self.front, whole, who, cv2.LINE_8, _FINE)

    def limb(self, joints: Any, radius: float, colour: Any, who: int) -> None:
        """Draw a thick line through points."""
        for start, end in pairwise(joints):
            along = np.array(end) - start
            across = np.array([-along[1], along[0]]) * radius / max(float(np.hypot(*along)), 1e-6)
            self.polygon([start + across, end + across, end - across, start - across], colour, who)
        for joint in joints:
            self.disc(joint, radius, colour, who)

    def disc(self, centre: Any, radius: float, colour: Any, who: int) -> None:
        """Fill a disc."""
        x, y = (round(value * 2**_FINE) for value in np.asarray(centre).tolist())
        size = max(1, round(radius * 2**_FINE))
        cv2.circle(self.pixels, (x, y), size, _plain(colour), -1, cv2.LINE_AA, _FINE)
        cv2.circle(self.front, (x, y), size, who, -1, cv2.LINE_8, _FINE)

    def thing(self, rng: np.random.Generator, who: int, largest: float) -> None:
        """Draw a box or a disc anywhere."""
        middle, colour = rng.random(2) * (self.width, self.height), rng.integers(0, 256, 3)
        size = rng.uniform(0.1, largest, 2) * self.height
        if rng.random() < 0.3:
            self.disc(middle, 0.5 * size[0], colour, who)
            return
        turn = rng.normal(0, 0.2)
        axes = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * size / 2
        self.polygon(corners @ axes + middle, colour, who)


def _plain(colour: Any) -> tuple[int, int, int]:
    red, green, blue = (int(value) for value in colour)
    return red, green, blue


def _pose(rng: np.random.Generator, size: float, neck: np.ndarray, back: bool) -> np.ndarray:
    """Return the 17 points of a person, image pixels.

    Args:
        rng: Where the pose comes from.
        size: How tall the person stands.
        neck: Where.
        back: Whether seen from behind, so that the left is on the picture's left.
    """
    lying = rng.random() < 0.06
    lean = rng.choice([-1, 1]) * math.pi / 2 if lying else 0.0
    lean += rng.normal(0, 0.12)
    left = -1.0 if back else 1.0

    def along(angle: float, length: float) -> np.ndarray:
        """Return a step, the angle from straight down towards the picture's right."""
        return size * length * np.array([math.sin(angle + lean), math.cos(angle + lean)])

    across = rng.uniform(0.75, 1.05) * left  # half turned people are narrower
    points = np.zeros((17, 2))
    head = neck + along(math.pi + rng.normal(0, 0.15), 0.10)
    glance = rng.normal(0, 0.3)
    points[0] = head + along(math.pi / 2, 0.03 * glance) + along(0, 0.012)
    for side, sign in ((0, 1.0), (1, -1.0)):
        points[1 + side] = head + along(math.pi / 2, 0.024 * sign * across + 0.02 * glance)
        points[1 + side] += along(math.pi, 0.014)
        points[3 + side] = head + along(math.pi / 2, 0.055 * sign * across)
        points[5 + side] = neck + along(math.pi / 2, 0.115 * sign * across) + along(0, 0.015)
        points[11 + side] = neck + along(math.pi / 2, 0.07 * sign * across) + along(0, 0.30)
        outward = sign * math.copysign(1.0, across)
        raised = rng.random() < 0.25
        upper = outward * abs(rng.normal(2.3, 0.4) if raised else rng.normal(0.35, 0.35))
        lower = upper + outward * rng.normal(0.5 if raised else -0.4, 0.6)
        points[7 + side] = points[5 + side] + along(upper, 0.165)
        points[9 + side] = points[7 + side] + along(lower, 0.15)
        sitting = rng.random() < 0.15
        thigh = outward * (rng.normal(1.1, 0.2) if sitting else abs(rng.normal(0.12, 0.2)))
        shin = rng.normal(0, 0.15) if sitting else thigh + rng.normal(-0.05 * outward, 0.2)
        points[13 + side] = points[11 + side] + along(thigh, 0.24)
        points[15 + side] = points[13 + side] + along(shin, 0.23)
    return points


def _person(
    rng: np.random.Generator, into: _Picture, points: np.ndarray, size: float, back: bool, who: int
) -> None:
    """Draw a person: legs, arms behind or in front of the trunk, head."""
    skin, shirt = _SKIN[int(rng.integers(len(_SKIN)))], rng.integers(0, 256, 3)
    trousers, hair, shoes = (rng.integers(0, high, 3) for high in (200, 120, 90))
    bare, short = rng.random(2) < 0.35
    for side in (0, 1):
        hip, knee, ankle = points[11 + side], points[13 + side], points[15 + side]
        into.limb([knee, ankle], 0.032 * size, skin if bare else trousers, who)
        into.limb([hip, knee], 0.045 * size, trousers, who)
        into.disc(ankle + np.array([0, 0.012 * size]), 0.034 * size, shoes, who)

    def arm(side: int) -> None:
        shoulder, elbow, wrist = points[5 + side], points[7 + side], points[9 + side]
        into.limb([elbow, wrist], 0.024 * size, skin if short else shirt, who)
        into.limb([shoulder, elbow], 0.032 * size, 0.85 * np.array(shirt), who)
        into.disc(wrist, 0.028 * size, skin, who)

    front = rng.random(2) < 0.7
    for side in np.flatnonzero(~front).tolist():
        arm(side)
    into.polygon(points[[5, 6, 12, 11]], shirt, who)
    into.limb(points[[5, 6]], 0.04 * size, shirt, who)
    into.limb(points[[11, 12]], 0.045 * size, trousers, who)
    middle, ears = points[[5, 6]].mean(axis=0), points[[3, 4]]
    head = ears.mean(axis=0)
    into.limb([middle, head], 0.025 * size, skin, who)
    for ear in ears:
        into.disc(ear, 0.016 * size, skin, who)
    into.disc(head, 0.058 * size, hair, who)
    if not back:
        into.disc(head + 0.3 * (points[0] - head) + 0.008 * size, 0.05 * size, skin, who)
        for eye in points[[1, 2]]:
            into.disc(eye, 0.009 * size, (245, 245, 245), who)
            into.disc(eye, 0.005 * size, (20, 20, 30), who)
        into.disc(points[0], 0.009 * size, 0.7 * np.array(skin), who)
    for side in np.flatnonzero(front).tolist():
        arm(side)


def draw(rng: np.random.Generator) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Return one picture, RGB, with an annotation for each person that enough is seen of."""
    into = _Picture(rng)
    for _ in range(int(rng.integers(4, 12))):
        into.thing(rng, 0, 0.6)
    people = []
    for who in range(1, int(rng.integers(1, 5)) + 1):
        size = into.height * math.exp(rng.normal(math.log(0.62), 0.3))
        neck = rng.random(2) * (into.width, 0.55 * into.height) + (0, 0.12 * into.height)
        back = bool(rng.random() < 0.25)
        points = _pose(rng, size, neck, back)
        _person(rng, into, points, size, back, who)
        people.append((who, points, back))
    for _ in range(int(rng.integers(1, 4))):
        into.thing(rng, 255, 0.45)
    found = [_annotation(rng, into, *person) for person in people]
    return into.pixels, [entry for entry in found if entry is not None]


def _annotation(
    rng: np.random.Generator, into: _Picture, who: int, points: np.ndarray, back: bool
) -> dict[str, Any] | None:
    """Return what COCO says of a person; None if too little is seen."""
    rows, columns = np.nonzero(into.front == who)
    at = np.rint(points).astype(int)
    inside = ((at >= 0) & (at < (into.width, into.height))).all(axis=1)
    seen = np.zeros(17, bool)
    seen[inside] = into.front[at[inside, 1], at[inside, 0]] == who
    flags = np.where(seen, 2, np.where(rng.random(17) < 0.3, 0, 1))
    flags[~inside] = 0
    flags[:3] = 0 if back else flags[:3]
    if (flags == 2).sum() < _FEWEST:
        return None
    triples = [[round(x, 2), round(y, 2), v] if v else [0, 0, 0]
               for (x, y), v in zip(points.tolist(), flags.tolist(), strict=True)]  # fmt: skip
    left, top = int(columns.min()), int(rows.min())
    return {
        "keypoints": list(chain.from_iterable(triples)),
        "num_keypoints": int((flags > 0).sum()),
        "bbox": [left, top, int(columns.max()) + 1 - left, int(rows.max()) + 1 - top],
        "area": len(rows),
        "iscrowd": 0,
        "category_id": 1,
    }


def write(folder: Path, name: str, count: int, seed: int) -> tuple[Path, int]:
    """Draw pictures into `folder/name`; return the JSON beside it and how many people it labels."""
    (folder / name).mkdir(parents=True, exist_ok=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number in range(count):
        pixels, people = draw(np.random.default_rng((seed, number)))
        file = f"{number:06d}.jpg"
        cv2.imwrite(str(folder / name / file), pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
        height, width = pixels.shape[:2]
        images.append({"id": number, "file_name": file, "width": width, "height": height})
        for person in people:
            annotations.append({"id": len(annotations), "image_id": number, **person})
    skeleton = [[i + 1, j + 1] for i, j in BODY17.edges]
    category = {"id": 1, "name": "person", "keypoints": list(BODY17.names), "skeleton": skeleton}
    content = {"images": images, "annotations": annotations, "categories": [category]}
    target = folder / f"{name}.json"
    target.write_text(json.dumps(content), encoding="utf-8")
    return target, len(annotations)


def main() -> None:
    """Draw training and test pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--train", type=int, default=700)
    parser.add_argument("--test", type=int, default=250)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if given.folder is None:
        print("Nothing drawn: name a folder.")
        return
    for name, count, seed in (("train", given.train, 0), ("test", given.test, 1)):
        target, people = write(given.folder, name, count, 2 * given.seed + seed)
        print(f"{people} people in {count} pictures: {target}")


if __name__ == "__main__":
    main()
