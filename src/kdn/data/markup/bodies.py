"""The mark-up of people that COCO uses."""

from __future__ import annotations

from kdn.data.markup.markup import Markup, involution

__all__ = ["BODY17"]

_PAIRS = ("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")

BODY17 = Markup(
    name="body17",
    landmarks=17,
    flip=involution(17, tuple((i, i + 1) for i in range(1, 17, 2))),
    pair=(5, 12),
    groups={
        "head": tuple(range(5)),
        "arms": tuple(range(5, 11)),
        "legs": tuple(range(11, 17)),
    },
    edges=(
        *((0, 1), (0, 2), (1, 3), (2, 4)),
        *((5, 6), (5, 7), (6, 8), (7, 9), (8, 10)),
        *((5, 11), (6, 12), (11, 12)),
        *((11, 13), (12, 14), (13, 15), (14, 16)),
    ),
    names=("nose", *(f"{side} {part}" for part in _PAIRS for side in ("left", "right"))),
)
"""The 17 keypoints of a person (Lin et al., Microsoft COCO, 2014). Its normalising
pair is the torso, from the left shoulder to the right hip (Sapp & Taskar, MODEC, 2013)."""
