"""What a study compares, and what the folders of its runs hold: predictions, scores, maps, logs."""

from __future__ import annotations

import csv
from collections.abc import Collection, Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from safetensors.numpy import load_file, save_file

from kdn.data import Sample, Selection, join_samples, load_samples
from kdn.data.markup import Markup, markup_named, markup_of_facts
from kdn.data.paths import replacing
from kdn.evaluate import evaluate
from kdn.models.checkpoint import load_model
from kdn.predict.columns import maps_of_samples, predict
from kdn.predict.predictor import Predictor
from kdn.predictions import (
    Maps,
    Predictions,
    read_maps,
    read_predictions,
    write_maps,
    write_predictions,
)
from kdn.study.plan import METHODS, Plan, Run, digest

__all__ = [
    "Results",
    "Scores",
    "Study",
    "collect",
    "finished",
    "losses",
    "maps_of",
    "predict_run",
    "run_folder",
    "samples_of",
    "score_run",
    "seconds",
]


Scores = Mapping[str, Float[np.ndarray, " _"]]
"""By name: the score of the samples themselves, then that of every resample."""


def samples_of(sources: Sequence[str], markup: Markup) -> Selection:
    """Return the samples of several sources as one sequence."""
    return join_samples([load_samples(source, markup) for source in sources])


def predict_run(folder: Path, sources: Sequence[str], *, accelerator: str = "auto") -> Predictions:
    """Return a run's predictions for sources, from its folder if they are there.

    They are made again if the sources hold other faces by now.
    """
    path = folder / f"predictions-{digest(list(sources))}.parquet"
    if path.is_file():
        known = read_predictions(path)
        if _of_these_faces(known, sources):
            return known
    model, facts = load_model(folder / "best.safetensors")
    model.to(_device(accelerator))
    samples = samples_of(sources, model.labels.markup)
    checkpoint = (folder / "best.safetensors").as_posix()
    metadata = {"checkpoint": checkpoint, "epoch": facts.get("epoch")}
    write_predictions(path, predict(Predictor(model, flip=False), samples, metadata=metadata))
    return read_predictions(path)


def _of_these_faces(predictions: Predictions, sources: Sequence[str]) -> bool:
    """Return whether predictions are of the faces that the sources hold now."""
    if all(source.startswith("synthetic:") for source in sources):
        return True  # they cannot change, and would have to be drawn to be compared
    samples = samples_of(sources, markup_of_facts(predictions.metadata))
    return predictions.id == tuple(sample.id for sample in samples)


def score_run(folder: Path, sources: Sequence[str], *, bootstrap: int) -> Scores:
    """Return the scores of a run's predictions, from its folder if they are there."""
    predictions = predict_run(folder, sources)
    path = folder / f"scores-{digest([*sources, bootstrap, *predictions.id])}.safetensors"
    if not path.is_file():
        scores = evaluate(predictions, bootstrap=bootstrap).scores
        tensors = {s.name: np.concatenate([[s.value], s.replicates]) for s in scores}
        with replacing(path) as temporary:
            save_file(tensors, temporary)
    return load_file(path)


def maps_of(
    folder: Path, samples: Sequence[Sample], names: Sequence[str], sources: Sequence[str]
) -> Maps:
    """Return the heatmaps of some samples of sources, from the run's folder if they are there.

    Args:
        folder: Of the run.
        samples: All samples of the sources.
        names: Ids of those that are wanted.
        sources: What the samples were read from.
    """
    path = folder / f"maps-{digest([*sources, *names])}.safetensors"
    if not path.is_file():
        model, _ = load_model(folder / "best.safetensors")
        wanted = [sample for sample in samples if sample.id in set(names)]
        maps = maps_of_samples(Predictor(model, flip=False), wanted)
        if maps is None:
            raise ValueError(f"{folder}: the head has no maps")
        write_maps(path, maps)
    return read_maps(path)


def _device(accelerator: str) -> torch.device:
    """Return where predictions are made."""
    gpu = accelerator in ("auto", "cuda", "gpu") and torch.cuda.is_available()
    return torch.device("cuda" if gpu else "cpu")


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


def run_folder(out: Path, run: Run) -> Path:
    """Return the folder of a run within that of a study."""
    return out / "runs" / run.folder


def finished(folder: Path, run: Run) -> bool:
    """Return whether a folder holds the checkpoint of a run after its last epoch."""
    if not (folder / "best.safetensors").is_file() or not (folder / "log.csv").is_file():
        return False
    return len(losses(folder)) == run.recipe.optimise.epochs


def losses(folder: Path) -> list[float]:
    """Return the training loss of every epoch of a run."""
    return [float(row["loss"]) for row in _log(folder)]


def seconds(folder: Path) -> float:
    """Return how long a run trained."""
    return sum(float(row["seconds"]) for row in _log(folder))


def _log(folder: Path) -> Collection[dict[str, str]]:
    with open(folder / "log.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
