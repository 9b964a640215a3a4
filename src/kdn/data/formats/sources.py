"""Sources of samples as a recipe or a command line names them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from kdn.data.formats.entries import settle
from kdn.data.formats.format import FOLDER, Format, format_named, known_formats
from kdn.data.markup import FACE68, MARKUPS, Markup, markup_of_count
from kdn.data.sample import Sample

__all__ = ["load_samples", "source_forms", "source_markup", "source_place"]


def source_forms() -> tuple[str, ...]:
    """Return what a source may be.

    `@FOLDER` behind a list, XML, JSON or table says where its pictures lie.

    Example:
        >>> [form for form in source_forms() if form.startswith("coco")]
        ['coco:FILE.json']
    """
    named = [f"{known.name}:{known.form}" for known in known_formats().values()]
    return ("FOLDER", *named, "package.module:NAME:PLACE")


def load_samples(
    source: str,
    markup: Markup | None = FACE68,
    *,
    problems: list[str] | None = None,
    pictures: bool = True,
) -> Sequence[Sample]:
    """Return the samples of one source.

    Args:
        source: One of `source_forms`. A folder without a word before it has pictures with `.pts`
            files and is not searched below its own level. `package.module:NAME:PLACE` is read by
            the `kdn.data.formats.Format` of that name in a module of yours.
        markup: What the landmarks are; None for any number that is the same in the whole source,
            which may be 0.
        problems: Where to put one line about each file, line or entry that is left out because it
            cannot be used; None to let it raise.
        pictures: Whether a face whose picture is not there cannot be used.

    Raises:
        FileNotFoundError: If there is no such file or folder.
        ValueError: If the source has none of these forms, or does not have this mark-up.
    """
    known, location = _format_of(source)
    _check_markup(source, known, markup)
    samples = known.samples(location, markup, problems)
    return _with_their_pictures(samples, problems) if pictures else samples


def source_markup(source: str, samples: Sequence[Sample]) -> Markup:
    """Return what the landmarks of a source are, where nobody said.

    That is the mark-up of the data set, or the usual one with so many landmarks.

    Args:
        source: As `load_samples` takes it.
        samples: What it gave with no mark-up, at least one.

    Example:
        >>> source_markup("synthetic:2:0", load_samples("synthetic:2:0")).name
        'face68'
    """
    count = len(samples[0].landmarks)
    markup = _format_of(source)[0].markup
    return markup if markup is not None and markup.landmarks == count else markup_of_count(count)


def source_place(source: str) -> Path:
    """Return the file or folder that a source is read from, as it was named.

    Example:
        >>> source_place("coco:people.json@pictures").name
        'people.json'
    """
    known, location = _format_of(source)
    return known.split(location)[0]


def _format_of(source: str) -> tuple[Format, str]:
    """Return the format of a source, and what it is read from."""
    named = format_named(source)
    if named is not None:
        return named
    if re.fullmatch(r"[a-z0-9_-]{2,}:.*", source) and not Path(source).expanduser().exists():
        raise ValueError(f"source must be one of {', '.join(source_forms())}, got {source!r}")
    return known_formats()[FOLDER], source


def _check_markup(source: str, known: Format, markup: Markup | None) -> None:
    """Raise if a data set is to be read as a mark-up that it does not have."""
    if markup is None:
        return
    if not known.landmarks and markup.landmarks:
        raise ValueError(
            f"{source}: has no landmarks, but the mark-up {markup.name} has {markup.landmarks}"
        )
    if known.markup is None or markup.landmarks != known.markup.landmarks:
        return
    if markup.name in MARKUPS and markup.name != known.markup.name:
        raise ValueError(f"{source}: has the mark-up {known.markup.name}, not {markup.name}")


def _with_their_pictures(samples: Sequence[Sample], problems: list[str] | None) -> Sequence[Sample]:
    """Return the samples whose picture is in memory, or a file that is there."""
    if not isinstance(samples, list):
        return samples
    files = {sample.image for sample in samples if isinstance(sample.image, Path)}
    missing = {file for file in files if not file.is_file()}

    def usable(sample: Sample) -> bool:
        return not isinstance(sample.image, Path) or sample.image not in missing

    lines = [f"{face.id}: no picture {face.image}" for face in samples if not usable(face)]
    settle(lines, problems)
    return [sample for sample in samples if usable(sample)]
