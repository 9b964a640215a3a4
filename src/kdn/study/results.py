"""What a study compares, and what its finished runs gave."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kdn.data import Selection
from kdn.data.markup import Markup, markup_named
from kdn.predictions import Maps, Predictions
from kdn.study.plan import METHODS, Plan, Run
from kdn.study.scoring import Scores, maps_of, predict_run, score_run
from kdn.study.training import finished, run_folder

__all__ = ["Results", "Study", "collect"]


@dataclass(frozen=True)
class Study:
    """What is compared, on what, and how it is introduced.

    Args:
        plan: The trainings.
        test: Sources that are scored.
        occluded: Sources with labels of what is hidden; empty where the test data have them.
        title: Of the report.
        preface: Said first in it.
        bootstrap: Resamples of the intervals.
    """

    plan: Plan
    test: tuple[str, ...]
    occluded: tuple[str, ...] = ()
    title: str = "Kernel density networks: a study"
    preface: str = ""
    bootstrap: int = 1000


@dataclass(frozen=True)
class Results:
    """What the finished runs gave.

    Args:
        study: Of which.
        folder: Where the runs lie.
        samples: The test samples.
        scores: By method, of each seed.
        first: By method, predictions of the first seed.
        failed: Folders of runs that failed.
    """

    study: Study
    folder: Path
    samples: Selection
    scores: Mapping[str, list[Scores]]
    first: Mapping[str, Predictions]
    failed: Container[str]

    @property
    def markup(self) -> Markup:
        """What the landmarks are."""
        return markup_named(self.study.plan.base.data.markup)

    def path(self, run: Run) -> Path:
        """Return the folder of a run."""
        return run_folder(self.folder, run)

    def maps(self, keys: Sequence[str], names: Sequence[str]) -> dict[str, Maps]:
        """Return heatmaps of faces by method, for methods that have maps and a first seed."""
        sources = self.study.test
        return {
            key: maps_of(self.path(self.study.plan.of_method(key)[0]), self.samples, names, sources)
            for key in keys
            if key in self.first and not METHODS[key].vector
        }


def collect(study: Study, out: Path, samples: Selection, failed: Container[str]) -> Results:
    """Return what the finished runs gave; seeds behind one that failed do not count.

    Args:
        study: Of which.
        out: Its folder.
        samples: The test samples.
        failed: Folders of runs that failed, in training or when they were scored.
    """
    scores: dict[str, list[Scores]] = {}
    first: dict[str, Predictions] = {}
    for key in study.plan.methods:
        for run in study.plan.of_method(key):
            folder = run_folder(out, run)
            if run.folder in failed or not finished(folder, run):
                break
            scores.setdefault(key, []).append(
                score_run(folder, study.test, bootstrap=study.bootstrap)
            )
            if run.seed == 0:
                first[key] = predict_run(folder, study.test)
    return Results(study, out, samples, scores, first, failed)
