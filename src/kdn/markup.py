"""Mark-ups: what the landmarks of a data set are called and how they mirror."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["FACE68", "Markup", "markup_named"]


@dataclass(frozen=True)
class Markup:
    """A numbered set of landmarks, 0-based.

    Args:
        name: Short name, stored with predictions and checkpoints.
        landmarks: Number of landmarks.
        flip: Permutation by mirroring: landmark `i` of the mirrored picture is landmark
            `flip[i]` of the original one. It is its own inverse.
        eye_corners: The two outer eye corners, whose distance is the inter-ocular normaliser.
        eyes: The landmarks of the two eyes, whose centroids' distance is the inter-pupil
            normaliser.
        groups: Named groups of landmarks, for tables.
        edges: Pairs of landmarks to draw a line between.
        names: Short name of each landmark, for figures and tables, or empty. Left and right are
            the person's own, not the picture's.

    Raises:
        ValueError: If the permutation is not one, or not its own inverse, if an index is out of
            range, or if there are names but not a different one for each landmark.
    """

    name: str
    landmarks: int
    flip: tuple[int, ...]
    eye_corners: tuple[int, int] | None = None
    eyes: tuple[tuple[int, ...], tuple[int, ...]] | None = None
    groups: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    edges: tuple[tuple[int, int], ...] = ()
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if sorted(self.flip) != list(range(self.landmarks)):
            raise ValueError(f"flip must be a permutation of 0…{self.landmarks - 1}")
        if any(self.flip[j] != i for i, j in enumerate(self.flip)):
            raise ValueError("flip must be its own inverse")
        used = [
            *(self.eye_corners or ()),
            *(i for eye in self.eyes or () for i in eye),
            *(i for group in self.groups.values() for i in group),
            *(i for edge in self.edges for i in edge),
        ]
        if any(not 0 <= i < self.landmarks for i in used):
            raise ValueError(f"landmark indices must be 0 to {self.landmarks - 1}")
        if self.names and not len(set(self.names)) == len(self.names) == self.landmarks:
            raise ValueError(
                f"names must be {self.landmarks} different ones or none, got {len(self.names)}, "
                f"of which {len(set(self.names))} differ"
            )


def _involution(landmarks: int, pairs: tuple[tuple[int, int], ...]) -> tuple[int, ...]:
    """Return the permutation that swaps each pair and leaves the rest."""
    flip = list(range(landmarks))
    for i, j in pairs:
        flip[i], flip[j] = j, i
    return tuple(flip)


def _chain(*indices: int, closed: bool = False) -> tuple[tuple[int, int], ...]:
    """Return the edges of a line through the landmarks in order."""
    ends = (*indices[1:], indices[0]) if closed else indices[1:]
    return tuple(zip(indices, ends, strict=False))


def _counted(name: str, count: int) -> tuple[str, ...]:
    """Return the name with 1, 2, … behind it."""
    return tuple(f"{name} {i}" for i in range(1, count + 1))


_EYE = ("outer corner", "upper outer", "upper inner", "inner corner", "lower inner", "lower outer")

FACE68 = Markup(
    name="face68",
    landmarks=68,
    flip=_involution(
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
        *_chain(*range(17)),
        *_chain(*range(17, 22)),
        *_chain(*range(22, 27)),
        *_chain(*range(27, 31)),
        *_chain(*range(31, 36)),
        *_chain(*range(36, 42), closed=True),
        *_chain(*range(42, 48), closed=True),
        *_chain(*range(48, 60), closed=True),
        *_chain(*range(60, 68), closed=True),
    ),
    names=(
        *_counted("jaw", 17),
        *_counted("right brow", 5),
        *_counted("left brow", 5),
        *_counted("nose bridge", 3),
        "nose tip",
        *_counted("nostrils", 5),
        *(f"right eye {part}" for part in _EYE),
        *(f"left eye {_EYE[part]}" for part in (3, 2, 1, 0, 5, 4)),
        *("mouth right corner", *_counted("upper lip", 5), "mouth left corner"),
        *_counted("lower lip", 5),
        *("inner right corner", *_counted("inner upper lip", 3), "inner left corner"),
        *_counted("inner lower lip", 3),
    ),
)
"""The 68 points of the iBUG mark-up (Sagonas et al., 300 Faces in-the-Wild, 2013).

The person's right side comes first: landmark 0 is where the jaw begins beside the right ear, which
is on the left of the picture. Numbers in names follow the mark-up's order.
"""

_NAMED = {markup.name: markup for markup in (FACE68,)}


def markup_named(name: str) -> Markup:
    """Return the mark-up of that name.

    Raises:
        ValueError: If there is none; the message lists those there are.
    """
    if name not in _NAMED:
        raise ValueError(f"no mark-up is named {name!r}; there are {', '.join(sorted(_NAMED))}")
    return _NAMED[name]
