"""The parser of all commands, and what their errors look like."""

from __future__ import annotations

import importlib.metadata
import os
import sys
from argparse import ArgumentError
from collections.abc import Mapping, Sequence

from jsonargparse import ArgumentParser

from kdn.cli.calibrate import CALIBRATE
from kdn.cli.check_data import CHECK_DATA
from kdn.cli.command import Command
from kdn.cli.convert import CONVERT
from kdn.cli.evaluate import EVALUATE
from kdn.cli.export import EXPORT
from kdn.cli.figures import FIGURES
from kdn.cli.predict import PREDICT
from kdn.cli.study import STUDY
from kdn.cli.train import TRAIN

__all__ = ["build_parser", "main"]

_COMMANDS: Mapping[str, Command] = {
    "train": TRAIN,
    "predict": PREDICT,
    "calibrate": CALIBRATE,
    "evaluate": EVALUATE,
    "figures": FIGURES,
    "study": STUDY,
    "export": EXPORT,
    "convert": CONVERT,
    "check-data": CHECK_DATA,
}


def build_parser() -> ArgumentParser:
    """Return the parser of all commands."""
    parser = ArgumentParser(
        prog="kdn",
        description="A probability density for every landmark.",
        version=importlib.metadata.version("kdn"),
        exit_on_error=False,
        allow_abbrev=False,
    )
    commands = parser.add_subcommands(dest="command", required=True)
    for name, command in _COMMANDS.items():
        description = f"{command.summary[0].upper()}{command.summary[1:]}."
        sub = ArgumentParser(description=description, exit_on_error=False, allow_abbrev=False)
        apart: set[str | int] = set()
        for flag, options in command.apart.items():
            sub.add_argument(flag, **options)
            apart.add(options.get("dest", flag.lstrip("-")))
        sub.add_function_arguments(command.function, skip=apart - {"recipe"}, fail_untyped=True)
        commands.add_subcommand(name, sub, help=command.summary)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code: 0, 1 if something was left out, 2 on an error."""
    parser = build_parser()
    try:
        parsed = parser.parse_args(None if arguments is None else list(arguments))
    except ArgumentError as error:
        print(f"kdn: {error}\n`kdn COMMAND --help` lists what there is.", file=sys.stderr)
        return 2
    name = parsed["command"]
    try:
        values = dict(parser.instantiate(parsed)[name])
        values.pop("recipe", None)
        code = _COMMANDS[name].function(**values)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # who read the output has gone, as `head` does: nothing left to say
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (ArithmeticError, OSError, ValueError) as error:
        print(f"kdn {name}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"kdn {name}: interrupted", file=sys.stderr)
        return 130
