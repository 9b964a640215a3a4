"""Landmarks of all images in one row, and how often each occurs in a resample."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int

__all__ = ["blocks", "tie_ends"]

_BLOCK = 1 << 18  # weights held at a time, 2 MiB


def blocks(
    counts: Float[np.ndarray, "replicates images"], image: Int[np.ndarray, " N"]
) -> Iterator[tuple[slice, Float[np.ndarray, "N some"]]]:
    """Yield a few replicates at a time with the weight of every landmark in them.

    Replicates stand side by side in memory, so that gathering and summing along landmarks is fast.

    Args:
        counts: How often each image occurs in each replicate.
        image: The image of each landmark, in the order that the weights are wanted in.
    """
    some = max(4, _BLOCK // max(1, len(image)))
    for start in range(0, len(counts), some):
        rows = slice(start, min(start + some, len(counts)))
        yield rows, np.ascontiguousarray(counts[rows].T).take(image, axis=0)


def tie_ends(ordered: Float[np.ndarray, " N"]) -> Int[np.ndarray, " groups"]:
    """Return the index of the last of each run of equal values in a sorted array.

    Example:
        >>> tie_ends(np.array([1.0, 2.0, 2.0, 5.0])).tolist()
        [0, 2, 3]
    """
    return np.flatnonzero(np.append(ordered[1:] != ordered[:-1], len(ordered) > 0))
