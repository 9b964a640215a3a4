"""Mark-ups by name, by file and by number of landmarks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from kdn.data.markup.bodies import BODY17
from kdn.data.markup.content import content_of_markup, markup_of_content, read_markup
from kdn.data.markup.faces import FACE5, FACE19, FACE29, FACE68, FACE98, XM2VTS68
from kdn.data.markup.markup import Markup

__all__ = ["MARKUPS", "facts_of_markup", "markup_named", "markup_of_count", "markup_of_facts"]

MARKUPS: Mapping[str, Markup] = {
    markup.name: markup for markup in (FACE68, FACE98, FACE29, FACE19, FACE5, XM2VTS68, BODY17)
}
"""The mark-ups of the package, by name; of two with as many landmarks the usual one is first."""


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


def _described(given: str | Mapping[str, Any]) -> Markup:
    """Return the mark-up of a mapping, or of JSON text of one."""
    try:
        content = json.loads(given) if isinstance(given, str) else given
    except ValueError as error:
        raise ValueError(f"markup: is no JSON ({error}), got {given!r:.60}") from error
    return markup_of_content(content, place="markup")


def _own(markup: Markup, place: str) -> Markup:
    """Return a mark-up whose name is not that of another one of the package."""
    if markup != MARKUPS.get(markup.name, markup):
        raise ValueError(f"{place}: name: {markup.name} is the package's own, choose another")
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
        return markup_of_content(content, place="markup_content")
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
