"""What the arguments of a command name: pictures, videos and cameras."""

from __future__ import annotations

import glob
import io
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from kdn.data.images import PICTURE_SUFFIXES

__all__ = ["VIDEO_SUFFIXES", "Input", "TextSource", "expand_inputs"]

VIDEO_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg"),
    *(".wmv", ".flv", ".mts", ".m2ts", ".3gp", ".ogv"),
)
"""Endings, in small letters, of files that are videos; any other file is taken for a picture."""

_CAMERA = re.compile(r"(?:camera:)?(\d+)")
_PATTERN = re.compile(r"[*?\[]")


@runtime_checkable
class TextSource(Protocol):
    """What is needed of a text file to read it."""

    def read(self) -> str:
        """Return all that is left."""
        ...


@dataclass(frozen=True)
class Input:
    """One thing to look for faces in.

    Args:
        kind: `missing` is what was named and is not there.
        name: The file as it was named or found, or `camera:N`.
        camera: Number of the camera; None for files.
        reason: Why it is missing; empty for all others.
    """

    kind: Literal["image", "video", "camera", "missing"]
    name: str
    camera: int | None = None
    reason: str = ""


def expand_inputs(arguments: Sequence[str], *, stdin: TextSource | None) -> list[Input]:
    """Return what arguments name, in their order, each file once.

    * a file is a video if its ending is one of `VIDEO_SUFFIXES`, else a picture;
    * a folder stands for the pictures in it, sorted by name, but not for its videos, its
      sub-folders, nor for what begins with a point;
    * a pattern (`*`, `?`, `[…]`; `**` for any folders) that is no file stands for the pictures and
      videos that it matches, sorted;
    * `-` stands for the files and folders that standard input lists, one a line, or between zero
      bytes as `find -print0` writes them;
    * a number that is no file, and `camera:N` whether or not, stand for a camera.

    What is not there does not stop the rest: it is returned as `missing`, with the reason.

    Args:
        arguments: As they stand on the command line.
        stdin: What `-` reads; None where it has no meaning.

    Raises:
        ValueError: If nothing at all is found; the message says why for each argument.
    """
    by_key: dict[str, Input] = {}
    for entry in _all(arguments, stdin):
        key = entry.name if entry.kind == "camera" else os.path.abspath(entry.name)
        # A file named `camera:0` and the camera have different keys: this one is absolute.
        by_key.setdefault(key, entry)
    entries = list(by_key.values())
    if all(entry.kind == "missing" for entry in entries):
        reasons = [f"{entry.name}: {entry.reason}" for entry in entries[:10]]
        more = [f"… and {len(entries) - 10} more"] if len(entries) > 10 else []
        message = "\n".join(["nothing to look at", *reasons, *more])
        raise ValueError(message if entries else "nothing to look at: no file was named")
    return entries


def _all(arguments: Sequence[str], stdin: TextSource | None) -> Iterator[Input]:
    """Yield what arguments name, with repetitions."""
    for argument in arguments:
        if argument == "-":
            names = _listed(stdin)
            stdin = (
                None if stdin is None else io.StringIO()
            )  # read already: a second `-` adds nothing
            for name in names:
                yield from _named(name)
        elif (camera := _CAMERA.fullmatch(argument)) and (
            argument.startswith("camera:") or not os.path.exists(argument)
        ):
            number = int(camera[1])
            yield Input("camera", f"camera:{number}", camera=number)
        else:
            yield from _named(argument)


def _listed(stdin: TextSource | None) -> list[str]:
    """Return the names on standard input."""
    if stdin is None:
        raise ValueError("- stands for a list on standard input, which there is none of here")
    text = stdin.read().removeprefix("\ufeff")
    names = text.split("\0") if "\0" in text else [n.rstrip("\r") for n in text.split("\n")]
    return [name for name in names if name.strip()]


def _named(name: str) -> Iterator[Input]:
    """Yield what a file, folder or pattern stands for."""
    if os.path.isdir(name):
        yield from _in_folder(name)
    elif os.path.exists(name):
        yield _file(name)
    elif _PATTERN.search(name):
        yield from _matching(name)
    else:
        yield Input("missing", name, reason=_why_missing(name))


def _file(name: str) -> Input:
    return Input("video" if _suffix(name) in VIDEO_SUFFIXES else "image", name)


def _in_folder(folder: str) -> Iterator[Input]:
    """Yield the pictures of a folder."""
    try:
        entries = sorted(os.listdir(folder))
    except OSError as error:
        yield Input("missing", folder, reason=f"cannot be read ({error.strerror})")
        return
    paths = [os.path.join(folder, e) for e in entries if not e.startswith(".")]
    pictures = [p for p in paths if _suffix(p) in PICTURE_SUFFIXES and os.path.isfile(p)]
    if not pictures:
        deeper = any(os.path.isdir(path) for path in paths)
        hint = f"; '{Path(folder) / '**'}' searches its sub-folders" if deeper else ""
        yield Input("missing", folder, reason=f"no picture in this folder{hint}")
    for path in pictures:
        yield Input("image", path)


def _matching(pattern: str) -> Iterator[Input]:
    """Yield the pictures and videos that a pattern matches."""
    files = [p for p in sorted(glob.glob(pattern, recursive=True)) if os.path.isfile(p)]
    known = [path for path in files if _suffix(path) in (*PICTURE_SUFFIXES, *VIDEO_SUFFIXES)]
    if not known:
        reason = "no picture or video among what it matches" if files else "matches no file"
        yield Input("missing", pattern, reason=reason)
    for path in known:
        yield _file(path)


def _why_missing(name: str) -> str:
    if re.match(r"[a-z]+://", name):
        return "no such file; addresses are not fetched"
    return "no such camera" if name.startswith("camera:") else "no such file"


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()
