"""From the signature and docstring of a function to the flags and help of a command.

The rules, so that nothing is said twice:

* arguments before the `*` stand without a flag, those after it are flags: `--first-pixel` for
  `first_pixel`, and `--json` for `json_`, which Python's own names forbid;
* the annotation says what is accepted: `Literal` the choices, `list` one or more values, `tuple`
  any number of them; a `bool` that is False by default takes no value;
* a dataclass stands for its fields, each of which is a flag: what several commands share is one
  dataclass; a dataclass of dataclasses, such as the recipe, may also come from a YAML file that the
  flag of its name says, with flags like `--optimise.epochs` over it;
* the docstring's first line and `Args:` are the help, which shows no type: the name in capitals and
  the default say what is meant.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from argparse import SUPPRESS, Action, ArgumentError
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import docstring_parser
from jsonargparse import ArgumentParser, DefaultHelpFormatter

__all__ = ["arguments_of", "flags_of", "parser_of"]

Function = Callable[..., int]

_NOUNS = {"float": "a number", "int": "a whole number", "bool": "true or false"}


class _Argument(NamedTuple):
    """One argument of a function, or field of a dataclass."""

    name: str
    kind: Any
    default: Any
    flag: bool
    help: str

    @property
    def key(self) -> str:
        """The name without the underscore that sets it apart from a name of Python's."""
        return self.name.strip("_")

    @property
    def word(self) -> str:
        """What stands for it on the command line."""
        return f"--{self.key.replace('_', '-')}" if self.flag else self.key


class _Help(DefaultHelpFormatter):
    """Help that shows no more of Python than a default, as one would write it."""

    def _get_help_string(self, action: Action) -> str:
        if not action.option_strings or "--help" in action.option_strings:
            return super()._get_help_string(action) if action.option_strings else action.help or ""
        text, default = action.help or "", action.default
        if action.required:
            return f"{text} (required)"
        if default is None or default is False or default in (SUPPRESS, (), [], {}):
            return text
        words = default if isinstance(default, (list, tuple)) else [default]
        shown = " ".join("true" if word is True else str(word) for word in words)
        return f"{text} (default: {shown})"


def parser_of(function: Function, name: str) -> ArgumentParser:
    """Return the parser of a function's arguments.

    Args:
        function: Its annotations and docstring say everything.
        name: What the user types for it.
    """
    text = docstring_parser.parse(function.__doc__ or "").short_description
    parser = ArgumentParser(
        prog=f"kdn {name}",
        description=text,
        exit_on_error=False,
        allow_abbrev=False,
        formatter_class=_Help,
    )
    for argument in _flattened(function):
        _add(parser, argument)
    return parser


def arguments_of(function: Function, parser: ArgumentParser, words: Sequence[str]) -> dict:
    """Return what a function is to be called with, from the words of the command line.

    Raises:
        ArgumentError: If they are not those of the function.
        SystemExit: After `--help`.
    """
    try:
        values = dict(parser.instantiate(parser.parse_args(list(words))))
    except ArgumentError as error:
        raise ArgumentError(None, _as_typed(str(error), function)) from error
    return {argument.name: _value(argument, values) for argument in _of_signature(function)}


def _as_typed(message: str, function: Function) -> str:
    """Return the parser's message with flags as they are typed, and without types of Python's."""
    typed: dict[str, str] = {argument.key: argument.word for argument in _flattened(function)}
    missing = re.fullmatch(r"(the following arguments are required: )(.*)", message)
    if missing:
        return missing[1] + ", ".join(typed[key] for key in missing[2].split(", "))
    wrong = re.match(r'Parser key "([\w.]+)":', message)
    kinds: list[str] = re.findall(
        r"Expected an? (?:<class '|typing.Literal\[)(.*?)['\]][.>\s]", message
    )
    value = re.search(r"(?:Got|Given) value: (.*)", message)
    if wrong is None or value is None:
        return message
    wanted = " or ".join(_NOUNS.get(kind, kind) for kind in kinds if kind != "NoneType")
    return f"{typed.get(wrong[1], f'--{wrong[1]}')} must be {wanted}, got {value[1]}"


def flags_of(function: Function) -> set[str]:
    """Return the flags of a function, those of a recipe's fields not among them."""
    return {argument.word for argument in _flattened(function) if argument.flag}


def _of_signature(function: Callable[..., Any]) -> Iterator[_Argument]:
    """Yield the arguments of a function or dataclass."""
    hints = get_type_hints(function.__init__ if inspect.isclass(function) else function)
    docs = docstring_parser.parse(function.__doc__ or "")
    texts = {entry.arg_name: " ".join((entry.description or "").split()) for entry in docs.params}
    for name, parameter in inspect.signature(function).parameters.items():
        flag = parameter.kind is parameter.KEYWORD_ONLY or inspect.isclass(function)
        yield _Argument(name, hints[name], parameter.default, flag, texts.get(name, ""))


def _flattened(function: Callable[..., Any]) -> Iterator[_Argument]:
    """Yield arguments, and fields in place of a dataclass that is not a file's."""
    for argument in _of_signature(function):
        if dataclasses.is_dataclass(argument.kind) and not _is_file(argument.kind):
            yield from _flattened(argument.kind)  # type: ignore[arg-type]
        else:
            yield argument


def _is_file(kind: Any) -> bool:
    """Return whether a dataclass has dataclasses for fields, and comes from a YAML file."""
    return dataclasses.is_dataclass(kind) and any(
        dataclasses.is_dataclass(hint) for hint in get_type_hints(kind).values()
    )


def _add(parser: ArgumentParser, argument: _Argument) -> None:
    """Add an argument to a parser."""
    required = argument.default is inspect.Parameter.empty
    if _is_file(argument.kind):
        parser.add_argument(argument.word, action="config", help=argument.help)
        parser.add_class_arguments(argument.kind)
        return
    options: dict[str, Any] = {"help": argument.help}
    kinds = (argument.kind, *get_args(argument.kind))
    listed = next((kind for kind in kinds if get_origin(kind) in (list, tuple)), None)
    choices = next((get_args(kind) for kind in kinds if get_origin(kind) is Literal), None)
    if argument.kind is bool and argument.default is False:
        options["action"] = "store_true"
    elif listed is not None:
        none = get_origin(listed) is tuple or not (argument.flag or required)
        options |= {"type": get_args(listed)[0], "nargs": "*" if none else "+"}
    elif choices is not None:
        options |= {"type": type(choices[0]), "choices": list(choices)}
    else:
        options["type"] = argument.kind
    if argument.flag:
        options |= {"dest": argument.key, "required": required}
    if not required and options.get("action") is None:
        value = argument.default
        options["default"] = list(value) if isinstance(value, tuple) else value
    parser.add_argument(argument.word, **options)


def _value(argument: _Argument, values: Mapping[str, Any]) -> Any:
    """Return one argument from parsed values."""
    build, has_fields = argument.kind, dataclasses.is_dataclass(argument.kind)
    if has_fields and _is_file(build):
        return build(**{entry.name: values[entry.name] for entry in _of_signature(build)})
    if has_fields:
        return build(**{entry.name: _value(entry, values) for entry in _of_signature(build)})
    value = values[argument.key]
    kinds = (argument.kind, *get_args(argument.kind))
    several = any(get_origin(kind) is tuple for kind in kinds)
    return tuple(value) if several and value is not None else value
