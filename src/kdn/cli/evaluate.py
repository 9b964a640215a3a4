"""`kdn evaluate`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from kdn.cli.command import Command
from kdn.evaluate import evaluate
from kdn.files import replacing
from kdn.predictions import read_predictions

__all__ = ["EVALUATE"]


def _evaluate(
    predictions: Path,
    json_file: Path | None = None,
    table: Path | None = None,
    decoder: str | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
) -> int:
    """Score predictions against their labels.

    Args:
        predictions: A Parquet file with labels.
        json_file: Write the scores here too, as JSON.
        table: Write the table here too.
        decoder: Score the points of this decoder's column instead of the prediction's.
        bootstrap: Resamples of the 95 % intervals; 0 for none.
        seed: Seed of the resampling.
    """
    given = read_predictions(predictions)
    if decoder is not None:
        if decoder not in given.decoders:
            raise ValueError(f"{predictions}: column {decoder!r} is missing")
        metadata = {**given.metadata, "decoder": decoder}
        given = replace(given, landmarks=given.decoders[decoder], metadata=metadata)
    result = evaluate(given, bootstrap=bootstrap, seed=seed)
    text = result.as_table()
    if table is not None:
        _write_text(table, text + "\n")
    if json_file is not None:
        _write_text(json_file, json.dumps(result.as_json(), indent=2) + "\n")
    print(text)
    return 0


def _write_text(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


EVALUATE = Command(
    _evaluate,
    "score predictions against their labels",
    {
        "predictions": {"type": Path, "help": "A Parquet file with labels."},
        "--json": {
            "dest": "json_file",
            "type": Path,
            "help": "Write the scores here too, as JSON.",
        },
    },
)
