"""Labels as dlib's XML, that `dlib:` and dlib itself read."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from kdn.data import Sample
from kdn.data.convert.pictures import Pictures
from kdn.data.markup import Markup
from kdn.data.paths import replacing

__all__ = ["DlibFile"]


class DlibFile:
    """A box a face, its parts named by number; all in whole pixels, which is all that dlib reads.

    Args:
        path: The `.xml` file.
        markup: What the landmarks are.
        pictures: Names the pictures.
    """

    def __init__(self, path: Path, markup: Markup, pictures: Pictures) -> None:
        self.path, self.pictures = path, pictures
        self._digits = len(str(markup.landmarks - 1))
        self._images: dict[str, ElementTree.Element] = {}
        self._moved = 0.0
        self._lost: set[str] = set()

    def add(self, sample: Sample) -> None:
        """Take a face."""
        name = self.pictures.name(sample)
        if name not in self._images:
            self._images[name] = ElementTree.Element("image", file=name)
        x0, y0, x1, y1 = sample.bbox
        left, top = round(x0 + 0.5), round(y0 + 0.5)
        sides = {
            "top": top,
            "left": left,
            "width": max(round(x1 + 0.5) - left, 1),
            "height": max(round(y1 + 0.5) - top, 1),
        }
        box = ElementTree.SubElement(
            self._images[name], "box", {key: str(value) for key, value in sides.items()}
        )
        for index, (x, y) in enumerate(sample.landmarks.tolist()):
            if sample.valid[index]:
                where = {"name": f"{index:0{self._digits}d}", "x": f"{x:.0f}", "y": f"{y:.0f}"}
                ElementTree.SubElement(box, "part", where)
                self._moved = max(self._moved, abs(x - round(x)), abs(y - round(y)))
        if (sample.valid & ~sample.visible).any():
            self._lost.add("what is hidden")
        if sample.attributes:
            self._lost.add("attributes")

    def finish(self) -> list[str]:
        """Write the file, and return what was lost."""
        root = ElementTree.Element("dataset")
        ElementTree.SubElement(root, "images").extend(self._images.values())
        ElementTree.indent(root)
        with replacing(self.path) as temporary:
            ElementTree.ElementTree(root).write(temporary, encoding="UTF-8", xml_declaration=True)
        notes = [f"dlib's XML has no place for {what}" for what in sorted(self._lost)]
        if self._moved:
            notes.insert(
                0,
                "dlib's XML has whole pixels: coordinates were rounded, "
                f"by up to {self._moved:.2f} px",
            )
        return notes
