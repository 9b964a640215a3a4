"""The mark-ups of the package: what data sets of faces and of people use."""

from __future__ import annotations

from collections.abc import Mapping

from kdn.data.markup.markup import Markup, chain, counted, involution

__all__ = ["BODY17", "FACE5", "FACE19", "FACE29", "FACE68", "FACE98", "MARKUPS", "XM2VTS68"]

_EYE = ("outer corner", "upper outer", "upper inner", "inner corner", "lower inner", "lower outer")

FACE68 = Markup(
    name="face68",
    landmarks=68,
    flip=involution(
        68,
        (
            *((i, 16 - i) for i in range(8)),
            *((i, 43 - i) for i in range(17, 22)),
            *((31, 35), (32, 34)),
            *((36, 45), (37, 44), (38, 43), (39, 42), (40, 47), (41, 46)),
            *((48, 54), (49, 53), (50, 52), (59, 55), (58, 56)),
            *((60, 64), (61, 63), (67, 65)),
        ),
    ),
    eye_corners=(36, 45),
    eyes=(tuple(range(36, 42)), tuple(range(42, 48))),
    groups={
        "jaw": tuple(range(17)),
        "brows": tuple(range(17, 27)),
        "nose": tuple(range(27, 36)),
        "eyes": tuple(range(36, 48)),
        "mouth": tuple(range(48, 68)),
    },
    edges=(
        *chain(*range(17)),
        *chain(*range(17, 22)),
        *chain(*range(22, 27)),
        *chain(*range(27, 31)),
        *chain(*range(31, 36)),
        *chain(*range(36, 42), closed=True),
        *chain(*range(42, 48), closed=True),
        *chain(*range(48, 60), closed=True),
        *chain(*range(60, 68), closed=True),
    ),
    names=(
        *counted("jaw", 17),
        *counted("right brow", 5),
        *counted("left brow", 5),
        *counted("nose bridge", 3),
        "nose tip",
        *counted("nostrils", 5),
        *(f"right eye {name}" for name in _EYE),
        *(f"left eye {_EYE[index]}" for index in (3, 2, 1, 0, 5, 4)),
        *("mouth right corner", *counted("upper lip", 5), "mouth left corner"),
        *counted("lower lip", 5),
        *("inner right corner", *counted("inner upper lip", 3), "inner left corner"),
        *counted("inner lower lip", 3),
    ),
)
"""The 68 points of the iBUG mark-up (Sagonas et al., 300 Faces in-the-Wild, 2013).

The person's right side comes first: landmark 0 is where the jaw begins beside the right ear, which
is on the left of the picture. Numbers in names follow the mark-up's order.
"""


_RING = (
    *("outer corner", "upper outer", "upper middle", "upper inner"),
    *("inner corner", "lower inner", "lower middle", "lower outer"),
)

FACE98 = Markup(
    name="face98",
    landmarks=98,
    flip=involution(
        98,
        (
            *((i, 32 - i) for i in range(16)),
            *((i, 79 - i) for i in range(33, 38)),
            *((i, 88 - i) for i in range(38, 42)),
            *((55, 59), (56, 58)),
            *((60, 72), (61, 71), (62, 70), (63, 69), (64, 68), (65, 75), (66, 74), (67, 73)),
            *((76, 82), (77, 81), (78, 80), (83, 87), (84, 86)),
            *((88, 92), (89, 91), (93, 95), (96, 97)),
        ),
    ),
    eye_corners=(60, 72),
    eyes=(tuple(range(60, 68)), tuple(range(68, 76))),
    groups={
        "jaw": tuple(range(33)),
        "brows": tuple(range(33, 51)),
        "nose": tuple(range(51, 60)),
        "eyes": (*range(60, 76), 96, 97),
        "mouth": tuple(range(76, 96)),
    },
    edges=(
        *chain(*range(33)),
        *chain(*range(33, 42), closed=True),
        *chain(*range(42, 51), closed=True),
        *chain(*range(51, 55)),
        *chain(*range(55, 60)),
        *chain(*range(60, 68), closed=True),
        *chain(*range(68, 76), closed=True),
        *chain(*range(76, 88), closed=True),
        *chain(*range(88, 96), closed=True),
    ),
    names=(
        *counted("jaw", 33),
        *counted("right brow", 9),
        *counted("left brow", 9),
        *counted("nose bridge", 3),
        "nose tip",
        *counted("nostrils", 5),
        *(f"right eye {name}" for name in _RING),
        *(f"left eye {_RING[index]}" for index in (4, 3, 2, 1, 0, 7, 6, 5)),
        *("mouth right corner", *counted("upper lip", 5), "mouth left corner"),
        *counted("lower lip", 5),
        *("inner right corner", *counted("inner upper lip", 3), "inner left corner"),
        *counted("inner lower lip", 3),
        *("right pupil", "left pupil"),
    ),
)
"""The 98 points of WFLW (Wu et al., Look at Boundary, 2018); brows are closed outlines."""

