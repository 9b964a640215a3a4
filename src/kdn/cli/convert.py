"""`kdn convert`."""

from __future__ import annotations

import sys
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
    from kdn.data.convert import convert, target_of
    from kdn.data.markup import markup_named

    _, target = target_of(out)
    for source in sources:
        path = source_place(source)
        if target.exists() and path.exists() and target.samefile(path):
            raise ValueError(f"out must be another file than {source}, got {out}")
    named = None if markup is None else markup_named(markup)
    problems: list[str] = []
    parts = [load_samples(s, named, problems=problems, pictures=not labels_only) for s in sources]
    of_sources = {
        source: named or source_markup(source, samples)
        for source, samples in zip(sources, parts, strict=True)
        if len(samples)
    }
    if not of_sources:
        raise ValueError("\n".join(["no face can be used", *problems[:10]]))
    known = next(iter(of_sources.values()))
    for source, other in of_sources.items():
        if other.name != known.name:
            raise ValueError(
                f"sources must be of one mark-up, got {known.name} and {other.name} ({source}); "
                f"--markup says what they are if that is wrong"
            )
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
