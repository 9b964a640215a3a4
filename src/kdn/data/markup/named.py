"""Mark-ups by name, by number of landmarks, and of the user's own, as a YAML file says them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from kdn.data.markup.known import MARKUPS
from kdn.data.markup.markup import Markup, involution

__all__ = [
    "content_of_markup",
    "facts_of_markup",
    "markup_named",
    "markup_of_content",
    "markup_of_count",
    "markup_of_facts",
    "read_markup",
]

_FIELDS = ("name", "landmarks", "names", "flip", "eye_corners", "eyes", "pair", "groups", "edges")


def markup_named(name: str | Mapping[str, Any]) -> Markup:
    """Return the mark-up of that name, or the one that a YAML file or a mapping describes.

    Args:
        name: A name of `MARKUPS`, a file that ends in `.yaml` or `.yml` (see `read_markup`), or
            what such a file says: a mapping, or JSON text as recipes keep it.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If there is no mark-up of that name, the message lists those there are; or if
            file or mapping describe none, or have the name of one of the package but differ from
            it.

    Example:
        >>> markup_named("face5").names[2]
        'nose tip'
    """
    if isinstance(name, Mapping) or name.lstrip().startswith("{"):
        return _own(_described(name), "markup")
    if name.casefold().endswith((".yaml", ".yml")):
        return _own(read_markup(name), name)
    if name not in MARKUPS:
        raise ValueError(
            f"no mark-up is named {name!r}; there are {', '.join(sorted(MARKUPS))}, or name a "
            ".yaml file that describes yours"
        )
    return MARKUPS[name]


def _described(value: str | Mapping[str, Any]) -> Markup:
    """Return the mark-up of a mapping, or of JSON text of one."""
    try:
        content = json.loads(value) if isinstance(value, str) else value
    except ValueError as error:
        raise ValueError(f"markup: is no JSON ({error}), got {value!r:.60}") from error
    return markup_of_content(content, where="markup")


def _own(markup: Markup, where: str) -> Markup:
    """Return a mark-up whose name is not that of another one of the package."""
    if markup != MARKUPS.get(markup.name, markup):
        raise ValueError(f"{where}: name: {markup.name} is the package's own, choose another")
    return markup


def facts_of_markup(markup: Markup) -> dict[str, Any]:
    """Return what a file stores of a mark-up, which `markup_of_facts` reads.

    That is its name, `markup`, and all of it, `markup_content`, if it is not one of the package.
    """
    facts: dict[str, Any] = {"markup": markup.name}
    if markup != MARKUPS.get(markup.name):
        facts["markup_content"] = content_of_markup(markup)
    return facts


def markup_of_facts(facts: Mapping[str, Any]) -> Markup:
    """Return the mark-up that a checkpoint or a file of predictions was made with.

    Args:
        facts: Their facts or metadata: `markup_content` holds a mark-up of the user's own, as
            `content_of_markup` gives it; otherwise `markup` is the name of one of the package.

    Raises:
        ValueError: If neither is there, or what is there is no mark-up.
    """
    content = facts.get("markup_content")
    if content is not None:
        return markup_of_content(content, where="markup_content")
    name = facts.get("markup")
    if not isinstance(name, str) or name not in MARKUPS:
        raise ValueError(f"no mark-up is named {name!r}; there are {', '.join(sorted(MARKUPS))}")
    return MARKUPS[name]


def markup_of_count(landmarks: int) -> Markup:
    """Return the usual mark-up with that many landmarks.

    Where there is none, it is one without names of which no landmark mirrors into another, which
    will do to count, convert and draw labels, not to train with mirrored pictures.

    Example:
        >>> markup_of_count(98).name, markup_of_count(3).name
        ('face98', 'points3')
    """
    for markup in MARKUPS.values():
        if markup.landmarks == landmarks:
            return markup
    return Markup(name=f"points{landmarks}", landmarks=landmarks, flip=tuple(range(landmarks)))


def read_markup(path: str | Path) -> Markup:
    """Return the mark-up that a YAML file describes, in the terms of `markup_of_content`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no YAML, or describes no mark-up; the message names file and field.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path}: not a YAML file in UTF-8 ({reason})") from error
    return markup_of_content(content, where=str(path))


def markup_of_content(content: Any, *, where: str) -> Markup:
    """Return the mark-up of plain values, as YAML and JSON have them.

    * `name`: what it is called.
    * `landmarks`: how many there are; may be left out where `names` are given.
    * `names`: a different name for each landmark; or left out.
    * `flip`: pairs that change places in a mirror image, the others staying; or the whole
      permutation, one landmark each.
    * `eye_corners`: the pair whose distance is the inter-ocular normaliser; or left out.
    * `eyes`: two lists, the distance of whose centroids is the inter-pupil normaliser; or left out.
    * `pair`: the pair whose distance is the normaliser `pair`, for what is no face; or left out.
    * `groups`: lists by name, for tables; or left out.
    * `edges`: pairs to draw a line between; or left out.

    Landmarks are numbers from 0, or their names.

    Args:
        content: Those fields.
        where: What the content is of, for messages.

    Raises:
        ValueError: If a field is not known, is missing, or does not say what it should; if the
            mirror is not its own inverse, an index out of range or a name there twice. The message
            names it and the field.

    Example:
        >>> mouse = {"name": "mouse", "names": ["nose", "left ear", "right ear"],
        ...          "flip": [["left ear", "right ear"]]}
        >>> markup_of_content(mouse, where="mouse.yaml").flip
        (0, 2, 1)
    """
    if not isinstance(content, Mapping):
        raise ValueError(f"{where}: must hold the fields of a mark-up, got {content!r:.40}")
    unknown = [str(key) for key in content if key not in _FIELDS]
    if unknown:
        raise ValueError(f"{where}: {unknown[0]}: no such field; there are {', '.join(_FIELDS)}")
    return _Reader(content, where).markup()


