"""XML of dlib and its tool imglab: boxes with named parts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from kdn.data.formats.entries import Faces, labelled, read_entries
from kdn.data.formats.format import Format, Writer
from kdn.data.markup import FACE68, Markup
from kdn.data.numbers import as_coordinate, shown
from kdn.data.paths import replacing
from kdn.data.sample import Sample

__all__ = ["DlibFile", "read_dlib"]

_Entry = tuple[str, ElementTree.Element]


def read_dlib(
    file: Path,
    markup: Markup | None = FACE68,
    *,
    pictures: Path | None = None,
    problems: list[str] | None = None,
) -> list[Sample]:
    """Return the faces of a file of dlib's, any number a picture.

    The landmarks are all parts that any box of the file has, in the order of their names: as
    numbers if all names are numbers, else as text. A part that a box lacks has no position. Left
    out without a word are boxes to be ignored and those without parts.

    Convention: parts are 0-based indices of pixels, taken as they stand (dlib writes whole ones).
    A box covers `width × height` whole pixels from `left, top` on, edges included, so it spans
    `left − ½` to `left + width − ½`.

    Messages name file, picture and box, counted from 0.
    """
    faces = Faces(file, pictures)
    root = _root(file)
    order = _parts(root)

    def read(entry: _Entry) -> Sample | None:
        picture, box = entry
        name = faces.name(picture)
        parts = box.findall("part")
        if box.get("ignore") in ("1", "true") or not parts:
            return None
        points = np.full((len(order), 2), np.nan)
        for element in parts:
            index = order[element.get("name", "")]
            if np.isfinite(points[index]).all():
                raise ValueError(f"part {shown(element.get('name'))} is there twice")
            points[index] = as_coordinate(element.get("x")), as_coordinate(element.get("y"))
        left, top, width, height = (
            as_coordinate(box.get(side)) for side in ("left", "top", "width", "height")
        )
        return labelled(
            name,
            faces.path(picture),
            points,
            valid=np.asarray(np.isfinite(points).all(axis=1)),
            bbox=(left - 0.5, top - 0.5, left + width - 0.5, top + height - 0.5),
            picture=faces.picture(picture),
        )

    entries = _boxes(file, root)
    return read_entries(file, entries, read, markup=markup, problems=problems)


def _root(file: Path) -> ElementTree.Element:
    """Return the content of an XML file, which must not define entities."""
    data = file.read_bytes()
    if b"<!ENTITY" in data:  # a few of which can fill the memory
        raise ValueError(f"{file}: must not define entities")
    try:
        return ElementTree.fromstring(data)
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        raise ValueError(f"{file}: not an XML file ({error})") from error


def _parts(root: ElementTree.Element) -> dict[str, int]:
    """Return the index of each part's name."""
    names = {element.get("name", "") for element in root.iter("part")}
    numbers = all(re.fullmatch(r"\d+", name) for name in names)
    ordered = sorted(names, key=int) if numbers else sorted(names)
    return {name: index for index, name in enumerate(ordered)}


def _boxes(file: Path, root: ElementTree.Element) -> Iterator[tuple[str, _Entry]]:
    """Yield the boxes with their picture."""
    for image in root.iter("image"):
        picture = image.get("file", "").replace("\\", "/")
        for index, box in enumerate(image.findall("box")):
            yield f"{file}: {picture}, box {index}", (picture, box)


class DlibFile(Writer):
    """A box a face, its parts named by number; all in whole pixels: dlib reads no others."""

    title = "dlib's XML has"

    def __init__(self, path: Path, markup: Markup, names: Sequence[str], pictures: str) -> None:
        super().__init__(path, markup, names, pictures)
        self._digits = len(str(markup.landmarks - 1))
        self._images: dict[str, ElementTree.Element] = {}
        self._moved = 0.0

    def add(self, sample: Sample) -> None:
        """Take a face."""
        name = self.picture_name(sample)
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
            self.lost.add("what is hidden")
        if sample.attributes:
            self.lost.add("attributes")

    def finish(self) -> list[str]:
        """Write the file, and return what was lost."""
        root = ElementTree.Element("dataset")
        ElementTree.SubElement(root, "images").extend(self._images.values())
        ElementTree.indent(root)
        with replacing(self.path) as temporary:
            ElementTree.ElementTree(root).write(temporary, encoding="UTF-8", xml_declaration=True)
        if not self._moved:
            return super().finish()
        rounded = f"coordinates were rounded, by up to {self._moved:.2f} px"
        return [f"{self.title} whole pixels: {rounded}", *super().finish()]


DLIB = Format("dlib", "FILE.xml", read_dlib, pictures=True, writer=DlibFile, suffixes=(".xml",))
