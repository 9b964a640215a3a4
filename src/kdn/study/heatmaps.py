"""What maps show: entropy at hidden landmarks, shape at the boundary, the gradient of the loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from kdn.data import CropDataset, Sample
from kdn.data.markup import Markup
from kdn.evaluate import (
    Resamples,
    axis_angle,
    contour_tangents,
    crop_log_prob,
    elongation,
    interval,
)
from kdn.models.checkpoint import load_model
from kdn.models.model import Model, build_model
from kdn.predictions import Maps, Predictions, core_covariances
from kdn.recipe import Recipe
from kdn.study.plan import METHODS
from kdn.study.report import Table, number
from kdn.train import kept_path

__all__ = [
    "KEPT_EPOCH",
    "boundary_table",
    "crop_of",
    "gradient_stages",
    "hidden_faces",
    "loss_gradient",
    "occlusion_table",
    "seen_faces",
]


_ALONG = 30.0
"""Degrees within which an axis counts as lying along the contour; a third of all do by chance."""


def occlusion_table(
    named: Mapping[str, Predictions], where: str, *, bootstrap: int
) -> Table | None:
    """Return how much flatter densities are at hidden landmarks; None if none is hidden.

    Args:
        named: By method: predictions of the same samples.
        where: What the samples are, for the title.
        bootstrap: Resamples of the intervals.
    """
    rows = []
    for key, predictions in named.items():
        valid, visible = predictions.valid, predictions.visible
        if (
            predictions.entropy is None
            or predictions.crop_to_image is None
            or valid is None
            or visible is None
        ):
            continue
        hidden = valid & ~visible
        if not hidden.any() or not (valid & visible).any():
            return None
        entropy = -crop_log_prob(-predictions.entropy, predictions.crop_to_image)
        within = entropy - np.nanmean(np.where(valid, entropy, np.nan), axis=0)
        rows.append(
            [
                METHODS[key].title,
                number(float(entropy[hidden].mean()), 2),
                number(float(entropy[valid & visible].mean()), 2),
                _ranked(entropy, hidden, valid, bootstrap),
                _ranked(within, hidden, valid, bootstrap),
            ]
        )
    if not rows:
        return None
    return Table(
        f"Figure 2 in numbers: hidden and visible landmarks of {where}",
        ["Method", "entropy, hidden", "entropy, visible", "AUROC", "AUROC within landmarks"],
        rows,
        f"Mean differential entropy, nats per crop px², and how well it tells hidden from visible "
        f"landmarks (0.5: not at all); 95 % intervals over images. Within landmarks: after each "
        f"landmark's own mean is taken off, so that landmarks that are both hidden more often and "
        f"harder do not count. {_counts(named)}",
    )


def _counts(named: Mapping[str, Predictions]) -> str:
    predictions = next(iter(named.values()))
    if predictions.valid is None or predictions.visible is None:
        return ""
    hidden, valid = (
        int((predictions.valid & ~predictions.visible).sum()),
        int(predictions.valid.sum()),
    )
    return f"{hidden} of {valid} landmarks are hidden."


def _ranked(
    score: Float[np.ndarray, "n L"],
    hidden: Bool[np.ndarray, "n L"],
    valid: Bool[np.ndarray, "n L"],
    bootstrap: int,
) -> str:
    """Return AUROC with its interval as text."""
    labels = Resamples(len(valid), min(bootstrap, 200)).of(np.nonzero(valid)[0])
    value, *replicates = labels.auroc(score[valid], hidden[valid])
    low, high = interval(np.array(replicates))
    return f"{number(value, 3)} ({number(low, 3)} to {number(high, 3)})"


def boundary_table(
    named: Mapping[str, Predictions], maps: Mapping[str, Maps], markup: Markup, *, bootstrap: int
) -> Table | None:
    """Return how long densities are along the face's boundary; None if the mark-up has no jaw.

    Args:
        named: By method: predictions of the same samples.
        maps: By method: heatmaps of the same few of them.
        markup: Of both.
        bootstrap: Resamples of the intervals.
    """
    jaw = set(markup.groups.get("jaw", ()))
    if not jaw:
        return None
    edges = tuple((i, j) for i, j in markup.edges if i in jaw and j in jaw)
    on_jaw = np.isin(np.arange(markup.landmarks), sorted(jaw))
    rows, drawn = [], 0
    for key, predictions in named.items():
        if (
            predictions.covariances is None
            or predictions.target is None
            or predictions.valid is None
        ):
            continue
        tangents = contour_tangents(predictions.target, predictions.valid, edges)
        long = elongation(predictions.covariances)
        angle = axis_angle(predictions.covariances, tangents)
        row = [
            METHODS[key].title,
            number(_median(long[:, on_jaw]), 2),
            number(_median(long[:, ~on_jaw]), 2),
            _mean(angle, bootstrap, 1),
            _mean(np.where(np.isnan(angle), np.nan, 100.0 * (angle < _ALONG)), bootstrap, 1),
        ]
        cores = ["–", "–"]
        if key in maps:
            drawn = len(maps[key].ids)
            cores = _core_numbers(maps[key], edges, on_jaw)
        rows.append([*row, *cores])
    return Table(
        "Figure 3 in numbers: densities on the boundary of the face",
        [
            "Method",
            "elongation, jaw",
            "elongation, inside",
            "angle to the contour (°)",
            f"within {_ALONG:g}° (%)",
            "peak's elongation",
            "peak's angle (°)",
        ],
        rows,
        f"Elongation: √(λ₁/λ₂) of the covariance, medians. Angle: between its major axis and the "
        f"tangent of the labelled contour at the jaw's landmarks, means with 95 % intervals over "
        f"images; 45° and {100 * _ALONG / 90:.0f} % where the direction knows nothing. The peak: "
        f"the same of the cells with at least half the largest mass alone, without what lies "
        f"around them, on the {drawn} faces whose heatmaps were kept.",
    )


def _core_numbers(maps: Maps, edges: tuple[tuple[int, int], ...], on_jaw: np.ndarray) -> list[str]:
    target = maps.target.astype(np.float64)
    cores = core_covariances(maps)
    labelled: Bool[np.ndarray, "n L"] = np.asarray(np.isfinite(target).all(axis=-1))
    angle = axis_angle(cores, contour_tangents(target, labelled, edges))
    return [number(_median(elongation(cores)[:, on_jaw]), 2), number(float(np.nanmean(angle)), 1)]


def _median(values: np.ndarray) -> float:
    kept = values[~np.isnan(values)]
    return float(np.median(kept)) if len(kept) else float("nan")


def _mean(values: Float[np.ndarray, "n L"], bootstrap: int, digits: int) -> str:
    """Return the mean of what is not NaN with its interval over images, as text."""
    image = np.repeat(np.arange(len(values)), values.shape[1])
    means = Resamples(len(values), bootstrap).of(image).mean(values.ravel())
    low, high = interval(means[1:])
    return f"{number(float(means[0]), digits)} ({number(low, digits)} to {number(high, digits)})"


def hidden_faces(predictions: Predictions, landmarks: Sequence[int], count: int) -> list[str]:
    """Return ids of the faces with most of these landmarks hidden.

    Where no label says what is hidden, those with the highest entropy at these landmarks.
    """
    if predictions.valid is None or predictions.visible is None:
        return list(predictions.id[:count])
    hidden = (
        (predictions.valid & ~predictions.visible)[:, list(landmarks)]
        .sum(axis=1)
        .astype(np.float64)
    )
    if not hidden.any() and predictions.entropy is not None:
        hidden = predictions.entropy[:, list(landmarks)].mean(axis=1)
    return [predictions.id[row] for row in np.argsort(-hidden, kind="stable")[:count]]


def seen_faces(predictions: Predictions, landmarks: Sequence[int], count: int) -> list[str]:
    """Return ids of the faces nearest to the median error among those with these visible."""
    if predictions.valid is None or predictions.visible is None or predictions.target is None:
        return list(predictions.id[:count])
    seen = (predictions.valid & predictions.visible)[:, list(landmarks)].all(axis=1)
    errors = np.linalg.norm(predictions.prediction - predictions.target, axis=-1)
    errors = np.where(predictions.valid, errors, 0).sum(axis=1) / np.maximum(
        predictions.valid.sum(axis=1), 1
    )
    rows = np.flatnonzero(seen) if seen.any() else np.arange(len(predictions))
    order = np.argsort(np.abs(errors[rows] - np.median(errors[rows])), kind="stable")
    return [predictions.id[row] for row in rows[order[:count]]]


KEPT_EPOCH = 1
"""The epoch, from 1, whose checkpoint is kept for the figure."""


def gradient_stages(folder: Path, recipe: Recipe) -> dict[str, Model]:
    """Return the model of a run before training, early in it if kept, and at its end."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.optimise.seed)
        stages = {"before training": build_model(recipe).eval()}
    early = kept_path(folder, KEPT_EPOCH)
    if early.is_file():
        stages[f"after epoch {KEPT_EPOCH}"] = load_model(early)[0]
    stages["at the end"] = load_model(folder / "best.safetensors")[0]
    return stages


def loss_gradient(
    model: Model, crop: Tensor, points: Float[Tensor, "landmarks 2"]
) -> Float[np.ndarray, "landmarks rows columns"]:
    """Return `∂L/∂f = p − r` of one crop: per landmark, over the cells of its map.

    A descent step raises a logit where it is negative. It sums to zero over each map.

    Args:
        model: With a head of one map per landmark whose loss is a negative log-likelihood.
        crop: RGB, uint8, `(3, height, width)`.
        points: True landmarks, crop pixels.
    """
    with torch.no_grad():
        outputs = model(crop[None])[-1]
    outputs = outputs.detach().requires_grad_()
    loss = model.head.loss(outputs, points[None])
    (gradient,) = torch.autograd.grad(loss.sum(), outputs)
    return gradient[0].double().numpy()


def crop_of(model: Model, samples: Sequence[Sample], name: str) -> tuple[Tensor, Tensor]:
    """Return the crop of one of the samples and its landmarks in crop pixels."""
    chosen = [sample for sample in samples if sample.id == name]
    data = model.recipe.data
    item = CropDataset(chosen, labels=model.labels, data=data, augment=None, seed=0)[0]
    return item["image"], item["target"]
