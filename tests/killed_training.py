"""A training that kills itself at a named moment, as a process of its own.

    python killed_training.py RECIPE.json OUT MOMENT COUNT

SIGKILL comes when MOMENT (a function of the training loop, before or after it) is reached for the
COUNT-th time; nothing can be tidied up then.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from kdn.recipe import Recipe
from kdn.train import loop

MOMENTS = ("before _one_step", "before save_model", "before write_state", "after write_state")


def dying(function: Callable[..., Any], *, before: bool, count: int) -> Callable[..., Any]:
    """Return a function that does the same, and kills the process at its `count`-th call."""
    calls = 0

    def stand_in(*args: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if before and calls == count:
            os.kill(os.getpid(), signal.SIGKILL)
        result = function(*args, **named)
        if calls == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return stand_in


def main(recipe: str, out: str, moment: str, count: str) -> None:
    """Train until the moment comes."""
    torch.set_num_threads(1)
    when, name = moment.split()
    stand_in = dying(getattr(loop, name), before=when == "before", count=int(count))
    with mock.patch.object(loop, name, stand_in):
        loop.train(Recipe.of_dict(json.loads(Path(recipe).read_text())), Path(out), quiet=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
