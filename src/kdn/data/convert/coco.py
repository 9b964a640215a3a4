"""Labels as COCO keypoints, that `coco:` reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from kdn.data import Sample
from kdn.data.convert.pictures import Pictures
from kdn.data.images import image_size
from kdn.data.markup import Markup
from kdn.data.paths import replacing

__all__ = ["CocoFile"]


class CocoFile:
    """One category with the mark-up's names and lines; pictures and annotations count from 1.

    Boxes count from the picture's corner, as COCO's do: ½ is added.

    Args:
        path: The `.json` file.
        markup: What the landmarks are.
        pictures: Names the pictures.
    """

    def __init__(self, path: Path, markup: Markup, pictures: Pictures) -> None:
        self.path, self.markup, self.pictures = path, markup, pictures
        self._images: dict[str, dict[str, Any]] = {}
        self._annotations: list[dict[str, Any]] = []
        self._lost: set[str] = set()

    def add(self, sample: Sample) -> None:
        """Take a face; a picture that cannot be read has no width and height."""
        name = self.pictures.name(sample)
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
        self._lost |= {"attributes"} if sample.attributes else set()
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
        return [f"COCO keypoints have no place for {what}" for what in sorted(self._lost)]


def _size(sample: Sample) -> dict[str, int]:
    """Return the size of a picture, or nothing."""
    if isinstance(sample.image, np.ndarray):
        height, width = sample.image.shape[:2]
        return {"width": width, "height": height}
    try:
        height, width = image_size(Path(sample.image))
    except (OSError, ValueError):
        return {}
    return {"width": width, "height": height}
