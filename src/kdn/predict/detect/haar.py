"""The detector that needs no file: the frontal-face cascade that OpenCV brings along."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from kdn.data.sample import Box
from kdn.predict.detect.detection import (
    Detection,
    TightBox,
    largest_first,
    without_overlaps,
    working_copy,
)

__all__ = ["HAAR_BOX", "HaarDetector", "score_of"]


HAAR_BOX = TightBox(down=0.149, width=0.875, height=0.847)
"""Measured on 1207 faces by `benchmarks/haar_boxes.py`; see `docs/detectors.md`."""

# The cascade was trained on windows of 20 × 20.
_WINDOW = 20
# Windows are alike when all four edges differ by less than this share of the side.
_ALIKE = 0.2
# The single doubtful face must be this large, as a share of the picture's longer side.
_LARGE = 0.2
# Score: logistic in the logarithm of how many windows agree and in the best certainty among them.
_BIAS, _PER_LOG_COUNT, _PER_CERTAINTY = -59.053, 1.058, 1.050


class HaarDetector:
    """Frontal faces by OpenCV's `haarcascade_frontalface_alt2`.

    A window slides over the picture at every size; many windows report one face, and their number
    tells faces from chance. A face counts when `neighbours` windows agree. If there is none in the
    picture, the best candidate counts on which half as many agree, if it is large: whoever hands
    over a portrait means the face in it.

    The same picture always gives the same faces, the largest first. Often missed are faces in
    profile, largely covered, cut by the edge of the picture, or turned in its plane by 20° or more.

    Args:
        longest: Pictures are scaled down until no side is longer than this many pixels.
        smallest: Smallest face that is looked for: side of the cascade's window as a share of the
            picture's longer side. The time goes with its inverse square.
        step: Ratio of one window size to the next.
        neighbours: How many windows must agree.
        overlap: Of two boxes with a larger intersection over union the better one is kept.

    Raises:
        ValueError: If an argument is out of its range.
        FileNotFoundError: If the installed OpenCV has no cascade.
    """

    def __init__(
        self,
        *,
        longest: int = 800,
        smallest: float = 0.04,
        step: float = 1.1,
        neighbours: int = 6,
        overlap: float = 0.3,
    ) -> None:
        if longest < _WINDOW:
            raise ValueError(f"longest must be {_WINDOW} pixels or more, got {longest}")
        if not 0.0 < smallest <= 1.0:
            raise ValueError(f"smallest must lie in (0, 1], got {smallest}")
        if not step > 1.0:
            raise ValueError(f"step must be greater than 1, got {step}")
        if neighbours < 1:
            raise ValueError(f"neighbours must be 1 or more, got {neighbours}")
        if not 0.0 <= overlap <= 1.0:
            raise ValueError(f"overlap must lie in [0, 1], got {overlap}")
        self.longest, self.smallest, self.step = longest, smallest, step
        self.neighbours, self.overlap = neighbours, overlap
        self._cascade = _cascade()

    def __call__(self, image: UInt8[np.ndarray, "height width 3"]) -> list[Detection]:
        """Return the faces in an RGB picture, the largest first."""
        found = [
            Detection(HAAR_BOX.of(raw), score_of(count, certainty))
            for raw, count, certainty in self.raw(image)
        ]
        return largest_first(without_overlaps(found, self.overlap))

    def raw(self, image: UInt8[np.ndarray, "height width 3"]) -> list[tuple[Box, int, float]]:
        """Return the cascade's own boxes, how many windows agree on each, and the best certainty.

        Convention: image pixels; a window from pixel `x` on, `w` wide, is `x − ½` to `x + w − ½`.
        """
        copy, scale_x, scale_y = working_copy(image, self.longest)
        grey = cv2.cvtColor(copy, cv2.COLOR_RGB2GRAY)
        groups = self._agreeing(grey)
        sure = [group for group in groups if group[1] >= self.neighbours]
        if not sure and groups:
            large = [g for g in groups if g[0][2] >= _LARGE * max(grey.shape)]
            sure = sorted(large, key=lambda g: (-g[1], -g[2], g[0]))[:1]
        return [
            (
                (
                    x / scale_x - 0.5,
                    y / scale_y - 0.5,
                    (x + width) / scale_x - 0.5,
                    (y + height) / scale_y - 0.5,
                ),
                count,
                certainty,
            )
            for (x, y, width, height), count, certainty in sure
        ]

    def _agreeing(self, grey: np.ndarray) -> list[tuple[tuple[int, int, int, int], int, float]]:
        """Return `(x, y, width, height)` of groups of windows, their numbers and certainties.

        Groups of at least half of `neighbours`, in working pixels.
        """
        side = max(_WINDOW, round(self.smallest * max(grey.shape)))
        # Ungrouped: with `minNeighbors` OpenCV gives certainties or numbers, and not both.
        windows, _, certainties = self._cascade.detectMultiScale3(
            grey, self.step, 0, minSize=(side, side), outputRejectLevels=True
        )
        if len(windows) == 0:
            return []
        windows, certainties = np.asarray(windows), np.asarray(certainties).ravel()
        # OpenCV keeps groups of *more* than this.
        boxes, counts = cv2.groupRectangles(
            windows.tolist(), math.ceil(0.5 * self.neighbours) - 1, _ALIKE
        )
        groups = []
        for box, count in zip(np.asarray(boxes).tolist(), np.ravel(counts).tolist(), strict=True):
            members = _alike(windows, np.asarray(box))
            best = float(certainties[members].max()) if members.any() else 0.0
            groups.append((tuple(box), count, best))
        return groups


def score_of(count: int, certainty: float) -> float:
    """Return the score of a face: what share of such candidates were labelled faces.

    Args:
        count: How many windows agree.
        certainty: The cascade's best certainty among them.
    """
    logit = _BIAS + _PER_LOG_COUNT * math.log(count) + _PER_CERTAINTY * certainty
    return 1.0 / (1.0 + math.exp(-logit))


def _alike(windows: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Return which windows are of a group's size and place."""
    edges = np.concatenate([windows[:, :2], windows[:, :2] + windows[:, 2:]], axis=1)
    middle = np.concatenate([box[:2], box[:2] + box[2:]])
    return np.all(np.abs(edges - middle) <= _ALIKE * np.minimum(windows[:, 2:3], box[2]), axis=1)


def _cascade() -> cv2.CascadeClassifier:
    """Return the cascade that OpenCV brings along."""
    folder = Path(cv2.data.haarcascades)  # type: ignore[attr-defined]
    path = folder / "haarcascade_frontalface_alt2.xml"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: the installed OpenCV has no cascade; 4.x brings it along")
    return cv2.CascadeClassifier(str(path))
