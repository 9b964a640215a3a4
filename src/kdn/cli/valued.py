"""`kdn predict` with a model of values: labelled data, or pictures, into a table."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from kdn.data import Sample, attribute_columns, join_samples, load_samples
from kdn.data.images import as_rgb
from kdn.predict.boxes import match_boxes, read_boxes
from kdn.predict.detect import detector_for
from kdn.predict.estimator import Estimator, sample_of_place
from kdn.predict.inputs import expand_inputs
from kdn.predict.places import places_of
from kdn.predict.value_columns import predict_values
from kdn.predictions import QUANTILES, Predictions, require_kind, write_predictions

__all__ = ["Valued"]

_SHOWN = 20
"""Rows of the table that is printed where no file is named."""


@dataclass(frozen=True)
class Valued:
    """How values are predicted.

    Args:
        model: The checkpoint's name.
        estimator: What predicts them.
        decoder: Which point of a density is the prediction.
        batch: Crops at a time.
        out: Files to write, `.parquet`, `.csv` or `.json`.

    Raises:
        ValueError: If a file of `out` ends otherwise.
    """

    model: str
    estimator: Estimator
    decoder: str
    batch: int
    out: Sequence[str]

    def __post_init__(self) -> None:
        for target in self.out:  # before hours of work
            require_kind(target)

    def labelled(self, sources: Sequence[str]) -> int:
        """Predict labelled data; return the exit code."""
        problems: list[str] = []
        samples = join_samples([load_samples(s, None, problems=problems) for s in sources])
        if not len(samples):
            raise ValueError("\n".join(["no labelled sample can be used", *problems[:10]]))
        found = self._predict(samples, problems)
        own = {*found.names}
        columns = attribute_columns(samples.from_files(), found.id)
        others = {name: values for name, values in columns.items() if name not in own}
        return self._finish(replace(found, attributes=others), problems)

    def pictures(self, inputs: list[str], boxes: Path | None, detector: str) -> int:
        """Predict pictures; return the exit code."""
        problems: list[str] = []
        names = []
        for entry in expand_inputs(inputs, stdin=sys.stdin):
            if entry.kind == "image":
                names.append(entry.name)
            else:
                reason = entry.reason or f"values cannot be predicted from a {entry.kind} yet"
                problems.append(f"{entry.name}: {reason}")
        given: dict[str, Any] = {}
        if boxes is not None:
            given, unused = match_boxes(read_boxes(boxes, problems=problems), names)
            problems += [f"{name}: boxes of no picture" for name in unused]
        samples = self._places(names, given, detector, problems)
        if not samples:
            raise ValueError("\n".join(problems[:10]) or "no picture to look at")
        return self._finish(self._predict(samples, problems), problems)

    def _places(
        self,
        names: list[str],
        given: dict[str, Any],
        detector: str,
        problems: list[str],
    ) -> list[Sample]:
        """Return a sample for every object in the pictures; no picture is kept."""
        crop = self.estimator.model.recipe.data.crop
        find = detector_for(detector, crop)
        samples = []
        for name in names:
            try:
                found = places_of([as_rgb(Path(name))], [given.get(name)], find, crop)
            except (OSError, ValueError) as error:
                problems.append(str(error))
                continue
            if not found:
                problems.append(f"{name}: no face found")
            for number, place in enumerate(found):
                own = name if len(found) == 1 else f"{name}#{number}"
                samples.append(sample_of_place(Path(name), place, own))
        return samples

    def _predict(self, samples: Sequence[Sample], problems: list[str]) -> Predictions:
        with tqdm(total=len(samples), unit="sample", disable=None) as bar:
            return predict_values(
                self.estimator.model,
                samples,
                decoder=self.decoder,
                batch=self.batch,
                problems=problems,
                progress=bar.update,
                metadata={"checkpoint": self.model, "epoch": self.estimator.facts.get("epoch")},
            )

    def _finish(self, found: Predictions, problems: list[str]) -> int:
        """Write or print predictions, say what was left out, and return the exit code."""
        for target in self.out:
            write_predictions(target, found)
            print(f"{len(found)} samples: {target}")
        if not self.out:
            print(_listing(found))
        for problem in problems:
            print(f"left out: {problem}", file=sys.stderr)
        return 1 if problems else 0


def _listing(found: Predictions) -> str:
    """Return predictions as lines: the value, its deviation and its 90 % interval."""
    low, high = (QUANTILES.index(level) for level in (0.05, 0.95))
    if found.quantiles is None or found.uncertainty is None:
        raise ValueError("found must have quantiles and deviations to be listed, got none")
    lines = []
    for row in range(min(len(found), _SHOWN)):
        said = [
            f"{name} {found.prediction[row, i]:.1f} ± {found.uncertainty[row, i]:.1f} "
            f"({found.quantiles[row, i, low]:.1f} – {found.quantiles[row, i, high]:.1f})"
            for i, name in enumerate(found.names)
        ]
        lines.append(f"{found.id[row]}  {'  '.join(said)}")
    more = len(found) - len(lines)
    return "\n".join([*lines, *([f"… and {more} more; --out writes all"] if more else [])])
