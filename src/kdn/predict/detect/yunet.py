"""YuNet, a small network that finds faces, from an ONNX file that the user names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float64, UInt8

from kdn.data.sample import Box
from kdn.predict.detect.detection import Detection, largest_first, working_copy

__all__ = ["YuNetDetector", "box_of_five"]


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
        found = []
        for row in np.zeros((0, 15)) if rows is None else np.asarray(rows, dtype=np.float64):
            # Columns: x, y, width, height; five times x, y; score.
            five = (row[4:14].reshape(5, 2) + 0.5) / (scale_x, scale_y) - 0.5
            if np.isfinite(five).all() and np.ptp(five, axis=0).max() > 0.0:
                found.append(Detection(box_of_five(five), float(np.clip(row[14], 0.0, 1.0))))
        return largest_first(found)


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
