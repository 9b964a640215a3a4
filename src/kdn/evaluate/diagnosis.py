"""What a diagnosis says, and how that is printed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from jaxtyping import Float

from kdn.evaluate.levels import Uniformity
from kdn.evaluate.scores import Evaluation, Score, json_number, score_named

__all__ = ["Curves", "Diagnosis", "Part"]

_COLUMNS = (
    ("gap", "mean absolute coverage error", 1),
    ("worst", "largest coverage error", 1),
    *((f"{level} %", f"coverage of {level} % regions", 1) for level in (50, 80, 90, 95)),
    *((f"{level} %", f"{level} % intervals hold", 1) for level in (50, 80, 90, 95)),
    ("area 90", "mean area of 90 % regions ÷ box", 3),
    ("NLL", "NLL per crop px²", 2),
    ("NLL", "NLL", 3),
    ("width 90", "width of 90 % intervals", 2),
    ("energy", "energy score", 2),
    ("CRPS", "CRPS", 3),
    ("error", "mean error", 2),
    ("MAE", "MAE", 3),
    ("AURC", "AURC", 2),
    ("AUSE", "AUSE", 3),
    ("Spearman", "Spearman", 3),
)


@dataclass(frozen=True)
class Curves:
    """Curves of one part, with the ends of their 95 % intervals; None for what is not known.

    Args:
        coverage: Share of labels inside the regions of 1, 2, …, 99 %; of scalars the intervals.
        coverage_low: Lower end, NaN without resampling; likewise `…_high` and for the others.
        coverage_high: Upper end.
        histogram: Share of levels in 20 equal parts of [0, 1]; 0.05 each if calibrated.
        histogram_low: As above.
        histogram_high: As above.
        risk: Mean error of the surest 1, 2, …, 100 % of labels.
        risk_low: As above.
        risk_high: As above.
        oracle: The same if those that err least are kept.
    """

    coverage: Float[np.ndarray, " 99"] | None = None
    coverage_low: Float[np.ndarray, " 99"] | None = None
    coverage_high: Float[np.ndarray, " 99"] | None = None
    histogram: Float[np.ndarray, " 20"] | None = None
    histogram_low: Float[np.ndarray, " 20"] | None = None
    histogram_high: Float[np.ndarray, " 20"] | None = None
    risk: Float[np.ndarray, " 100"] | None = None
    risk_low: Float[np.ndarray, " 100"] | None = None
    risk_high: Float[np.ndarray, " 100"] | None = None
    oracle: Float[np.ndarray, " 100"] | None = None


@dataclass(frozen=True)
class Part:
    """The scores of some of the labels.

    Args:
        name: `all`, or the name of the group, the label or the attribute's value.
        kind: `all`, `group`, `label` or `attribute`.
        samples: Samples with at least one of them.
        labels: How many there are.
        scores: In the order of the table.
        uniformity: Test of the levels, None without levels.
        curves: Of coverage, levels and risk.
    """

    name: str
    kind: str
    samples: int
    labels: int
    scores: tuple[Score, ...]
    uniformity: Uniformity | None
    curves: Curves

    def __getitem__(self, name: str) -> Score:
        """Return the score of that name.

        Raises:
            KeyError: If there is none; the message lists those there are.
        """
        return score_named(self.scores, name)

    def value(self, name: str) -> float:
        """Return the value of a score, NaN if there is none of that name."""
        return next((score.value for score in self.scores if score.name == name), math.nan)


@dataclass(frozen=True)
class Diagnosis:
    """The diagnosis of one system.

    Args:
        parts: All labels first, then groups, values of the attribute, and single labels.
        samples: Samples that count.
        left_out: Ids of samples without a single valid landmark.
        bootstrap: Resamples behind the intervals.
        seed: Of the resampling, the ties and the tests.
        metadata: The predictions' metadata.
        notes: What is to be said below the table.
        counted: What `labels` counts, in words.
    """

    parts: tuple[Part, ...]
    samples: int
    left_out: tuple[str, ...]
    bootstrap: int
    seed: int
    metadata: Mapping[str, Any]
    notes: tuple[str, ...]
    counted: str = "valid landmarks"

    def __getitem__(self, name: str) -> Part:
        """Return the part of that name.

        Raises:
            KeyError: If there is none; the message lists those there are.
        """
        for part in self.parts:
            if part.name == name:
                return part
        raise KeyError(f"no part {name!r}; there are {', '.join(p.name for p in self.parts)}")

    def as_table(self) -> str:
        """Return all scores of all labels, then one line a part, as plain text."""
        whole = self.parts[0]
        lines = [self._evaluation(whole).as_table().rstrip()]
        if whole.uniformity is not None:
            lines += ["", "levels uniform: p " + _p(whole.uniformity, equal="= ")]
        width = max(len(part.name) for part in self.parts)
        shown = [column for column in _COLUMNS if any(s.name == column[1] for s in whole.scores)]
        heads = "".join(f"{name:>9}" for name, _, _ in shown)
        for kind in ("group", "attribute", "label"):
            parts = [part for part in self.parts if part.kind == kind]
            if not parts:
                continue
            lines += ["", f"{kind:<{width}}{'count':>8}{'p':>8}{heads}"]
            lines += [_line(part, width, shown) for part in parts]
        return "\n".join([*lines, "", *self.notes]).rstrip() + "\n"

    def as_json(self) -> dict[str, Any]:
        """Return everything as JSON types; curves of all parts but single labels.

        Infinite numbers are the strings "inf" and "-inf", and what is not defined is null.
        """
        return {
            "samples": self.samples,
            "left_out": list(self.left_out),
            "bootstrap": self.bootstrap,
            "seed": self.seed,
            "parts": {part.name: self._part(part) for part in self.parts},
            "notes": list(self.notes),
            "metadata": dict(self.metadata),
        }

    def _part(self, part: Part) -> dict[str, Any]:
        """Return one part as JSON types."""
        content: dict[str, Any] = {
            "kind": part.kind,
            "samples": part.samples,
            self.counted.split()[-1]: part.labels,
            "scores": self._evaluation(part).as_json()["scores"],
        }
        if part.uniformity is not None:
            content["uniformity"] = {
                "statistic": part.uniformity.statistic,
                "p": part.uniformity.p_value,
                "groups": part.uniformity.groups,
                "replicates": part.uniformity.replicates,
            }
        if part.kind != "label":
            content["curves"] = {
                entry.name: [json_number(v) for v in values.tolist()]
                for entry in fields(part.curves)
                if (values := getattr(part.curves, entry.name)) is not None
            }
        return content

    def _evaluation(self, part: Part) -> Evaluation:
        """Return a part in the form of an evaluation, which knows how to be printed."""
        return Evaluation(
            scores=part.scores,
            samples=part.samples,
            labels=part.labels,
            left_out=(),
            bootstrap=self.bootstrap,
            seed=self.seed,
            metadata=self.metadata,
            notes=(),
            counted=self.counted,
        )


def _line(part: Part, width: int, columns: list[tuple[str, str, int]]) -> str:
    """Return a part's line of the table."""
    p_value = "n/a" if part.uniformity is None else _p(part.uniformity)
    cells = [f"{_number(part.value(name), digits):>9}" for _, name, digits in columns]
    return f"{part.name:<{width}}{part.labels:>8}{p_value:>8}{''.join(cells)}"


def _number(value: float, digits: int) -> str:
    """Return a number as text."""
    return "n/a" if math.isnan(value) else f"{value:.{digits}f}".replace("-", "−")


def _p(test: Uniformity, *, equal: str = "") -> str:
    """Return a p-value as text; it cannot be smaller than the draws allow."""
    least = max(0.001, 1 / (1 + test.replicates))
    if test.p_value <= least:
        return f"< {least:.3f}" if equal else f"<{least:.3f}"
    return f"{equal}{test.p_value:.3f}"