FACE29 = Markup(
    name="face29",
    landmarks=29,
    flip=involution(
        29,
        (
            *((0, 1), (2, 3), (4, 6), (5, 7)),
            *((8, 9), (10, 11), (12, 14), (13, 15), (16, 17)),
            *((18, 19), (22, 23)),
        ),
    ),
    eye_corners=(8, 9),
    eyes=((8, 10, 12, 13), (9, 11, 14, 15)),
    groups={
        "jaw": (28,),
        "brows": tuple(range(8)),
        "nose": tuple(range(18, 22)),
        "eyes": tuple(range(8, 18)),
        "mouth": tuple(range(22, 28)),
    },
    edges=(
        *chain(0, 4, 2, 5, closed=True),
        *chain(1, 6, 3, 7, closed=True),
        *chain(8, 12, 10, 13, closed=True),
        *chain(9, 14, 11, 15, closed=True),
        *chain(18, 20, 19, 21, closed=True),
        *chain(22, 24, 23, 27, closed=True),
        *chain(22, 25, 23, 26, closed=True),
    ),
    names=(
        *("right brow outer end", "left brow outer end"),
        *("right brow inner end", "left brow inner end"),
        *("right brow upper", "right brow lower", "left brow upper", "left brow lower"),
        *("right eye outer corner", "left eye outer corner"),
        *("right eye inner corner", "left eye inner corner"),
        *("right eye upper", "right eye lower", "left eye upper", "left eye lower"),
        *("right pupil", "left pupil", "right nostril", "left nostril"),
        *("nose tip", "nose base", "mouth right corner", "mouth left corner"),
        *("upper lip", "inner upper lip", "inner lower lip", "lower lip", "chin"),
    ),
)
"""The 29 points of COFW and LFPW (Burgos-Artizzu et al., Robust Face Landmark Estimation, 2013)."""

FACE19 = Markup(
    name="face19",
    landmarks=19,
    flip=involution(19, ((0, 5), (1, 4), (2, 3), (6, 11), (7, 10), (8, 9), (12, 14), (15, 17))),
    eye_corners=(6, 11),
    eyes=((6, 7, 8), (9, 10, 11)),
    groups={
        "jaw": (18,),
        "brows": tuple(range(6)),
        "nose": tuple(range(12, 15)),
        "eyes": tuple(range(6, 12)),
        "mouth": tuple(range(15, 18)),
    },
    edges=(
        *chain(0, 1, 2),
        *chain(3, 4, 5),
        *chain(6, 7, 8),
        *chain(9, 10, 11),
        *chain(12, 13, 14),
        *chain(15, 16, 17),
    ),
    names=(
        *("right brow outer end", "right brow middle", "right brow inner end"),
        *("left brow inner end", "left brow middle", "left brow outer end"),
        *("right eye outer corner", "right eye middle", "right eye inner corner"),
        *("left eye inner corner", "left eye middle", "left eye outer corner"),
        *("right nostril", "nose tip", "left nostril"),
        *("mouth right corner", "mouth middle", "mouth left corner", "chin"),
    ),
)
"""AFLW's 21 points without the two ears (Köstinger et al., 2011), in their order."""

FACE5 = Markup(
    name="face5",
    landmarks=5,
    flip=(1, 0, 2, 4, 3),
    eyes=((0,), (1,)),
    groups={"nose": (2,), "eyes": (0, 1), "mouth": (3, 4)},
    edges=((0, 1), (0, 2), (1, 2), (2, 3), (2, 4), (3, 4)),
    names=("right eye", "left eye", "nose tip", "mouth right corner", "mouth left corner"),
)
"""Eyes, tip of the nose and corners of the mouth, as detectors give them (MTCNN, YuNet)."""

XM2VTS68 = Markup(
    name="xm2vts68",
    landmarks=68,
    flip=involution(
        68,
        (
            *((i, 14 - i) for i in range(7)),
            *((i, i + 6) for i in range(15, 21)),
            *((i, i + 5) for i in range(27, 32)),
            *((i, 82 - i) for i in range(37, 41)),
            *((46, 47), (48, 54), (49, 53), (50, 52), (55, 59), (56, 58)),
            *((60, 62), (63, 65)),
        ),
    ),
    eye_corners=(27, 32),
    eyes=((27, 28, 29, 30), (32, 33, 34, 35)),
    groups={
        "jaw": tuple(range(15)),
        "brows": tuple(range(15, 27)),
        "nose": (*range(37, 48), 67),
        "eyes": tuple(range(27, 37)),
        "mouth": tuple(range(48, 67)),
    },
    edges=(
        *chain(*range(15)),
        *chain(*range(15, 21), closed=True),
        *chain(*range(21, 27), closed=True),
        *chain(*range(27, 31), closed=True),
        *chain(*range(32, 36), closed=True),
        *chain(*range(37, 46)),
        *chain(*range(48, 60), closed=True),
        *chain(48, 60, 61, 62, 54, 63, 64, 65, closed=True),
    ),
    names=(
        *counted("jaw", 15),
        *counted("left brow", 6),
        *counted("right brow", 6),
        *(f"right eye {name}" for name in ("outer corner", "upper", "inner corner", "lower")),
        "right pupil",
        *(f"left eye {name}" for name in ("outer corner", "upper", "inner corner", "lower")),
        "left pupil",
        *counted("nose outline", 9),
        *("right nostril", "left nostril"),
        *("mouth right corner", *counted("upper lip", 5), "mouth left corner"),
        *counted("lower lip", 5),
        *counted("inner lower lip", 3),
        *counted("inner upper lip", 3),
        *("mouth middle", "nose tip"),
    ),
)
"""The 68 points that XM2VTS and FG-NET share (Messer et al., 1999), not those of iBUG."""

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
    names=("nose", *(f"{side} {name}" for name in _PAIRS for side in ("left", "right"))),
)
"""The 17 keypoints of a person (Lin et al., Microsoft COCO, 2014). Its normalising
pair is the torso, from the left shoulder to the right hip (Sapp & Taskar, MODEC, 2013)."""

MARKUPS: Mapping[str, Markup] = {
    markup.name: markup for markup in (FACE68, FACE98, FACE29, FACE19, FACE5, XM2VTS68, BODY17)
}
"""The mark-ups of the package, by name; of two with as many landmarks the usual one is first."""
