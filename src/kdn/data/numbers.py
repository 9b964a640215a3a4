"""Numbers as users write them: coordinates, lengths and probabilities."""

from __future__ import annotations

import math
import re
from typing import Any

__all__ = ["as_coordinate", "length_of", "probability_of", "shown"]

_NUMBER = re.compile(r"\s*(\d+\.?\d*|\.\d+)\s*(%|px)?\s*")


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


def length_of(text: float | str, size: float, *, name: str) -> float:
    """Return a length in pixels, of which text with a percent sign is a share of a size.

    Args:
        text: Image px, or text like `5%`.
        size: Of what the share is, image px.
        name: What an error calls the length.

    Raises:
        ValueError: If it is neither, or not above 0.

    Example:
        >>> length_of("5%", 200.0, name="tau"), length_of(3, 200.0, name="tau")
        (10.0, 3.0)
    """
    match = _NUMBER.fullmatch(str(text))
    length = float(match[1]) if match else 0.0
    if not match or not 0.0 < length < math.inf:
        raise ValueError(f"{name} must be a length in pixels or like 5%, above 0, got {text!r}")
    return length * size / 100.0 if match[2] == "%" else length


def probability_of(text: str, *, name: str) -> float:
    """Return a probability: 0 to 1, or 0% to 100%.

    Args:
        text: As it was written.
        name: What an error calls it.

    Raises:
        ValueError: If it is neither.

    Example:
        >>> probability_of("5%", name="abstain"), probability_of("0.5", name="abstain")
        (0.05, 0.5)
    """
    match = _NUMBER.fullmatch(text)
    share = float(match[1]) / (100.0 if match[2] == "%" else 1.0) if match else math.nan
    if not match or match[2] == "px" or not share <= 1.0:
        raise ValueError(f"{name} must be a probability, 0 to 1 or 0% to 100%, got {text}")
    return share


def shown(value: Any) -> str:
    """Return a value as an error shows it: the first forty characters."""
    text = repr(value)
    return text if len(text) <= 40 else text[:40] + "…"