def content_of_markup(markup: Markup) -> dict[str, Any]:
    """Return a mark-up as plain values, of which `markup_of_content` makes an equal one."""
    content: dict[str, Any] = {
        "name": markup.name,
        "landmarks": markup.landmarks,
        "flip": list(markup.flip),
        "groups": {name: list(group) for name, group in markup.groups.items()},
        "edges": [list(edge) for edge in markup.edges],
    }
    if markup.names:
        content["names"] = list(markup.names)
    if markup.eye_corners is not None:
        content["eye_corners"] = list(markup.eye_corners)
    if markup.pair is not None:
        content["pair"] = list(markup.pair)
    if markup.eyes is not None:
        content["eyes"] = [list(eye) for eye in markup.eyes]
    return content


class _Reader:
    """Takes the fields one by one; what is wrong with one is said with its name."""

    def __init__(self, content: Mapping[Any, Any], where: str) -> None:
        self.content, self.where = content, where
        self.names = self._names()
        self.count = self._count()

    def markup(self) -> Markup:
        """Return the mark-up."""
        name = self.content.get("name")
        if not isinstance(name, str) or not name.strip():
            raise self._wrong("name", "must be what the mark-up is called", name)
        flip = self._flip()
        corners = self._list("eye_corners", 2)
        eyes = self._list("eyes", 2)
        pair = self._list("pair", 2)
        groups = self.content.get("groups") or {}
        if not isinstance(groups, Mapping):
            raise self._wrong("groups", "must be lists of landmarks by name", groups)
        edges = self._list("edges") or []
        return Markup(
            name=name.strip(),
            landmarks=self.count,
            flip=flip,
            eye_corners=None if corners is None else self._pair("eye_corners", corners),
            eyes=None
            if eyes is None
            else (self._indices("eyes", eyes[0]), self._indices("eyes", eyes[1])),
            pair=None if pair is None else self._pair("pair", pair),
            groups={str(key): self._indices("groups", group) for key, group in groups.items()},
            edges=tuple(self._pair("edges", edge) for edge in edges),
            names=self.names,
        )

    def _names(self) -> tuple[str, ...]:
        value = self._list("names") or []
        if not all(isinstance(name, str) and name.strip() for name in value):
            raise self._wrong("names", "must be text", value)
        names = tuple(name.strip() for name in value)
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise self._wrong("names", "must be different ones", twice[0])
        return names

    def _count(self) -> int:
        count = self.content.get("landmarks", len(self.names) or None)
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise self._wrong("landmarks", "must be how many there are, or give names", count)
        if self.names and len(self.names) != count:
            raise self._wrong("names", f"must be {count}, as landmarks says", len(self.names))
        return count

    def _flip(self) -> tuple[int, ...]:
        value = self._list("flip")
        if value is None:
            raise self._wrong(
                "flip", "must be the pairs that mirror into each other, [] for none", None
            )
        if value and not any(isinstance(entry, list) for entry in value):
            flip = self._indices("flip", value)
            if sorted(flip) != list(range(self.count)):
                raise self._wrong(
                    "flip", f"must have each landmark of 0 to {self.count - 1} once", value
                )
        else:
            pairs = [self._pair("flip", entry) for entry in value]
            used = [index for pair in pairs for index in pair]
            twice = [index for index in used if used.count(index) > 1]
            if twice:
                raise self._wrong("flip", "must have each landmark in one pair", twice[0])
            flip = involution(self.count, tuple(pairs))
        wrong = [i for i, j in enumerate(flip) if flip[j] != i]
        if wrong:
            i = wrong[0]
            chain = f"{i} mirrors to {flip[i]}, which mirrors to {flip[flip[i]]}"
            raise self._wrong("flip", "must be its own inverse", chain)
        return flip

    def _list(self, field: str, length: int | None = None) -> list[Any] | None:
        value = self.content.get(field)
        if value is None:
            return None
        if not isinstance(value, list) or (length is not None and len(value) != length):
            raise self._wrong(field, f"must be a list{f' of {length}' if length else ''}", value)
        return value

    def _pair(self, field: str, value: Any) -> tuple[int, int]:
        pair = self._indices(field, value)
        if len(pair) != 2 or pair[0] == pair[1]:
            raise self._wrong(field, "must be pairs of two landmarks", value)
        return pair[0], pair[1]

    def _two(self, field: str, value: list[Any]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return self._indices(field, value[0]), self._indices(field, value[1])

    def _indices(self, field: str, value: Any) -> tuple[int, ...]:
        if not isinstance(value, list):
            raise self._wrong(field, "must be a list of landmarks", value)
        return tuple(self._index(field, entry) for entry in value)

    def _index(self, field: str, value: Any) -> int:
        if isinstance(value, str) and value.strip() in self.names:
            return self.names.index(value.strip())
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < self.count:
            return value
        allowed = f"0 to {self.count - 1}" + (" or their names" if self.names else "")
        raise self._wrong(field, f"landmarks must be {allowed}", value)

    def _wrong(self, field: str, rule: str, value: object) -> ValueError:
        text = repr(value)
        text = text if len(text) <= 60 else text[:60] + "…"
        return ValueError(f"{self.where}: {field}: {rule}, got {text}")
