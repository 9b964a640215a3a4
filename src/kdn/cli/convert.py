"""`kdn convert`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

__all__ = ["convert"]


def convert(
    sources: list[str],
    *,
    out: str,
    markup: str | None = None,
    boxes: Literal["file", "landmarks"] = "file",
    pictures: Literal["copy", "link", "none"] = "copy",
    labels_only: bool = False,
) -> int:
    """Write labelled data in another format.

    Args:
        sources: Labelled data: a folder of pictures with .pts files, wflw:LIST, coco:FILE.json
            and so on; docs/formats.md lists all.
        out: FILE.csv, FILE.parquet, FILE.json (COCO keypoints), FILE.xml (dlib), a folder for .pts
            files, or merl_rav:FOLDER for .pts files that say what is hidden.
        markup: Mark-up of the landmarks, a name or a YAML file; the data set's own by default.
        boxes: file keeps the boxes that files have, landmarks writes the tight boxes.
        pictures: What a folder of .pts files gets: copies of the pictures, symbolic links, or none.
        labels_only: Convert faces whose pictures are not there, too.
    """
    from kdn.data import join_samples, load_samples, source_markup, source_place
    from kdn.data.convert import convert
    from kdn.data.markup import markup_named

    target = Path(out).expanduser()
    for source in sources:
        place = source_place(source)
        if target.exists() and place.exists() and target.samefile(place):
            raise ValueError(f"out must be another file than {source}, got {out}")
    given = None if markup is None else markup_named(markup)
    known = given
    problems: list[str] = []
    parts = []
    for source in sources:
        part = load_samples(source, given, problems=problems, pictures=not labels_only)
        own = source_markup(source, part) if given is None and len(part) else known
        known = own if known is None else known
        if own is not None and known is not None and own.name != known.name:
            raise ValueError(
                f"sources must be of one mark-up, got {known.name} and {own.name} ({source}); "
                f"--markup says what they are if that is wrong"
            )
        parts.append(part)
    if known is None or not any(map(len, parts)):
        raise ValueError("\n".join(["no face can be used", *problems[:10]]))
    written = convert(
        join_samples(parts),
        out,
        markup=known,
        boxes=boxes,
        pictures="none" if labels_only else pictures,
    )
    print(f"{written.faces} faces of {known.name}: {out}")
    for note in written.notes:
        print(note)
    problems += written.problems
    for problem in problems:
        print(f"left out: {problem}", file=sys.stderr)
    return 1 if problems else 0
