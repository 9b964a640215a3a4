"""Labels from one format into another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from kdn.data.formats.format import FOLDER, Writer, format_named, known_formats
from kdn.data.markup import Markup
from kdn.data.sample import Sample, tight_box
from kdn.data.split import picture_names

__all__ = ["Converted", "convert", "target_forms", "target_of"]


@dataclass(frozen=True)
class Converted:
    """What was written.

    Args:
        faces: How many faces.
        notes: One line about each thing that the format cannot say.
        problems: One line about each face that was left out.
    """

    faces: int
    notes: tuple[str, ...]
    problems: tuple[str, ...]


def convert(
    samples: Sequence[Sample],
    out: str,
    *,
    markup: Markup,
    boxes: Literal["file", "landmarks"] = "file",
    pictures: Literal["copy", "link", "none"] = "copy",
) -> Converted:
    """Write labelled faces in another format.

    Coordinates are as exact as the format is: tables and JSON keep every digit, `.pts` files six
    behind the point, dlib's XML whole pixels. Files name their pictures from where they lie
    themselves; pictures that are in no file (COFW, drawn faces) are written beside them as PNG,
    into the folder `NAME_pictures`. A folder of `.pts` files gets its pictures too.

    Args:
        samples: What is written; each is looked at once.
        out: One of `target_forms`.
        markup: What the landmarks are.
        boxes: `landmarks` replaces each box by the tight box of the landmarks.
        pictures: What a folder gets: copies, symbolic links, or none.

    Raises:
        ValueError: If `out` is none of these, if a folder has files in it, or if there is no face.

    Example:
        >>> import tempfile
        >>> from kdn.data import SyntheticFaces, load_samples
        >>> from kdn.data.markup import FACE68
        >>> faces = SyntheticFaces(3, seed=0)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     written = convert(faces, f"{folder}/faces.csv", markup=FACE68)
        ...     again = load_samples(f"table:{folder}/faces.csv", FACE68)
        >>> written.faces, bool((again[1].landmarks == faces[1].landmarks).all())
        (3, True)
    """
    if not len(samples):
        raise ValueError("samples must hold at least one face")
    writer_class, path = target_of(out)
    writer = writer_class(path, markup, picture_names(samples), pictures)
    problems, faces = [], 0
    for index in range(len(samples)):
        try:
            sample = samples[index]
            if boxes == "landmarks":
                sample = replace(sample, bbox=tight_box(sample.landmarks, sample.valid))
            writer.add(sample)
            faces += 1
        except (OSError, ValueError) as error:
            problems.append(str(error))
    if not faces:
        raise ValueError("\n".join(["no face can be written", *problems[:10]]))
    return Converted(faces, tuple(writer.finish()), tuple(problems))


def target_forms() -> tuple[str, ...]:
    """Return what may be written: a file of which the ending says the format, or a named format.

    Example:
        >>> target_forms()[:5]
        ('FOLDER', 'FILE.json', 'FILE.xml', 'FILE.csv', 'FILE.parquet')
    """
    written = [known for known in known_formats().values() if known.writer is not None]
    files = [f"FILE{suffix}" for known in written for suffix in known.suffixes]
    named = [f"{known.name}:{known.form}" for known in written if not known.suffixes]
    return ("FOLDER", *files, *named, "package.module:NAME:PLACE")


def target_of(out: str) -> tuple[type[Writer], Path]:
    """Return what writes such a file or folder, and its path.

    Raises:
        ValueError: If it is none of `target_forms`.
    """
    named = format_named(out)
    path = Path(out if named is None else named[1]).expanduser()
    if named is None:
        suffix = path.suffix.lower()
        fitting = [known for known in known_formats().values() if suffix in known.suffixes]
        folder = not suffix or path.is_dir() or out.endswith("/")
        fitting += [known_formats()[FOLDER]] if folder else []
    else:
        fitting = [named[0]]
    if not fitting or fitting[0].writer is None:
        raise ValueError(f"out must be one of {', '.join(target_forms())}, got {out!r}")
    return fitting[0].writer, path
