"""What a mark-up is: how many landmarks, what they are called and how they mirror."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Markup", "chain", "counted", "involution"]


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
        pair: Two landmarks whose distance says how large the object is, where it is no face: the
            normaliser `pair`.
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
    pair: tuple[int, int] | None = None
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
            *(self.pair or ()),
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


def involution(landmarks: int, pairs: tuple[tuple[int, int], ...]) -> tuple[int, ...]:
    """Return the permutation that swaps each pair and leaves the rest.

    Example:
        >>> involution(4, ((0, 3),))
        (3, 1, 2, 0)
    """
    flip = list(range(landmarks))
    for i, j in pairs:
        flip[i], flip[j] = j, i
    return tuple(flip)


def chain(*indices: int, closed: bool = False) -> tuple[tuple[int, int], ...]:
    """Return the edges of a line through the landmarks in order."""
    ends = (*indices[1:], indices[0]) if closed else indices[1:]
    return tuple(zip(indices, ends, strict=False))


def counted(name: str, count: int) -> tuple[str, ...]:
    """Return the name with 1, 2, … behind it."""
    return tuple(f"{name} {i}" for i in range(1, count + 1))
