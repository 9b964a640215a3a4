"""`kdn check-data`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from kdn.recipe import CropRule

if TYPE_CHECKING:
    from kdn.data.markup import Markup

__all__ = ["check_data"]

_SHEETS = (".jpg", ".jpeg", ".png")


def check_data(
    sources: list[str],
    *,
    markup: str | None = None,
    sheet: Path | None = None,
    sheet_faces: int = 48,
    crop: Literal["face", "box", "picture"] = "face",
    json_: Path | None = None,
    quiet: bool = False,
) -> int:
    """Look for what is wrong with labelled data, and say what they are like.

    Args:
        sources: Labelled data: a folder of pictures with .pts files, wflw:LIST, coco:FILE.json
            and so on; docs/formats.md lists all.
        markup: Mark-up of the landmarks, a name or a YAML file; each data set's own by default.
        sheet: Draw faces with their labels into this .jpg or .png file.
        sheet_faces: How many faces of each source are drawn, chosen by chance.
        crop: What is shown on the sheet: face a square about the face, box the box, picture the
            whole picture.
        json_: Write what was found here too, as JSON.
        quiet: No progress on screen.
    """
    from tqdm import tqdm

    from kdn.data.check import as_json, as_text, check_data
    from kdn.data.markup import markup_named
    from kdn.data.paths import replacing

    if sheet is not None and sheet.suffix.lower() not in _SHEETS:
        raise ValueError(f"sheet must end in .jpg or .png, got {sheet}")
    known = None if markup is None else markup_named(markup)
    with tqdm(unit="face", disable=True if quiet else None) as bar:
        report = check_data(sources, known, progress=bar.update)
    if json_ is not None:
        with replacing(json_) as temporary:
            temporary.write_text(json.dumps(as_json(report), indent=2) + "\n", encoding="utf-8")
    if sheet is not None:
        _draw(sources, known, sheet, sheet_faces, crop)
    print(as_text(report))
    problems = [line for source in report.sources for line in source.problems]
    for problem in problems:
        print(f"cannot be used: {problem}", file=sys.stderr)
    return 1 if problems else 0


def _draw(
    sources: list[str], markup: Markup | None, sheet: Path, count: int, crop: CropRule
) -> None:
    """Draw faces of each source below those of the one before."""
    import numpy as np

    from kdn.data import load_samples, source_markup
    from kdn.data.check import contact_sheet
    from kdn.data.images import write_image

    problems: list[str] = []  # which have been said already
    sheets = []
    for source in sources:
        samples = load_samples(source, markup, problems=problems)
        if len(samples):
            drawn = markup or source_markup(source, samples)
            sheets.append(contact_sheet(samples, drawn, count=count, crop=crop, problems=problems))
    if not sheets:
        raise ValueError(f"{sheet}: there is no face to draw")
    width = max(drawn.shape[1] for drawn in sheets)
    padded = [np.pad(drawn, ((0, 8), (0, width - drawn.shape[1]), (0, 0))) for drawn in sheets]
    write_image(sheet, np.concatenate(padded))
