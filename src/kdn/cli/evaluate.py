"""`kdn evaluate`."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

from kdn.data.formats.sources import load_samples, source_markup
from kdn.data.markup import FACE68
from kdn.data.paths import replacing
from kdn.data.split import join_samples
from kdn.evaluate import Diagnosis, diagnose, scoring
from kdn.predictions import Predictions, Targets, add_labels, read_any, write_predictions
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
        predictions: A Parquet file, a CSV file of scalars, or with --labels also a CSV or JSON
            file of landmarks or a folder of .pts files from another system.
        labels: Folders of pictures with .pts files, or other sources of labelled data; for
            predictions without labels.
        first_pixel: Coordinate of the first pixel's centre in the CSV, JSON or .pts files: 0, 1 or
            0.5; 1 in .pts files and 0 in others if left out.
        out: With --labels, write the predictions with their labels to this file.
        json_: Write the scores here too, as JSON.
        table: Write the table here too.
        decoder: Score the prediction of this decoder's column instead.
        bootstrap: Resamples of the 95 % intervals; 0 for none.
        seed: Seed of the resampling.
        calibration: Say too whether the densities are calibrated, for all labels, by group and by
            label.
        by: Say so by this column of the file too: visible, or one of your own that holds a string,
            boolean or number a sample (numbers by quartiles).
        figure: Draw coverage, levels, sparsification and risk to this file (.png, .pdf or .svg).
        within: Of scalars, score the share of errors of at most this, in the label's unit.
        at_least: Of scalars, score by F1 which are this or more.
    """
    if out is not None and labels is None:
        raise ValueError(f"--out writes predictions with the labels of --labels, got only {out}")
    problems: list[str] = []
    record, notes = _read(predictions, labels, first_pixel, problems)
    try:
        if decoder is not None:
            record = _decoded(record, decoder)
        result = scoring.evaluate(
            record, bootstrap=bootstrap, seed=seed, within=within, at_least=at_least
        )
        diagnosis = None
        if calibration or by is not None or figure is not None:
            diagnosis = diagnose(record, by=by, bootstrap=bootstrap, seed=seed)
    except ValueError as error:
        raise ValueError(f"{predictions}: {error}") from error
    if out is not None:
        write_predictions(out, record)
    result = replace(result, notes=(*notes, *result.notes))
    text, scores = result.as_table(), result.as_json()
    if diagnosis is not None:
        text = f"{text}\n{diagnosis.as_table()}"
        scores = {**scores, "calibration": diagnosis.as_json()}
    if figure is not None and diagnosis is not None:
        _draw(diagnosis, figure)
    for path, content in ((table, text), (json_, json.dumps(scores, indent=2))):
        if path is not None:
            with replacing(path) as temporary:
                temporary.write_text(content + "\n", encoding="utf-8")
    print(text)
    for problem in problems:
        print(f"left out: {problem}", file=sys.stderr)
    return 1 if problems else 0


def _read(
    file: Path, sources: list[str] | None, first_pixel: float | None, problems: list[str]
) -> tuple[Predictions, list[str]]:
    """Return predictions with labels, their own or those of sources, and notes for the table."""
    if sources is None:
        record, _ = read_any(file, FACE68, first_pixel=first_pixel, problems=problems)
        if record.target is None:
            raise ValueError(f"{file}: has no labels, name them with --labels")
        return record, []
    samples = join_samples([load_samples(s, None, problems=problems) for s in sources])
    markup = source_markup(sources[0], samples) if len(samples) else FACE68
    record, places = read_any(file, markup, first_pixel=first_pixel, problems=problems)
    targets = Targets.of_samples(samples, record, markup, problems)
    try:
        record = add_labels(record, targets, places=places, problems=problems)
    except ValueError as error:
        raise ValueError("\n".join([f"{file}: {error}", *problems[:10]])) from error
    missing = len(targets.ids) - len(record)
    counted = f"Not scored for want of a prediction: {missing} of {len(targets.ids)} samples."
    return record, [note for note in (counted if missing else "", offset_note(record)) if note]


def _decoded(record: Predictions, decoder: str) -> Predictions:
    """Return predictions whose prediction is that of a decoder's column."""
    if decoder not in record.decoders:
        raise ValueError(f"column {decoder!r} is missing")
    if decoder == record.metadata.get("decoder"):
        return record
    metadata = {**record.metadata, "decoder": decoder}
    return record.with_prediction(record.decoders[decoder], metadata=metadata)


def _draw(diagnosis: Diagnosis, path: Path) -> None:
    """Draw a diagnosis to a file."""
    from kdn.figures import calibration_figure  # matplotlib takes a second to import

    with replacing(path) as temporary:
        kind = path.suffix.lstrip(".").lower() or "png"
        drawn = calibration_figure(diagnosis)
        drawn.savefig(temporary, format=kind, dpi=200, facecolor="white")
