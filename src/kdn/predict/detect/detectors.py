"""The detectors of faces: the cascade that OpenCV brings along, and YuNet from a user's file."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float64, UInt8

from kdn.data.sample import Box
from kdn.predict.detect.detection import (
    Detection,
    TightBox,
    largest_first,
    without_overlaps,
    working_copy,
)

__all__ = ["HAAR_BOX", "HaarDetector", "YuNetDetector", "box_of_five", "score_of"]

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
        detections = [
            Detection(HAAR_BOX.of(raw), score_of(count, certainty))
            for raw, count, certainty in self.raw(image)
        ]
        return largest_first(without_overlaps(detections, self.overlap))

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


# Measured on 1207 labelled faces by `benchmarks/haar_boxes.py`; see `docs/detectors.md`.
_BACK, _DOWN = 1.72, 0.247
_WIDTH, _HEIGHT = 3.645, 3.539


class YuNetDetector:
    """Faces by `cv2.FaceDetectorYN`.

    The model (`face_detection_yunet_*.onnx` of the OpenCV model zoo) is not part of this package
    and is never downloaded. It finds faces of about 10 to 300 pixels, so pictures are scaled down;
    faces much smaller than a fiftieth of the picture need a larger `longest`.

    Its boxes are not used: they follow other conventions than landmarks do. It also gives both
    eyes, the tip of the nose and both corners of the mouth, from which `box_of_five` follows.

    The same picture always gives the same faces, the largest first. One detector must not be called
    from two threads at once.

    Args:
        path: The ONNX file.
        longest: Pictures are scaled down until no side is longer than this many pixels.
        score: Least score of a face, 0 to 1.
        overlap: Of two boxes with a larger intersection over union the better one is kept.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is no ONNX file of YuNet, or if an argument is out of its range.
    """

    def __init__(
        self, path: str | Path, *, longest: int = 640, score: float = 0.7, overlap: float = 0.3
    ) -> None:
        if longest < 32:  # the network's largest stride
            raise ValueError(f"longest must be 32 pixels or more, got {longest}")
        for name, value in (("score", score), ("overlap", overlap)):
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"{name} must lie in [0, 1], got {value}")
        self.longest = longest
        self._network = _load(Path(path), score, overlap)

    def __call__(self, image: UInt8[np.ndarray, "height width 3"]) -> list[Detection]:
        """Return the faces in an RGB picture, the largest first."""
        copy, scale_x, scale_y = working_copy(image, self.longest)
        self._network.setInputSize((copy.shape[1], copy.shape[0]))
        _, rows = self._network.detect(cv2.cvtColor(copy, cv2.COLOR_RGB2BGR))
        detections = []
        for row in np.zeros((0, 15)) if rows is None else np.asarray(rows, dtype=np.float64):
            # Columns: x, y, width, height; five times x, y; score.
            five = (row[4:14].reshape(5, 2) + 0.5) / (scale_x, scale_y) - 0.5
            if np.isfinite(five).all() and np.ptp(five, axis=0).max() > 0.0:
                detections.append(Detection(box_of_five(five), float(np.clip(row[14], 0.0, 1.0))))
        return largest_first(detections)


def box_of_five(points: Float64[np.ndarray, "5 2"]) -> Box:
    """Return the tight box of all landmarks from eyes, nose and mouth.

    With `m` the mean of the five points and `r` their root-mean-square distance from it, the box's
    centre is `m + (_BACK·(m − nose)ₓ, _DOWN·r)`: when a head turns away, its nose moves towards the
    edge and the rest of the face lies behind it. Its sides are multiples of `r`.

    Args:
        points: The two eyes, the tip of the nose, the two corners of the mouth, in any frame whose
            y points down; which of a pair comes first does not matter.

    Raises:
        ValueError: If a point is not finite, or if all five are the same.
    """
    middle = points.mean(axis=0)
    r = float(np.sqrt(((points - middle) ** 2).sum(axis=1).mean()))
    if not 0.0 < r < np.inf:  # neither is NaN
        raise ValueError(f"points must be finite and not all the same, got {points.tolist()}")
    x = float(middle[0] + _BACK * (middle[0] - points[2, 0]))
    y = float(middle[1] + _DOWN * r)
    half_width, half_height = 0.5 * _WIDTH * r, 0.5 * _HEIGHT * r
    return x - half_width, y - half_height, x + half_width, y + half_height


def _load(path: Path, score: float, overlap: float) -> Any:
    """Return OpenCV's detector from a file, tried on a grey picture."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; YuNet's ONNX file must be at hand")
    try:
        network = cv2.FaceDetectorYN.create(
            str(path), "", (64, 32), score_threshold=score, nms_threshold=overlap
        )
        network.detect(np.full((32, 64, 3), 127, dtype=np.uint8))
    except cv2.error:
        raise ValueError(f"{path}: not an ONNX file of YuNet that OpenCV can run") from None
    return network
