"""How a model errs, and whether it knows, on turned, small, grey, dark or covered faces.

    python benchmarks/picture_robustness.py MODEL FOLDER [--faces N]

Pictures of labelled faces are changed with their labels: turned in their plane about the middle
of the face, reduced until the face is so many pixels wide, made grey, darkened, or partly painted
over. Boxes are tight. Printed are NME (% of the box), mean uncertainty (% of the box), their
Spearman correlation over landmarks, and how many labels lie in the 95 % regions.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import cv2
import numpy as np

from kdn.data import Sample, load_samples
from kdn.data.sample import tight_box
from kdn.evaluate import evaluate
from kdn.models.checkpoint import load_model
from kdn.predict.columns import predict
from kdn.predict.predictor import Predictor

Change = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""A picture `(h, w, 3)` and its landmarks `(L, 2)`, image pixels, to those of the changed one."""


def main() -> None:
    """Print one row a change."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", help="face68, or a checkpoint of kdn train")
    parser.add_argument("folder", nargs="?", help="pictures with .pts files")
    parser.add_argument("--faces", type=int, default=0, help="only the first so many")
    arguments = parser.parse_args()
    if arguments.folder is None:
        print("Nothing measured: name a model and a folder of labelled faces.")
        return
    model, _ = load_model(arguments.model)
    samples = list(load_samples(arguments.folder, model.labels.markup))[: arguments.faces or None]
    print(f"{len(samples)} faces\n")
    print(f"{'picture':<26}{'NME':>7}{'uncertainty':>13}{'Spearman':>10}{'95 % hold':>11}")
    for name, change in changes():
        found = predict(
            Predictor(model, flip=False), [changed(sample, change) for sample in samples]
        )
        assert found.uncertainty is not None
        x0, y0, x1, y1 = np.array(found.bbox).T
        box = np.sqrt((x1 - x0) * (y1 - y0))
        scores = evaluate(found, bootstrap=0)
        sure = 100 * float(np.mean(found.uncertainty / box[:, None]))
        print(
            f"{name:<26}{scores['NME box'].value:>7.2f}{sure:>13.2f}"
            f"{scores['Spearman (÷ box)'].value:>10.3f}"
            f"{scores['coverage of 95 % regions'].value:>11.1f}"
        )


def changes() -> Iterator[tuple[str, Change]]:
    """Yield each change by its name."""
    yield "as it is", lambda picture, points: (picture, points)
    for angle in (15, 30, 45, 60, 90, 180):
        yield f"turned by {angle}°", partial(turned, angle=angle)
    for width in (64, 32, 16):
        yield f"face {width} px wide", partial(reduced, width=width)
    yield (
        "grey",
        lambda picture, points: (
            np.repeat(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2),
            points,
        ),
    )
    for gain in (0.3, 0.1):
        yield (
            f"brightness × {gain}",
            lambda picture, points, g=gain: (
                (picture * g).astype(np.uint8),
                points,
            ),
        )
    for part in ("lower", "right"):
        yield f"{part} half of the box grey", partial(covered, part=part)


def changed(sample: Sample, change: Change) -> Sample:
    """Return a sample with another picture, its labels, and their tight box."""
    picture, points = change(sample.read(), sample.landmarks)
    box = tight_box(points, sample.valid)
    return replace(sample, image=picture, landmarks=points, bbox=box)


def turned(
    picture: np.ndarray, points: np.ndarray, *, angle: float
) -> tuple[np.ndarray, np.ndarray]:
    """Turn a picture clockwise about the middle of its landmarks, on a canvas that holds it all."""
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    side = int(2 * math.hypot(*picture.shape[:2]))
    c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    linear = np.array([[c, -s], [s, c]])
    offset = np.array([side / 2, side / 2]) - linear @ middle
    matrix = np.column_stack([linear, offset])
    return cv2.warpAffine(picture, matrix, (side, side)), points @ linear.T + offset


def reduced(
    picture: np.ndarray, points: np.ndarray, *, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Reduce a picture until the box of its landmarks is so wide; half-pixels are kept."""
    factor = min(1.0, width / float(np.ptp(points[:, 0])))
    size = tuple(max(1, round(factor * n)) for n in picture.shape[1::-1])
    scale = np.array(size) / np.array(picture.shape[1::-1])
    smaller = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return smaller, (points + 0.5) * scale - 0.5


def covered(picture: np.ndarray, points: np.ndarray, *, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Paint a half of the box of the landmarks, widened by a tenth, in middle grey."""
    low, high = points.min(axis=0), points.max(axis=0)
    x0, y0 = low - 0.1 * (high - low)
    x1, y1 = high + 0.1 * (high - low)
    if part == "lower":
        y0 = (y0 + y1) / 2
    else:
        x0 = (x0 + x1) / 2
    painted = picture.copy()
    cv2.rectangle(painted, (round(x0), round(y0)), (round(x1), round(y1)), (128, 128, 128), -1)
    return painted, points


if __name__ == "__main__":
    main()
