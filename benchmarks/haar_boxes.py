"""The constants of `kdn.predict.detect`, measured on labelled training faces.

Run `python benchmarks/haar_boxes.py DATA`, where `DATA/300w/helen/trainset` and `DATA/300w/afw`
hold pictures with `.pts` files. It prints, for the detector `haar`, the map from its raw boxes to
the tight boxes of the landmarks, what is left after it, how many faces are found, how many other
boxes, and the fit of the score; for `yunet`, the map from eyes, nose and mouth to the tight box,
measured on the labels; and the CPU time for a picture of one megapixel. Without a folder it has
nothing to do.

Fitted are medians, which faces in profile and wrong matches do not move. Pictures turned upside
down stand for pictures without an upright face.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from sklearn.linear_model import LogisticRegression

from kdn.data import Sample
from kdn.data.formats.ibug import read_ibug
from kdn.predict.detect import HaarDetector

FOLDERS = ("300w/helen/trainset", "300w/afw")


@dataclass(frozen=True)
class Candidate:
    """A raw box beside the labelled face of its picture; lengths as shares of the raw side."""

    picture: int
    count: int
    certainty: float
    centre: tuple[float, float]  # of the tight box, from the raw centre
    sides: tuple[float, float]  # of the tight box
    large: bool

    @property
    def right(self) -> bool:
        """Whether the raw box is of the labelled face."""
        size = 0.5 * sum(self.sides)
        return max(map(abs, self.centre)) < 0.45 * size and 0.6 < 1 / size < 1.7


def candidates(detector: HaarDetector, samples: list[Sample], turned: bool) -> list[Candidate]:
    """Return what the detector finds in each picture, as it is or upside down."""
    found = []
    for number, sample in enumerate(samples):
        image = sample.read()
        image = np.ascontiguousarray(image[::-1, ::-1]) if turned else image
        x0, y0, x1, y1 = sample.bbox
        for (a0, b0, a1, b1), count, certainty in detector.raw(image):
            side = a1 - a0
            centre = ((x0 + x1 - a0 - a1) / 2 / side, (y0 + y1 - b0 - b1) / 2 / side)
            sides = ((x1 - x0) / side, (y1 - y0) / side)
            large = side >= 0.2 * max(image.shape)
            found.append(Candidate(number, count, certainty, centre, sides, large))
    return found


def kept(found: list[Candidate], neighbours: int) -> list[Candidate]:
    """Return what a detector with so many neighbours keeps, by the rule of `HaarDetector.raw`."""
    of_picture: dict[int, list[Candidate]] = {}
    for one in found:
        of_picture.setdefault(one.picture, []).append(one)
    result = []
    for ones in of_picture.values():
        sure = [one for one in ones if one.count >= neighbours]
        doubtful = [one for one in ones if one.large and one.count >= math.ceil(neighbours / 2)]
        best = sorted(doubtful, key=lambda one: (-one.count, -one.certainty))[:1]
        result += sure or best
    return result


def spread(values: np.ndarray) -> str:
    """Return median, standard deviation and the middle 90 % of values."""
    low, middle, high = np.percentile(values, [5, 50, 95])
    return f"median {middle:+.3f}, sd {values.std():.3f}, 5–95 % {low:+.3f} to {high:+.3f}"


def report_box(right: list[Candidate]) -> None:
    """Print the constants of `HAAR_BOX` and what is left after them."""
    centre = np.array([one.centre for one in right])
    sides = np.array([one.sides for one in right])
    down, (width, height) = np.median(centre[:, 1]), np.median(sides, axis=0)
    print(f"HAAR_BOX = TightBox(down={down:.3f}, width={width:.3f}, height={height:.3f})")
    print(f"  right of the raw centre: {spread(centre[:, 0])}  (0 is used)")
    size = sides.mean(axis=1)
    left = (np.array([0.0, down]) - centre) / size[:, None]
    print("  left after it, as shares of the mean side of the tight box:")
    print(f"    centre x: {spread(left[:, 0])}")
    print(f"    centre y: {spread(left[:, 1])}")
    distance = np.hypot(*left.T)
    print(f"    distance: median {np.median(distance):.3f}, 95 % {np.percentile(distance, 95):.3f}")
    print(f"    mean side, ratio: {spread(0.5 * (width + height) / size)}")


def report_rates(upright: list[Candidate], turned: list[Candidate], pictures: int) -> None:
    """Print which faces are found, and what else is, for several numbers of neighbours."""
    print("neighbours   found   other boxes a picture   boxes in a picture upside down")
    for neighbours in (4, 5, 6, 8, 10, 12):
        ones, others = kept(upright, neighbours), kept(turned, neighbours)
        faces = len({one.picture for one in ones if one.right})
        wrong = sum(not one.right for one in ones)
        print(
            f"{neighbours:10d} {100 * faces / pictures:6.1f} % {wrong / pictures:16.3f}"
            f" {len(others) / pictures:24.3f}"
        )


def report_score(found: list[Candidate]) -> None:
    """Print the logistic fit of being the labelled face."""
    x = np.array([[math.log(one.count), one.certainty] for one in found])
    y = np.array([one.right for one in found])
    fit = LogisticRegression(C=1e6, max_iter=1000).fit(x - x.mean(axis=0), y)
    slopes = fit.coef_[0]
    bias = float(fit.intercept_[0] - slopes @ x.mean(axis=0))
    print(f"score: bias {bias:.3f}, log count {slopes[0]:.3f}, certainty {slopes[1]:.3f}")
    print(f"  ({len(y)} candidates of at least 3 windows, {y.mean():.3f} of them right)")


def report_five(samples: list[Sample]) -> None:
    """Print the constants of `box_of_five` and what is left after them."""
    points = np.array([sample.landmarks for sample in samples])
    boxes = np.array([sample.bbox for sample in samples])
    eyes = [points[:, 36:42].mean(axis=1), points[:, 42:48].mean(axis=1)]
    five = np.stack([*eyes, points[:, 30], points[:, 48], points[:, 54]], axis=1)
    middle = five.mean(axis=1)
    r = np.sqrt(((five - middle[:, None]) ** 2).sum(axis=2).mean(axis=1))
    centre, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    x, y = ((centre - middle) / r[:, None]).T
    nose = (middle[:, 0] - five[:, 2, 0]) / r
    back, down = float(nose @ x / (nose @ nose)), float(np.median(y))
    width, height = np.median(sides / r[:, None], axis=0)
    print(f"box_of_five: back {back:.3f}, down {down:.3f}, width {width:.3f}, height {height:.3f}")
    size = sides.mean(axis=1) / r
    distance = np.hypot(back * nose - x, down - y) / size
    print("  left after it, as shares of the mean side of the tight box:")
    print(f"    centre x: {spread((back * nose - x) / size)}")
    print(f"    centre y: {spread((down - y) / size)}")
    print(f"    distance: median {np.median(distance):.3f}, 95 % {np.percentile(distance, 95):.3f}")
    print(f"    mean side, ratio: {spread(0.5 * (width + height) / size)}")


def report_time(samples: list[Sample]) -> None:
    """Print what the default detector takes of one core for 1152 × 864 pixels, fastest of 3."""
    detector = HaarDetector()
    seconds = []
    for sample in samples[:: max(1, len(samples) // 8)]:
        image = cv2.resize(sample.read(), (1152, 864), interpolation=cv2.INTER_CUBIC)
        rounds = []
        for _ in range(3):
            start = time.process_time()
            detector(image)
            rounds.append(time.process_time() - start)
        seconds.append(min(rounds))
    print(
        f"HaarDetector: {1e3 * float(np.median(seconds)):.0f} ms of one core for 1152 × 864 pixels"
    )


def main() -> None:
    """Print everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="?", type=Path, help="folder that holds 300w")
    parser.add_argument("--every", type=int, default=1, help="take every n-th face only")
    args = parser.parse_args()
    if args.data is None:
        print("no folder with labelled faces named: nothing to measure")
        return
    cv2.setNumThreads(1)
    samples = [s for folder in FOLDERS for s in read_ibug(args.data / folder)][:: args.every]
    print(f"{len(samples)} training faces")
    loose = HaarDetector(neighbours=3)
    upright, turned = candidates(loose, samples, False), candidates(loose, samples, True)
    report_box([one for one in kept(upright, 6) if one.right])
    report_rates(upright, turned, len(samples))
    report_score(upright)
    report_five(samples)
    report_time(samples)


if __name__ == "__main__":
    main()
