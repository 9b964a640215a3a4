"""Selections of samples: several sources as one, and splits that keep pictures whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import overload

import numpy as np

from kdn.data.sample import Sample

__all__ = ["Selection", "join_samples", "picture_names", "split_by_picture"]


class Selection(Sequence[Sample]):
    """Samples picked from one or more sequences, fetched when they are asked for.

    Args:
        items: For each sample its sequence and its index there.
        pictures: The picture of each.
    """

    def __init__(
        self, items: Sequence[tuple[Sequence[Sample], int]], pictures: Sequence[str]
    ) -> None:
        self._items = tuple(items)
        self.pictures = tuple(pictures)

    def __len__(self) -> int:
        return len(self._items)

    def from_files(self) -> Iterator[Sample]:
        """Yield the samples whose pictures lie in files, without drawing any of the others."""
        for samples, index in self._items:
            if isinstance(samples, list) and isinstance(samples[index].image, Path):
                yield samples[index]

    @overload
    def __getitem__(self, index: int) -> Sample: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Sample]: ...

    def __getitem__(self, index):
        if isinstance(index, slice):
            return Selection(self._items[index], self.pictures[index])
        samples, position = self._items[index]
        return samples[position]


def picture_names(samples: Sequence[Sample]) -> tuple[str, ...]:
    """Return the picture of each sample; a sample that names none is its own picture.

    A sequence that costs something to go through says so itself, in an attribute `pictures`.
    """
    known = getattr(samples, "pictures", None)
    if known is not None:
        return tuple(known)
    return tuple(sample.picture or sample.id for sample in samples)


def join_samples(sources: Sequence[Sequence[Sample]]) -> Selection:
    """Return the samples of several sequences, one after the other."""
    items = [(samples, index) for samples in sources for index in range(len(samples))]
    return Selection(items, [name for samples in sources for name in picture_names(samples)])


def split_by_picture(
    samples: Sequence[Sample], fraction: float, *, seed: int
) -> tuple[Selection, Selection]:
    """Split samples into training and validation so that no picture is on both sides.

    `round(fraction · pictures)` pictures, and at least one if `fraction` is positive, are held out.
    Which ones depends on the set of their names and on `seed`, not on the order of the samples.

    Args:
        samples: What is split.
        fraction: Share of the pictures in the second part, in [0, 1).
        seed: Seed of the choice.

    Returns:
        The training and the validation samples, each in the order of `samples`.

    Raises:
        ValueError: If `fraction` is not in [0, 1), or would leave nothing to train on.
    """
    if not 0 <= fraction < 1:
        raise ValueError(f"fraction must be in [0, 1), got {fraction}")
    names = picture_names(samples)
    pictures = sorted(set(names))
    held_out = max(round(fraction * len(pictures)), 1 if fraction > 0 else 0)
    if fraction > 0 and held_out >= len(pictures):
        raise ValueError(f"fraction {fraction} of {len(pictures)} pictures leaves none to train on")
    order = np.random.default_rng(seed).permutation(len(pictures))
    chosen = {pictures[i] for i in order[:held_out]}
    sides = [
        [index for index, name in enumerate(names) if (name in chosen) == wanted]
        for wanted in (False, True)
    ]
    train, valid = (
        Selection([(samples, i) for i in side], [names[i] for i in side]) for side in sides
    )
    return train, valid
