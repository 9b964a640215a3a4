"""What a system scores, and how that is printed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from kdn.evaluate.resamples import interval

__all__ = ["Evaluation", "Score", "json_number", "score_named", "scores_of"]


@dataclass(frozen=True)
class Score:
    """One metric's value.

    Args:
        name: Says the metric, its normaliser or frame, its threshold and its rule.
        value: NaN where it is not defined, infinite where it is infinite.
        low: Lower end of the 95 % interval, NaN without resampling.
        high: Upper end of it.
        unit: `%`, `px`, `nats` or "".
        section: The part of the table it stands in.
        replicates: Its value in every resample; the same resample stands at the same place in the
            scores of every system with the same samples, so that differences can be paired.
    """

    name: str
    value: float
    low: float
    high: float
    unit: str
    section: str
    replicates: Float[np.ndarray, " replicates"] = field(
        default_factory=lambda: np.empty(0), compare=False, repr=False
    )


def scores_of(
    rows: Iterable[tuple[str, tuple[str, str, Float[np.ndarray, " replicates"]]]],
) -> list[Score]:
    """Return scores of sections with a name, a unit, the value and its replicates each."""
    return [
        Score(name, float(values[0]), *interval(values[1:]), unit, section, values[1:])
        for section, (name, unit, values) in rows
    ]


def score_named(scores: Sequence[Score], name: str) -> Score:
    """Return the score of that name.

    Raises:
        KeyError: If there is none; the message lists those there are.
    """
    for score in scores:
        if score.name == name:
            return score
    raise KeyError(f"no score {name!r}; there are {', '.join(s.name for s in scores)}")


@dataclass(frozen=True)
class Evaluation:
    """The scores of one system, in the order of the table.

    Args:
        scores: All that the predictions allow.
        samples: Samples that count.
        labels: Valid labels of these.
        left_out: Ids of samples without a single valid landmark.
        bootstrap: Replicates behind the intervals.
        seed: Of the resampling.
        metadata: The predictions' metadata.
        notes: What is to be said below the table.
        counted: What `labels` counts, in words.
    """

    scores: tuple[Score, ...]
    samples: int
    labels: int
    left_out: tuple[str, ...]
    bootstrap: int
    seed: int
    metadata: Mapping[str, Any]
    notes: tuple[str, ...]
    counted: str = "valid landmarks"

    def __getitem__(self, name: str) -> Score:
        """Return the score of that name.

        Raises:
            KeyError: If there is none; the message lists those there are.
        """
        return score_named(self.scores, name)

    def as_table(self) -> str:
        """Return the scores as plain text, one a line, with notes below."""
        facts = [
            f"{key} {self.metadata[key]}"
            for key in ("markup", "head", "decoder")
            if self.metadata.get(key)
        ]
        size = f"{self.samples} samples, {self.labels} {self.counted}"
        lines = [" · ".join([size, *facts])]
        names = [2 + len(score.name) for score in self.scores]
        width = max([*names, *(len(score.section) for score in self.scores)], default=0)
        title = f"{'value':>9}" + (f"{'95 % interval':>20}" if self.bootstrap else "")
        section = ""
        for score in self.scores:
            if score.section != section:
                section = score.section
                lines += ["", f"{section:<{width}}{title}"]
            lines.append(f"{'  ' + score.name:<{width}}{self._numbers(score)}")
        return "\n".join([*lines, "", *self.notes]).rstrip() + "\n"

    def as_json(self) -> dict[str, Any]:
        """Return everything as JSON types.

        Infinite numbers are the strings "inf" and "-inf", and what is not defined is null, since
        JSON has neither.
        """
        scores = {
            score.name: {
                "value": json_number(score.value),
                "low": json_number(score.low),
                "high": json_number(score.high),
                "unit": score.unit,
            }
            for score in self.scores
        }
        return {
            "samples": self.samples,
            self.counted.split()[-1]: self.labels,
            "left_out": list(self.left_out),
            "bootstrap": self.bootstrap,
            "seed": self.seed,
            "scores": scores,
            "notes": list(self.notes),
            "metadata": dict(self.metadata),
        }

    def _numbers(self, score: Score) -> str:
        """Return a score's part of its line."""
        digits = 2 if score.unit == "%" else 3
        value, low, high = (_text(x, digits) for x in (score.value, score.low, score.high))
        between = f"{low:>10} – {high:<7}" if self.bootstrap else ""
        return f"{value:>9}{between}  {score.unit}".rstrip()


def _text(value: float, digits: int) -> str:
    """Return a number as text."""
    if math.isnan(value):
        return "n/a"
    return f"{value:.{digits}f}".replace("-", "−")


def json_number(value: float) -> float | str | None:
    """Return a number as JSON can hold it."""
    if math.isnan(value):
        return None
    return value if math.isfinite(value) else str(value)
