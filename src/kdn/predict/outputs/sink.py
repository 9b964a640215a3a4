"""Where text goes: a file, standard output, or what a test puts in its place."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

__all__ = ["TextSink"]


@runtime_checkable
class TextSink(Protocol):
    """What is needed of a text file to write to it."""

    def write(self, text: str, /) -> Any:
        """Take text."""
        ...

    def flush(self) -> Any:
        """Pass on what was written."""
        ...
