"""From signatures and docstrings to flags: what each annotation accepts, and whose a flag is."""

import re
import subprocess
import sys
from argparse import ArgumentError
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from kdn.cli import COMMANDS, main, parse
from kdn.cli.command import arguments_of, flags_of, parser_of


@dataclass(frozen=True)
class Shared:
    """What two commands have in common.

    Args:
        device: Where it runs.
        sizes: Of crops.
    """

    device: str = "auto"
    sizes: tuple[float, ...] = (1.0,)


@dataclass(frozen=True)
class Inner:
    """A part of the settings.

    Args:
        rate: How fast.
    """

    rate: float = 0.5


@dataclass(frozen=True)
class Settings:
    """What a file may say.

    Args:
        inner: A part of it.
    """

    inner: Inner = field(default_factory=Inner)


def sort(
    inputs: list[Path],
    *,
    order: Literal["up", "down"] = "up",
    at_most: int | None = None,
    json_: Path | None = None,
    quiet: bool = False,
    shared: Shared,
    names: list[str] | None = None,
) -> int:
    """Sort files by what is in them.

    Args:
        inputs: What is sorted, and
            in what order.
        order: Which way.
        at_most: How many.
        json_: Where to.
        quiet: Say nothing.
        shared: What sort has in common.
        names: More of them.
    """
    return 0


def learn(*, out: str, settings: Settings) -> int:
    """Learn.

    Args:
        out: Where to.
        settings: A file.
    """
    return 0


def parsed(function, *words):
    return arguments_of(function, parser_of(function, function.__name__), words)


def test_what_is_left_out_has_its_default():
    assert parsed(sort, "a", "b/c") == {
        "inputs": [Path("a"), Path("b/c")], "order": "up", "at_most": None, "json_": None,
        "quiet": False, "shared": Shared(), "names": None,
    }  # fmt: skip


def test_every_kind_of_flag():
    words = ["a", "--order=down", "--at-most", "3", "--json", "x.json", "--quiet", "--names", "p"]
    found = parsed(sort, *words, "q", "--sizes", "--device", "cpu")
    assert found == {
        "inputs": [Path("a")], "order": "down", "at_most": 3, "json_": Path("x.json"),
        "quiet": True, "shared": Shared("cpu", ()), "names": ["p", "q"],
    }  # fmt: skip
    assert parsed(sort, "a", "--sizes", "0.5", "2")["shared"].sizes == (0.5, 2.0)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["a", "--order", "left"],
        ["a", "--at_most", "3"],
        ["a", "--at-most", "three"],
        ["a", "--names"],
        ["a", "--quiet=yes"],
        ["a", "--quie"],
        ["a", "--shared", "x"],
    ],
)
def test_what_is_refused(words):
    with pytest.raises(ArgumentError):
        parsed(sort, *words)


def test_settings_come_from_a_file_and_flags_go_over_it(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text("inner: {rate: 0.25}\n")
    assert parsed(learn, "--out", "o")["settings"] == Settings()
    file = ["--out", "o", "--settings", str(path)]
    assert parsed(learn, *file)["settings"] == Settings(Inner(0.25))
    over = parsed(learn, *file, "--inner.rate", "2")
    assert over == {"out": "o", "settings": Settings(Inner(2.0))}
    with pytest.raises(ArgumentError):
        parsed(learn, "--inner.rate", "2")


def test_the_help_is_the_docstring():
    text = " ".join(parser_of(sort, "sort").format_help().split())
    for words in ("usage: kdn sort", "Sort files by what is in them.", "and in what order."):
        assert words in text
    assert "Where it runs. (default: auto)" in text
    assert "Of crops. (default: 1.0)" in text
    assert "How many. --" in text
    assert "{up,down}" in text
    assert flags_of(sort) == {
        "--order", "--at-most", "--json", "--quiet", "--device", "--sizes", "--names",
    }  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_every_flag_says_what_it_does(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "2000")
    with pytest.raises(SystemExit):
        parse([command, "--help"])
    text = capsys.readouterr().out
    flags = [entry for entry in re.split(r"\n  (?=-)", text) if entry.startswith("--")]
    texts = [re.split(r" \((?:default|required)|\n\n", flag)[0].rstrip() for flag in flags]
    assert [text for text in texts if not text.endswith(".")] == []
    innards = r"<\w|lambda|typing|Literal|Optional|Union|None\b|dict\[|tuple\[|\[\]|\(type:"
    assert re.findall(innards, text) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["predict", "x.png", "--maps", "3"], "--maps is only for --data"),
        (["predict", "--data", "x", "--draw", "points"], "--draw is not for --data"),
        (["predict", "--data=x", "--overlay=o"], "--overlay is not for --data"),
        (["predict", "x.png", "--colour", "red"], "unrecognized arguments: --colour"),
        (["convert"], "required: sources, --out"),
        (["calibrate", "--model", "face68"], "required: --out"),
        (["evaluate", "p.parquet", "--at-least", "much"], "--at-least must be a number, got much"),
        (
            ["train", "--out", "o", "--optimise.epochs", "x"],
            "--optimise.epochs must be a whole number",
        ),
        (["predict", "x", "--flip", "maybe"], "--flip must be true or false, got maybe"),
        (["train", "--out", "o", "--data.crop", "x"], "must be 'face', 'box', 'picture', got x"),
        (["paint"], "no command 'paint'; there are train, predict"),
        ([], "no command ''"),
    ],
)
def test_a_flag_of_another_task_is_refused_in_a_line(words, said, capsys):
    assert main(words) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 2


def test_help_needs_no_torch():
    code = "import sys, kdn.cli\ntry:\n kdn.cli.main(['--help'])\nexcept SystemExit: pass\n"
    code += "print({'torch', 'cv2', 'pyarrow', 'numpy'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *lines, heavy = done.stdout.splitlines()
    assert heavy == "set()"
    assert all(any(name in line for line in lines) for name in COMMANDS)
