"""What a command of the command line is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Command"]


@dataclass(frozen=True)
class Command:
    """One command: what it runs, and how its flags differ from the arguments of that.

    Args:
        function: Returns the exit code; its docstring holds the help texts.
        summary: One line for the list of commands, in lower case.
        apart: What jsonargparse cannot make out of the signature, by flag: values without a flag,
            several values after one flag, a flag without a value, a flag that is named otherwise
            than its argument.
    """

    function: Callable[..., int]
    summary: str
    apart: Mapping[str, dict[str, Any]] = field(default_factory=dict)
