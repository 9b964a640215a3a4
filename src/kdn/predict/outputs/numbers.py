"""How numbers are rounded in text: enough digits to lose nothing, and never NaN."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from kdn.predict.outputs.face import FoundFace

__all__ = ["face_entry", "plain_text", "rounded", "significant"]


def rounded(value: float, digits: int = 3) -> float | None:
    """Return a number with that many digits behind the point; None if it is not finite."""
    # Adding zero turns −0.0, which reads like a mistake, into 0.0.
    return round(float(value), digits) + 0.0 if math.isfinite(value) else None


def significant(value: float, digits: int = 6) -> float | None:
    """Return a number with that many digits in all; None if it is not finite."""
    return float(f"{value:.{digits}g}") + 0.0 if math.isfinite(value) else None


def face_entry(face: FoundFace) -> dict[str, Any]:
    """Return a face as JSON types, in image pixels.

    Coordinates have three digits behind the point, score four; covariances `(xx, xy, yy)` and
    uncertainty have six digits in all, since they run from thousandths to thousands. A face with
    an `abstention` has `tau`, and `error_probability` (four digits) and `known` of each landmark.
    """
    covariances = np.asarray(face.covariances)[:, (0, 0, 1), (0, 1, 1)]
    entry = {
        "bbox": [rounded(value) for value in face.bbox],
        "score": rounded(face.score, 4),
        "landmarks": [[rounded(value) for value in point] for point in face.landmarks],
        "covariances": [[significant(value) for value in row] for row in covariances],
        "uncertainty": [significant(value) for value in face.uncertainty],
    }
    abstention = getattr(face, "abstention", None)
    if abstention is not None:
        entry["tau"] = abstention.tau
        entry["error_probability"] = [rounded(value, 4) for value in abstention.error_probability]
        entry["known"] = [bool(value) for value in abstention.known]
    return entry


def plain_text(name: str) -> str:
    """Return a file name that any program can read: what is not UTF-8 in it becomes `�`."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
