"""The command line: each command is a function, whose signature and docstring are flags and help.

A module is imported when its command is run.
"""

from __future__ import annotations

import importlib.metadata
import os
import sys
from argparse import ArgumentError
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kdn.cli.command import arguments_of, flags_of, parser_of

__all__ = ["COMMANDS", "main", "parse"]

COMMANDS: Mapping[str, str] = {
    "train": "train a model on labelled pictures",
    "predict": "find landmarks or scalars with their densities in pictures, films, labelled data",
    "calibrate": "fit a model's densities to labels that it was not trained on",
    "evaluate": "score predictions against their labels",
    "figures": "draw error curves, reliability and heatmaps",
    "study": "reproduce the paper's tables and figures",
    "export": "write a model for others to use, at half the size if wanted",
    "convert": "write labelled data in another format",
    "check-data": "look for what is wrong with labelled data",
}
"""Every command: `kdn.cli.predict` has the function `predict`, and perhaps more tasks: a function
`predict_data` is what is run where the flag `--data` is given."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code: 0, 1 if something was left out, 2 on an error."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    name = words[0] if words else ""
    try:
        function, values = parse(words)
        code = function(**values)
        sys.stdout.flush()
        return code
    except ArgumentError as error:
        print(f"kdn: {error}\n`kdn COMMAND --help` lists what there is.", file=sys.stderr)
        return 2
    except BrokenPipeError:  # who read the output has gone, as `head` does: nothing left to say
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (ArithmeticError, OSError, ValueError) as error:
        print(f"kdn {name}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"kdn {name}: interrupted", file=sys.stderr)
        return 130


def parse(words: Sequence[str]) -> tuple[Callable[..., int], dict[str, Any]]:
    """Return the function that the words of the command line name, and its arguments.

    Raises:
        ArgumentError: If there is no such command, or a flag is not its own.
        SystemExit: After `--help` or `--version`.
    """
    name, *rest = words or [""]
    if name in ("-h", "--help", "--version"):
        print(importlib.metadata.version("kdn") if name == "--version" else _overview())
        raise SystemExit(0)
    if name not in COMMANDS:
        raise ArgumentError(None, f"no command {name!r}; there are {', '.join(COMMANDS)}")
    tasks = _tasks(name)
    flags = [word.split("=")[0] for word in rest if word.startswith("--")]
    asked = next((flag for flag in tasks if flag in flags), "")
    if not asked and {"-h", "--help"} & {*rest}:
        print("\n".join(parser_of(task, name).format_help() for task in tasks.values()))
        raise SystemExit(0)
    for other, task in tasks.items():
        foreign = [f for f in flags if f in flags_of(task) - flags_of(tasks[asked])]
        if foreign:
            reason = f"is only for {other}" if other else f"is not for {asked}"
            raise ArgumentError(None, f"{foreign[0]} {reason}")
    return tasks[asked], arguments_of(tasks[asked], parser_of(tasks[asked], name), rest)


def _tasks(command: str) -> dict[str, Callable[..., int]]:
    """Return the functions of a command by the flag that asks for each; the first for none."""
    name = command.replace("-", "_")
    module = importlib.import_module(f"kdn.cli.{name}")
    tasks = {"": getattr(module, name)}
    for key, value in vars(module).items():
        if key.startswith(f"{name}_") and getattr(value, "__module__", "") == module.__name__:
            tasks[f"--{key.removeprefix(f'{name}_').replace('_', '-')}"] = value
    return tasks


def _overview() -> str:
    """Return the list of commands."""
    lines = [f"  {name:<12}{text}" for name, text in COMMANDS.items()]
    first = "A calibrated probability density for every landmark and scalar."
    return "\n".join(
        ["usage: kdn COMMAND ...", "", first, "", *lines, "", "kdn COMMAND --help says more."]
    )
