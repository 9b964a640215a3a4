"""Mark-ups: what the landmarks of a data set are called and how they mirror."""

from kdn.data.markup.known import (
    BODY17,
    FACE5,
    FACE19,
    FACE29,
    FACE68,
    FACE98,
    MARKUPS,
    XM2VTS68,
)
from kdn.data.markup.markup import Markup
from kdn.data.markup.named import (
    content_of_markup,
    facts_of_markup,
    markup_named,
    markup_of_content,
    markup_of_count,
    markup_of_facts,
    read_markup,
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
