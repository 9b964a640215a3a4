"""What a format of labels is, and where formats are looked for."""

from __future__ import annotations

import os
import pkgutil
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import ClassVar

import numpy as np

from kdn.data.images import write_image
from kdn.data.markup import Markup
from kdn.data.sample import Sample

__all__ = ["FOLDER", "Format", "Writer", "foreign_package", "format_named", "known_formats"]

FOLDER = "ibug"
"""Name of the format that a folder without a word before it is of."""

_FOREIGN = re.compile(r"((?!\d)\w+(?:\.\w+)*):(?!\d)\w+:.*")


@dataclass(frozen=True)
class Format:
    """A format of labels. One in a module of `kdn.data.formats` needs no other registration.

    Args:
        name: What stands before the colon of a source, `coco` in `coco:people.json`.
        form: What stands behind it, for messages and help: `FILE.json`, `FOLDER`.
        read: Returns the samples of such a file or folder, in its order:
            `read(path, markup, problems=problems)`. `path` is a `Path`; `markup` what the
            landmarks are, None for any number that is the same in all of it; `problems` a list for
            one line about each entry that cannot be used, None to raise `ValueError`. One that
            is not there, or holds no such labels at all, raises `FileNotFoundError` or
            `ValueError`. Messages begin with file and line, or entry. No picture is decoded.
        pictures: Whether `@PICTURES` may follow the path; `read` takes `pictures`, a `Path` or
            None, then.
        markup: What the landmarks are, where they are the same in all such data.
        landmarks: Whether samples have landmarks; `read` takes no mark-up if not.
        writer: Writes such a file or folder; None if it is only read.
        suffixes: Endings by which a file to write is known to be of this format.

    Example:
        >>> from kdn.data.formats import labelled, read_entries
        >>> def read_mouse(file, markup, *, problems):
        ...     def read(line):
        ...         picture, *numbers = line.split()
        ...         points = np.array(numbers, np.float64).reshape(-1, 2)
        ...         return labelled(picture, file.parent / picture, points)
        ...
        ...     lines = enumerate(file.read_text().splitlines(), 1)
        ...     entries = [(f"{file}:{number}", line) for number, line in lines]
        ...     return read_entries(file, entries, read, markup=markup, problems=problems)
        >>> MOUSE = Format("mouse", "FILE.txt", read_mouse)
    """

    name: str
    form: str
    read: Callable[..., Sequence[Sample]]
    _: KW_ONLY
    pictures: bool = False
    markup: Markup | None = None
    landmarks: bool = True
    writer: type[Writer] | None = None
    suffixes: tuple[str, ...] = ()

    def split(self, location: str) -> tuple[Path, Path | None]:
        """Return a path and that of its pictures behind the last `@`, if one was named."""
        file, _, pictures = location.rpartition("@")
        if not self.pictures or not file or Path(location).expanduser().exists():
            return Path(location).expanduser(), None
        return Path(file).expanduser(), Path(pictures).expanduser()

    def samples(
        self, location: str, markup: Markup | None, problems: list[str] | None
    ) -> Sequence[Sample]:
        """Return the samples of a file or folder as it was named."""
        path, pictures = self.split(location)
        apart = {"pictures": pictures} if self.pictures else {}
        landmarks = (markup,) if self.landmarks else ()
        return self.read(path, *landmarks, problems=problems, **apart)


class Writer(ABC):
    """Takes samples one by one and writes them when all are there.

    A file names its pictures from where it lies itself; those that lie in no file are written
    beside it as PNG, into the folder `NAME_pictures`.

    Args:
        path: The file or folder.
        markup: What the landmarks are.
        names: The picture of each sample that there will be (`picture_names`).
        pictures: What a folder gets: `copy`, `link` or `none`.
    """

    title: ClassVar[str]
    """What it writes, with its verb: `COCO keypoints have`."""

    def __init__(self, path: Path, markup: Markup, names: Sequence[str], pictures: str) -> None:
        self.path, self.markup, self.names, self.pictures = path, markup, names, pictures
        self.lost: set[str] = set()
        self._drawn = 0

    @abstractmethod
    def add(self, sample: Sample) -> None:
        """Take a sample.

        Raises:
            OSError: If its picture is needed and not there.
            ValueError: If the format cannot hold it.
        """

    def finish(self) -> list[str]:
        """Write, and return one line about each thing that was lost."""
        return [f"{self.title} no place for {what}" for what in sorted(self.lost)]

    def picture_name(self, sample: Sample) -> str:
        """Return how the file names the picture of a sample."""
        if isinstance(sample.image, np.ndarray):
            folder = self.path.with_name(f"{self.path.stem}_pictures")
            picture = folder / f"{self._drawn:06d}.png"
            self._drawn += 1
            write_image(picture, sample.image)
        else:
            picture = Path(sample.image)
        try:
            base = self.path.parent.absolute()
            return Path(os.path.relpath(picture.absolute(), base)).as_posix()
        except ValueError:  # on another drive
            return picture.absolute().as_posix()


def known_formats() -> Mapping[str, Format]:
    """Return the formats of the modules of `kdn.data.formats` by name.

    Raises:
        ValueError: If two have one name.
    """
    return _formats_in(tuple(import_module("kdn.data.formats").__path__))


@cache
def _formats_in(folders: tuple[str, ...]) -> Mapping[str, Format]:
    formats: dict[str, Format] = {}
    for module in pkgutil.iter_modules(folders, "kdn.data.formats."):
        for value in vars(import_module(module.name)).values():
            if not isinstance(value, Format):
                continue
            if formats.setdefault(value.name, value) is not value:
                raise ValueError(f"{module.name}: the format {value.name!r} is there twice")
    return formats


def foreign_package(text: str) -> str | None:
    """Return the package whose code a source runs; None for the formats of `kdn` and for files.

    Example:
        >>> foreign_package("lab.mice:MICE:labels.txt"), foreign_package("coco:people.json")
        ('lab', None)
    """
    module = _module_named(text)
    return None if module is None or module.split(".")[0] == "kdn" else module.split(".")[0]


def _module_named(text: str) -> str | None:
    """Return the module that a source names a format of; None for words and files."""
    match = _FOREIGN.fullmatch(text)
    if match is None or match[1] in known_formats() or Path(text).expanduser().exists():
        return None
    return match[1]


def format_named(text: str) -> tuple[Format, str] | None:
    """Return the format that a source or a target names, and what stands behind its colon.

    Args:
        text: `NAME:PLACE`, or `package.module:NAME:PLACE` with the name that a `Format` has in a
            module that can be imported.

    Returns:
        Both; None if the text names no format.

    Raises:
        ValueError: If it names a module or a format in it that is not there.
    """
    word, _, location = text.partition(":")
    if word in known_formats():
        return (known_formats()[word], location) if location else None
    module = _module_named(text)
    if module is None:
        return None
    name, _, location = location.partition(":")
    try:
        value = getattr(import_module(module), name, None)
    except ImportError as error:
        raise ValueError(f"{text}: {module} cannot be imported ({error})") from error
    if not isinstance(value, Format) or not location:
        raise ValueError(f"{text}: must be package.module:NAME:PLACE with the name of a Format")
    return value, location
