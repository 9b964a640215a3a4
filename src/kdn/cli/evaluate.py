"""`kdn evaluate`."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

from kdn.cli.scored_values import ValueScoring, refuse_for_values
from kdn.data import join_samples, load_samples, source_markup
from kdn.data.markup import FACE68
from kdn.data.paths import replacing
from kdn.evaluate import landmarks as landmark_scores
from kdn.evaluate.calibration import Diagnosis, diagnose
from kdn.predictions import (
    Predictions,
    Targets,
    add_labels,
    holds_scalars,
    read_predictions,
    read_published,
    write_predictions,
)
from kdn.predictions.labels import offset_note

__all__ = ["evaluate"]


def evaluate(
    predictions: Path,
    *,
    labels: list[str] | None = None,
    first_pixel: float | None = None,
    out: Path | None = None,
    json_: Path | None = None,
    table: Path | None = None,
    decoder: str | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
    calibration: bool = False,
    by: str | None = None,
    figure: Path | None = None,
    within: float = 5.0,
    at_least: float | None = None,
) -> int:
    """Score predictions against their labels.

    Args:
        predictions: A Parquet file, or with --labels also a CSV or JSON file or a folder of .pts
            files from another system.
        labels: Folders of pictures with .pts files, or other sources of labelled data; for
            predictions without labels.
        first_pixel: Coordinate of the first pixel's centre in the CSV, JSON or .pts files: 0, 1 or
            0.5; 1 in .pts files and 0 in others if left out.
        out: Write the predictions with their labels to this Parquet file.
        json_: Write the scores here too, as JSON.
        table: Write the table here too.
        decoder: Score the points of this decoder's column instead of the prediction's.
        bootstrap: Resamples of the 95 % intervals; 0 for none.
        seed: Seed of the resampling.
        calibration: Say too whether the densities are calibrated, for all landmarks, by group and
            by landmark.
        by: With --calibration, tell landmarks apart by this column of the file too: visible, or
            one of your own that holds a string, boolean or number a face (numbers by quartiles).
        figure: With --calibration, draw coverage, levels, sparsification and risk to this file
            (.png, .pdf or .svg); of values without it, their PIT, coverage, errors and intervals.
        within: Of values, score the share of errors of at most this, in the label's unit.
        at_least: Of values, score by F1 which are this or more.
    """
    if holds_scalars(predictions, labelled=labels is not None):
        landmarks = {"--first-pixel": first_pixel, "--calibration": calibration}
        landmarks |= {"--decoder": decoder, "--by": by}
        refuse_for_values(predictions, landmarks)
        scoring = ValueScoring(within, at_least, bootstrap, seed)
        return scoring.score(predictions, labels, out, json_, table, figure)
    if at_least is not None:
        raise ValueError(f"--at-least is for values, but {predictions} holds none")
    if not calibration and (by is not None or figure is not None):
        raise ValueError(f"--{'by' if by is not None else 'figure'} is for --calibration")
    notes: list[str] = []
    problems: list[str] = []
    if labels is not None:
        if out is not None and out.suffix != ".parquet":
            raise ValueError(f"out must name a .parquet file, got {out}")
        given, notes = _with_labels(predictions, labels, first_pixel, problems)
        if out is not None:
            write_predictions(out, given)
    else:
        given = _with_own_labels(predictions, first_pixel, out)
    if decoder is not None:
        if decoder not in given.decoders:
            raise ValueError(f"{predictions}: column {decoder!r} is missing")
        metadata = {**given.metadata, "decoder": decoder}
        if decoder != given.metadata.get("decoder"):
            given = given.with_prediction(given.decoders[decoder], metadata=metadata)
    result = landmark_scores.evaluate(given, bootstrap=bootstrap, seed=seed)
    result = replace(result, notes=(*notes, *result.notes))
    text, said = result.as_table(), result.as_json()
    if calibration:
        found = _diagnosis(given, by, bootstrap, seed)
        text, said = f"{text}\n{found.as_table()}", {**said, "calibration": found.as_json()}
        if figure is not None:
            _draw(found, figure)
    if table is not None:
        _write_text(table, text + "\n")
    if json_ is not None:
        _write_text(json_, json.dumps(said, indent=2) + "\n")
    print(text)
    for problem in problems:
        print(f"left out: {problem}", file=sys.stderr)
    return 1 if problems else 0


def _diagnosis(given: Predictions, by: str | None, bootstrap: int, seed: int) -> Diagnosis:
    """Return the diagnosis, with landmarks told apart by a column or an attribute."""
    values = given.attribute(by) if by and getattr(given, by, None) is None else None
    return diagnose(given, by=by, values=values, bootstrap=bootstrap, seed=seed)


def _draw(found: Diagnosis, path: Path) -> None:
    """Draw a diagnosis to a file."""
    from kdn.figures import calibration_figure  # matplotlib takes a second to import

    with replacing(path) as temporary:
        drawn = calibration_figure(found)
        kind = path.suffix.lstrip(".").lower() or "png"
        drawn.savefig(temporary, format=kind, dpi=200, facecolor="white")


def _published(file: Path) -> bool:
    """Return whether predictions come from another system, not in a Parquet file of ours."""
    return file.is_dir() or file.suffix.lower() in (".csv", ".json")


def _with_own_labels(file: Path, first_pixel: float | None, out: Path | None) -> Predictions:
    """Return the predictions of a Parquet file that holds its labels."""
    if first_pixel is not None or out is not None:
        flag = "--out" if first_pixel is None else "--first-pixel"
        raise ValueError(f"{flag} is for predictions without labels, together with --labels")
    given = None if _published(file) else read_predictions(file)
    if given is None or given.target is None:
        raise ValueError(f"{file}: has no labels, name them with --labels")
    return given


def _with_labels(
    file: Path, sources: list[str], first_pixel: float | None, problems: list[str]
) -> tuple[Predictions, list[str]]:
    """Return predictions joined with the labels of the sources, and notes for the table."""
    parts = [load_samples(source, None, problems=problems) for source in sources]
    samples = join_samples(parts)
    markup = source_markup(sources[0], samples) if len(samples) else FACE68
    if _published(file):
        given, places = read_published(file, markup, first_pixel=first_pixel, problems=problems)
    elif first_pixel is not None:
        raise ValueError("--first-pixel is not for Parquet files, which count from 0")
    else:
        given = read_predictions(file)
        places = [f"{file}: row {row}" for row in range(len(given))]
    labels = Targets.of_samples(samples, markup)
    try:
        given = add_labels(given, labels, places=places, problems=problems)
    except ValueError as error:
        raise ValueError("\n".join([f"{file}: {error}", *problems[:10]])) from error
    notes = []
    missing = len(labels.ids) - len(given)
    if missing:
        notes.append(f"Not scored for want of a prediction: {missing} of {len(labels.ids)} faces.")
    if given.target is not None:
        notes.append(offset_note(given.prediction, given.target))
    return given, [note for note in notes if note]


def _write_text(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
