"""`kdn evaluate` with predictions of values."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kdn.data import join_samples, load_samples, sample_scalars
from kdn.data.paths import replacing
from kdn.evaluate.scalars import evaluate_values
from kdn.predictions import Predictions, read_predictions, write_predictions

__all__ = ["ValueScoring", "refuse_for_values"]


@dataclass(frozen=True)
class ValueScoring:
    """How values are scored; see `kdn.evaluate.scalars.evaluate_values`."""

    within: float
    at_least: float | None
    bootstrap: int
    seed: int

    def score(
        self,
        file: Path,
        labels: list[str] | None,
        out: Path | None,
        json_file: Path | None,
        table: Path | None,
        figure: Path | None = None,
    ) -> int:
        """Print and write the scores of a file; return the exit code."""
        problems: list[str] = []
        given = read_predictions(file)
        if labels is not None:
            given = _with_labels(given, file, labels, problems)
        elif out is not None:
            raise ValueError("--out is for predictions without labels, together with --labels")
        try:
            result = evaluate_values(
                given,
                within=self.within,
                at_least=self.at_least,
                bootstrap=self.bootstrap,
                seed=self.seed,
            )
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from error
        if out is not None:
            write_predictions(out, given)
        text = result.as_table()
        if table is not None:
            with replacing(table) as temporary:
                temporary.write_text(text + "\n", encoding="utf-8")
        if json_file is not None:
            with replacing(json_file) as temporary:
                said = json.dumps(result.as_json(), indent=2)
                temporary.write_text(said + "\n", encoding="utf-8")
        if figure is not None:
            _draw(given, figure)
        print(text)
        for problem in problems:
            print(f"left out: {problem}", file=sys.stderr)
        return 1 if problems else 0


def _draw(given: Predictions, path: Path) -> None:
    """Draw predictions to a file."""
    from kdn.figures.values import values_figure  # matplotlib takes a second to import

    kind = path.suffix.lstrip(".").lower() or "png"
    drawn = values_figure(given)
    with replacing(path) as temporary:
        drawn.savefig(temporary, format=kind, dpi=200, facecolor="white")


def refuse_for_values(file: Path, flags: Mapping[str, Any]) -> None:
    """Raise if a flag was given that is for landmarks only.

    Args:
        file: What holds values.
        flags: The flags with their values, None or False where not given.
    """
    for flag, value in flags.items():
        if value is not None and value is not False:
            raise ValueError(f"{flag} is for landmarks, but {file} holds values")


def _with_labels(
    given: Predictions, file: Path, sources: list[str], problems: list[str]
) -> Predictions:
    """Return predictions with the labels of sources, by the ids of their samples."""
    samples = join_samples([load_samples(s, None, problems=problems) for s in sources])
    rows = {name: row for row, name in enumerate(given.id)}
    if len(rows) < len(given):
        twice = next(name for row, name in enumerate(given.id) if rows[name] != row)
        raise ValueError(f"{file}: id {twice!r} is there twice")
    target = np.full(given.prediction.shape, np.nan)
    known = 0
    for index in range(len(samples)):
        sample = samples[index]
        if sample.id in rows:
            known += 1
            try:
                target[rows[sample.id]] = sample_scalars(sample, given.names)
            except ValueError as error:
                problems.append(str(error))
    if not known and len(samples):
        raise ValueError(
            f"{file}: no id is that of a labelled sample: {given.id[0]!r} there, "
            f"{samples[0].id!r} in the labels"
        )
    return given.with_labels(target)
