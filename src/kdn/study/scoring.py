"""Predictions and scores of a run, kept in its folder so that they are made once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from safetensors.numpy import load_file, save_file

from kdn.data import Sample, Selection, join_samples, load_samples
from kdn.data.markup import Markup, markup_of_facts
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
from kdn.study.plan import digest

__all__ = ["Scores", "maps_of", "predict_run", "samples_of", "score_run"]

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


def _of_these_faces(given: Predictions, sources: Sequence[str]) -> bool:
    """Return whether predictions are of the faces that the sources hold now."""
    if all(source.startswith("synthetic:") for source in sources):
        return True  # they cannot change, and would have to be drawn to be compared
    samples = samples_of(sources, markup_of_facts(given.metadata))
    return given.id == tuple(sample.id for sample in samples)


def score_run(folder: Path, sources: Sequence[str], *, bootstrap: int) -> Scores:
    """Return the scores of a run's predictions, from its folder if they are there."""
    given = predict_run(folder, sources)
    path = folder / f"scores-{digest([*sources, bootstrap, *given.id])}.safetensors"
    if not path.is_file():
        scores = evaluate(given, bootstrap=bootstrap).scores
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
