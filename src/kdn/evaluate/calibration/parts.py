"""The parts of all landmarks that a diagnosis is made for."""

from __future__ import annotations

import itertools

import numpy as np
from jaxtyping import Bool

from kdn.data.markup import Markup
from kdn.predictions import Predictions

__all__ = ["attribute_of", "parts_by_attribute", "parts_by_landmark"]

_MOST = 20
"""Different values of an attribute that may each be a part."""


def parts_by_landmark(
    count: int, markup: Markup | None
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return which landmarks are in each group of the mark-up, and in each part of one landmark."""
    groups = {
        name: np.isin(np.arange(count), members)
        for name, members in (markup.groups if markup else {}).items()
    }
    names = markup.names if markup is not None else ()
    single = {f"{i} {names[i]}" if names else str(i): np.arange(count) == i for i in range(count)}
    return groups, single


def attribute_of(predictions: Predictions, by: str) -> np.ndarray:
    """Return a column of the predictions that may tell landmarks apart, `(n,)` or `(n, L)`.

    Raises:
        ValueError: If there is no such column, or it has several numbers a landmark.
    """
    value = getattr(predictions, by, None)
    if by == "metadata" or value is None or not isinstance(value, np.ndarray):
        raise ValueError(f"by must name a column of the predictions, or come with values: {by!r}")
    if value.shape != (len(predictions), predictions.count):
        raise ValueError(f"by must name a column of one value a landmark, got {by!r}")
    return value


def parts_by_attribute(
    by: str, values: np.ndarray, valid: Bool[np.ndarray, "n L"]
) -> dict[str, Bool[np.ndarray, "n L"]]:
    """Return which landmarks have each value of an attribute, numbers cut into quartiles.

    Args:
        by: Name of the attribute.
        values: `(n,)` or `(n, L)` of booleans, strings or numbers; "" and NaN are in no part.
        valid: Landmarks that count; quartiles are those of their numbers (of samples, where an
            attribute is of samples).

    Raises:
        ValueError: If the shape does not fit, or there are more than 20 different strings.
    """
    n, count = valid.shape
    if values.shape not in ((n,), valid.shape):
        raise ValueError(
            f"values of {by!r} must have shape ({n},) or {valid.shape}, got {values.shape}"
        )
    counted = np.asarray(valid.any(axis=1)) if values.ndim == 1 else valid
    if values.dtype.kind in "iuf":
        members = _quartiles(values.astype(np.float64), counted)
    else:
        different = sorted(set(values[counted].tolist()) - {""})
        if len(different) > _MOST:
            raise ValueError(
                f"{by!r} must have at most {_MOST} different values, got {len(different)}"
            )
        said = {value: str(value).lower() if values.dtype == bool else value for value in different}
        members = {said[value]: values == value for value in different}
    return {
        f"{by} {name}": np.broadcast_to(mask[:, None] if mask.ndim == 1 else mask, (n, count))
        for name, mask in members.items()
    }


def _quartiles(values: np.ndarray, counted: np.ndarray) -> dict[str, np.ndarray]:
    """Return which numbers lie in each quartile; the value itself where there are at most four."""
    known = values[counted & ~np.isnan(values)]
    different = np.unique(known)
    if len(different) <= 4:
        return {f"{value:g}": values == value for value in different}
    edges = np.unique(np.quantile(known, [0.0, 0.25, 0.5, 0.75, 1.0]))
    members = {}
    for low, high in itertools.pairwise(edges):
        above = values >= low if low == edges[0] else values > low
        members[f"{low:.4g} to {high:.4g}"] = above & (values <= high)
    return members
