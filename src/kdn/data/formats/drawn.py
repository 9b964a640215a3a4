"""Faces that are drawn when they are asked for."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

from kdn.data.formats.format import Format
from kdn.data.markup import FACE68, Markup
from kdn.data.synthetic.expressions import SyntheticExpressions
from kdn.data.synthetic.faces import SyntheticFaces

__all__: list[str] = []

_COUNT_AND_SEED = re.compile(r"(\d+):(\d+)")


def _drawn(
    name: str,
    faces: type[SyntheticFaces],
    path: Path,
    markup: Markup | None,
    *,
    problems: list[str] | None,
) -> SyntheticFaces:
    match = _COUNT_AND_SEED.fullmatch(str(path))
    if match is None:
        raise ValueError(f"source must be {name}:COUNT:SEED, got {f'{name}:{path}'!r}")
    if markup is not None and markup.name != FACE68.name:
        raise ValueError(f"synthetic faces have the mark-up {FACE68.name}, not {markup.name}")
    return faces(int(match[1]), seed=int(match[2]))


SYNTHETIC, EXPRESSIONS = (
    Format(name, "COUNT:SEED", partial(_drawn, name, faces), markup=FACE68)
    for name, faces in (("synthetic", SyntheticFaces), ("expressions", SyntheticExpressions))
)
