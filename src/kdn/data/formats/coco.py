"""COCO keypoints: JSON of pictures, and of people or faces in them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kdn.data.formats.entries import Faces, labelled, read_entries
from kdn.data.formats.format import Format, Writer
from kdn.data.markup import BODY17, Markup
from kdn.data.numbers import as_coordinate, shown
from kdn.data.paths import replacing
from kdn.data.sample import Box, Sample
from kdn.data.tables import json_content

__all__ = ["CocoFile", "read_coco"]


def read_coco(
    file: Path,
    markup: Markup | None = BODY17,
    *,
    pictures: Path | None = None,
    problems: list[str] | None = None,
) -> list[Sample]:
    """Return the people (faces, hands, animals) of a file of COCO keypoints, any number a picture.

    A keypoint is `x, y, v`: with `v` 0 it has no position, with 1 it is labelled but hidden (valid,
    not visible), with 2 it can be seen. Left out without a word are entries that have no keypoints
    or none with a position, and crowds.

    Convention: keypoints are 0-based indices of pixels, so taken as they stand. Boxes `x, y, width,
    height` are measured from the picture's corner, half a pixel before the first pixel's centre:
    ½ is subtracted. An entry without a box gets the tight box of its keypoints.

    Ids are `FILE/PICTURE#ANNOTATION`; `pictures` is the folder that `file_name` is named from, the
    file's own by default. Messages name file and annotation.
    """
    folder = Faces(file, pictures).folder
    names, annotations = _content(file)

    def read(entry: Any) -> Sample | None:
        if not isinstance(entry, Mapping):
            raise ValueError(f"must be an object, got {shown(entry)}")
        if entry.get("iscrowd") or not entry.get("keypoints"):
            return None
        points, flags = _keypoints(entry["keypoints"])
        if not flags.any():
            return None
        picture = names.get(entry.get("image_id"))
        if not isinstance(picture, str):
            raise ValueError(f"image_id {shown(entry.get('image_id'))} is of no picture")
        return labelled(
            f"{file.stem}/{picture}#{entry['id']}",
            folder / picture,
            points,
            valid=flags > 0,
            visible=flags == 2,
            bbox=_box(entry.get("bbox")),
            picture=f"{folder.resolve().name}/{picture}",
        )

    entries = _placed(file, annotations)
    return read_entries(file, entries, read, markup=markup, problems=problems)


def _content(file: Path) -> tuple[dict[Any, Any], list[Any]]:
    """Return the name of each picture by its number, and the annotations."""
    content = json_content(file)
    images, annotations = (
        content.get(key) if isinstance(content, Mapping) else None
        for key in ("images", "annotations")
    )
    if not isinstance(images, list) or not isinstance(annotations, list):
        raise ValueError(f"{file}: must be an object with lists 'images' and 'annotations'")
    known = [entry for entry in images if isinstance(entry, Mapping) and _plain(entry.get("id"))]
    return {entry["id"]: entry.get("file_name") for entry in known}, annotations


def _plain(value: Any) -> bool:
    """Return whether a value can be a number of an entry."""
    return isinstance(value, int | str)


def _placed(file: Path, annotations: list[Any]) -> Iterator[tuple[str, Any]]:
    """Yield each annotation with its number, or its index where it has none."""
    for index, entry in enumerate(annotations):
        if isinstance(entry, Mapping):
            number = entry.get("id")
            known = _plain(number)
            image = entry.get("image_id")
            ids = {"id": number if known else index, "image_id": image if _plain(image) else None}
            where = f"annotation {number}" if known else f"entry {index}"
            yield f"{file}: {where}", {**entry, **ids}
        else:
            yield f"{file}: entry {index}", entry


def _keypoints(values: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return positions and flags."""
    if not isinstance(values, list) or len(values) % 3:
        count = len(values) if isinstance(values, list) else shown(values)
        raise ValueError(f"keypoints must be a list of x, y, v, got {count} numbers")
    numbers = np.array([as_coordinate(value) for value in values]).reshape(-1, 3)
    flags = numbers[:, 2]
    wrong = flags[~np.isin(flags, (0, 1, 2))]
    if len(wrong):
        raise ValueError(f"v must be 0, 1 or 2, got {wrong[0]:g}")
    return numbers[:, :2], flags


def _box(values: Any) -> Box | None:
    """Return a box of `x, y, width, height`, None where there is none."""
    if values is None:
        return None
    if not isinstance(values, list) or len(values) != 4:
        raise ValueError(f"bbox must be [x, y, width, height], got {shown(values)}")
    x, y, width, height = (as_coordinate(value) for value in values)
    return x - 0.5, y - 0.5, x + width - 0.5, y + height - 0.5


class CocoFile(Writer):
    """One category with the mark-up's names and lines; pictures and annotations count from 1.

    Boxes count from the picture's corner, as COCO's do: ½ is added.
    """

    title = "COCO keypoints have"

    def __init__(self, path: Path, markup: Markup, names: Sequence[str], pictures: str) -> None:
        super().__init__(path, markup, names, pictures)
        self._images: dict[str, dict[str, Any]] = {}
        self._annotations: list[dict[str, Any]] = []

    def add(self, sample: Sample) -> None:
        """Take a face; a picture that cannot be read has no width and height."""
        name = self.picture_name(sample)
        if name not in self._images:
            entry = {"id": len(self._images) + 1, "file_name": name}
            self._images[name] = {**entry, **_size(sample)}
        x0, y0, x1, y1 = sample.bbox
        points = np.where(sample.valid[:, None], sample.landmarks, 0.0).tolist()
        flags = np.where(sample.valid, 1 + sample.visible.astype(int), 0).tolist()
        annotation = {
            "id": len(self._annotations) + 1,
            "image_id": self._images[name]["id"],
            "category_id": 1,
            "iscrowd": 0,
            "keypoints": [
                value for (x, y), v in zip(points, flags, strict=True) for value in (x, y, v)
            ],
            "num_keypoints": int(sample.valid.sum()),
            "bbox": [x0 + 0.5, y0 + 0.5, x1 - x0, y1 - y0],
            "area": (x1 - x0) * (y1 - y0),
        }
        self.lost |= {"attributes"} if sample.attributes else set()
        self._annotations.append(annotation)

    def finish(self) -> list[str]:
        """Write the file, and return what was lost."""
        category = {
            "id": 1,
            "name": self.markup.name,
            "keypoints": list(self.markup.names),
            "skeleton": [[i + 1, j + 1] for i, j in self.markup.edges],
        }
        content = {
            "images": list(self._images.values()),
            "annotations": self._annotations,
            "categories": [category],
        }
        with replacing(self.path) as temporary:
            temporary.write_text(json.dumps(content), encoding="utf-8")
        return super().finish()


def _size(sample: Sample) -> dict[str, int]:
    """Return the size of a picture, or nothing."""
    try:
        height, width = sample.size()
    except (OSError, ValueError):
        return {}
    return {"width": width, "height": height}


COCO = Format("coco", "FILE.json", read_coco, pictures=True, writer=CocoFile, suffixes=(".json",))
