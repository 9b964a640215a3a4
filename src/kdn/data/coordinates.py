"""Coordinates as users' files write them."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["as_coordinate", "shown"]


def as_coordinate(value: Any) -> float:
    """Return a coordinate: a number from JSON, or text from a CSV file that is one.

    Raises:
        ValueError: If it is no number, or not a finite one; the message shows it.

    Example:
        >>> as_coordinate("12.5"), as_coordinate(3)
        (12.5, 3.0)
    """
    try:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError
        if isinstance(value, str) and "_" in value:  # which Python's own numbers may have
            raise ValueError
        number = float(value)
    except (OverflowError, ValueError):
        raise ValueError(f"coordinates must be numbers, got {shown(value)}") from None
    if not math.isfinite(number):
        raise ValueError(f"coordinates must be finite, got {value}")
    return number


def shown(value: Any) -> str:
    """Return a value as an error shows it: the first forty characters."""
    text = repr(value)
    return text if len(text) <= 40 else text[:40] + "…"
