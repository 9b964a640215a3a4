"""Labels from one format into another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from kdn.data import Sample, picture_names, tight_box
from kdn.data.convert.coco import CocoFile
from kdn.data.convert.dlib import DlibFile
from kdn.data.convert.pictures import Pictures
from kdn.data.convert.pts import PtsFolder
from kdn.data.convert.table import TableFile
from kdn.data.markup import Markup

__all__ = ["FORMS", "Converted", "convert"]

FORMS = ("FILE.csv", "FILE.parquet", "FILE.json", "FILE.xml", "FOLDER", "merl_rav:FOLDER")
"""What may be written: a table, COCO keypoints, dlib's XML, or `.pts` files with their pictures."""

_FILES = {".csv": TableFile, ".parquet": TableFile, ".json": CocoFile, ".xml": DlibFile}
_SIGNS = "merl_rav:"


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


@runtime_checkable
class _Writer(Protocol):
    """Takes faces one by one and writes them when all are there."""

    def add(self, sample: Sample) -> None:
        """Take a face; raises if the format cannot hold it."""
        ...

    def finish(self) -> list[str]:
        """Write, and return what was lost."""
        ...


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
        out: One of `FORMS`.
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
    writer = _writer(samples, out, markup, pictures)
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


def _writer(samples: Sequence[Sample], out: str, markup: Markup, pictures: str) -> _Writer:
    """Return what writes such a file or folder."""
    signs = out.startswith(_SIGNS)
    path = Path(out.removeprefix(_SIGNS)).expanduser()
    suffix = path.suffix.lower()
    if not signs and suffix in _FILES:
        beside = Pictures(path.parent, path.with_name(f"{path.stem}_pictures"))
        return _FILES[suffix](path, markup, beside)
    if suffix and not path.is_dir() and not out.endswith("/"):
        raise ValueError(f"out must be one of {', '.join(FORMS)}, got {out!r}")
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ValueError(f"{path}: must be a new or an empty folder")
    return PtsFolder(path, picture_names(samples), pictures=pictures, signs=signs)
