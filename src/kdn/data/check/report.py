"""A check of data as text to read, and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from kdn.data.check.check import DataReport, Duplicates, SourceReport

__all__ = ["as_json", "as_text"]

_QUANTILES = (0.05, 0.5, 0.95)
_SHOWN = 10

_LINES = {
    "width": ("box width", " px", "{:.0f}"),
    "height": ("box height", " px", "{:.0f}"),
    "share": ("box, share of the picture's side", "", "{:.2f}"),
    "roll": ("roll, from the eyes", "°", "{:+.0f}"),
    "yaw": ("yaw stand-in (0 frontal, ±½ far turned)", "", "{:+.2f}"),
}


def as_text(report: DataReport) -> str:
    """Return a report for a person to read."""
    lines = [line for source in report.sources for line in _source_lines(source)]
    return "\n".join([*lines, *_duplicate_lines(report)])


def as_json(report: DataReport) -> dict[str, Any]:
    """Return a report as JSON types; a number that is not known is null."""
    return {
        "sources": [_source_json(source) for source in report.sources],
        "duplicates": [
            {
                "pictures": [list(picture) for picture in group.pictures],
                "same_faces": [list(pair) for pair in group.same_faces],
            }
            for group in report.duplicates
        ],
    }


def _source_lines(source: SourceReport) -> Iterator[str]:
    name = source.markup.name if source.markup else "?"
    total, valid, visible = source.landmarks
    what = f"faces of {name}" if total or not source.faces else "samples without landmarks"
    yield f"{source.source}: {source.faces} {what} in {source.pictures} pictures"
    if total:
        yield (
            f"  landmarks: {100 * valid / total:.1f} % have a position, "
            f"{100 * visible / max(valid, 1):.1f} % of these can be seen"
        )
    for fact, (label, unit, form) in _LINES.items():
        low, middle, high = (form.format(value) for value in _quantiles(source, fact))
        if "nan" not in middle:
            yield f"  {label}: median {middle}{unit}, 5 % below {low}{unit}, 5 % above {high}{unit}"
    missed = int((source.faces_of["missed"] > 0.2).sum())
    if missed:
        yield f"  boxes that miss over a fifth of their landmarks: {missed}"
    outside = source.faces_of["outside"]
    faces = int((outside > 0).sum())
    if faces:
        yield (
            f"  outside their picture: {int(np.nansum(outside))} landmarks of {faces} faces, "
            f"the farthest by {np.nanmax(source.faces_of['farthest']):.1f} px ({source.worst})"
        )
    for label, values in source.numbers.items():
        low, middle, high = _range(values)
        yield f"  {label}: {len(values)} values from {low:g} to {high:g}, median {middle:g}"
    if source.problems:
        yield f"  cannot be used: {len(source.problems)}"


def _duplicate_lines(report: DataReport) -> Iterator[str]:
    if not report.duplicates:
        yield "no picture is there twice, no face is labelled twice"
    between = [group for group in report.duplicates if group.between]
    rest = [group for group in report.duplicates if not group.between]
    within = [group for group in rest if len(group.pictures) > 1]
    alone = [group for group in rest if len(group.pictures) == 1]
    kinds = {"in several sources": between, "under several names": within, "there once": alone}
    for where, groups in kinds.items():
        if groups:
            same = sum(len(group.same_faces) for group in groups)
            yield f"pictures {where}: {len(groups)}, with {same} pairs of labels of one face"
            yield from (f"  {_names(group)}" for group in groups[:_SHOWN])
            if len(groups) > _SHOWN:
                yield f"  … and {len(groups) - _SHOWN} more"


def _names(group: Duplicates) -> str:
    """Return where a picture is, its sources if there are several."""
    if group.between:
        return ", ".join(f"{name} ({source})" for source, name in group.pictures)
    return ", ".join(name for _, name in group.pictures)


def _quantiles(source: SourceReport, fact: str) -> list[float]:
    """Return the 5, 50 and 95 % quantiles of a fact, NaN where no face has it."""
    values = source.faces_of[fact]
    values = values[np.isfinite(values)]
    return [float(np.quantile(values, q)) if len(values) else np.nan for q in _QUANTILES]


def _range(values: np.ndarray) -> list[float]:
    """Return the least, the median and the largest value of an attribute."""
    return [float(values.min()), float(np.median(values)), float(values.max())]


def _source_json(source: SourceReport) -> dict[str, Any]:
    total, valid, visible = source.landmarks
    quantiles = {fact: _quantiles(source, fact) for fact in _LINES}
    return {
        "source": source.source,
        "markup": source.markup.name if source.markup else None,
        "faces": source.faces,
        "pictures": source.pictures,
        "landmarks": {"all": total, "valid": valid, "visible": visible},
        "quantiles": {
            fact: [None if np.isnan(value) else value for value in values]
            for fact, values in quantiles.items()
        },
        "boxes_that_miss_landmarks": int((source.faces_of["missed"] > 0.2).sum()),
        "outside": {
            "landmarks": int(np.nansum(source.faces_of["outside"])),
            "faces": int((source.faces_of["outside"] > 0).sum()),
            "worst": source.worst,
        },
        "attributes": {
            name: {
                "values": len(values),
                **dict(zip(("min", "median", "max"), _range(values), strict=True)),
            }
            for name, values in source.numbers.items()
        },
        "problems": list(source.problems),
    }
