"""Mark-ups: what the landmarks of a data set are called and how they mirror."""

from kdn.markup.bodies import BODY17
from kdn.markup.content import content_of_markup, markup_of_content, read_markup
from kdn.markup.faces import FACE5, FACE19, FACE29, FACE68, FACE98, XM2VTS68
from kdn.markup.markup import Markup
from kdn.markup.named import (
    MARKUPS,
    facts_of_markup,
    markup_named,
    markup_of_count,
    markup_of_facts,
)

__all__ = [
    "BODY17",
    "FACE5",
    "FACE19",
    "FACE29",
    "FACE68",
    "FACE98",
    "MARKUPS",
    "XM2VTS68",
    "Markup",
    "content_of_markup",
    "facts_of_markup",
    "markup_named",
    "markup_of_content",
    "markup_of_count",
    "markup_of_facts",
    "read_markup",
]
