"""From a predictor and samples to the columns of predictions, chunk by chunk."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from kdn.data import CropDataset, Labels, Sample
from kdn.data.numbers import length_of
from kdn.density import Density, KernelDensity
from kdn.models.heads import rounded_log_prob
from kdn.models.recalibration import Recalibration
from kdn.predict.ensemble import Look, View, crops_of, maps_of
from kdn.predict.predictor import Predictor
from kdn.predictions import AREA_LEVELS, QUANTILES, Maps, Predictions, decoders_of

__all__ = ["RADII", "density_columns", "maps_of_samples", "predict", "predict_chunks"]

RADII = (2.0, 5.0, 7.0, 10.0)
"""Distances of the column `mass_within`, in percent of `√(w·h)` of the box, or of the axis."""

_CACHE = 64
"""Memory for decoded pictures, in MiB: faces of one picture follow each other."""


def predict(predictor: Predictor, samples: Sequence[Sample], **how: Any) -> Predictions:
    """Return the predictions of labelled samples, all in one; `how` is as for `predict_chunks`."""
    return Predictions.concatenate([*predict_chunks(predictor, samples, **how)])


def predict_chunks(
    predictor: Predictor,
    samples: Sequence[Sample],
    *,
    decoder: str = "default",
    batch: int = 16,
    abstain: float | None = None,
    tau: float | str = "5%",
    radii: Sequence[float] = RADII,
    problems: list[str] | None = None,
    progress: Callable[[int], object] | None = None,
    metadata: dict[str, Any] | None = None,
) -> Iterator[Predictions]:
    """Yield the predictions of labelled samples, `batch` at a time.

    Points, covariances, log_prob and entropy are in image pixels, scalars in their unit.

    Args:
        predictor: Of landmarks or scalars.
        samples: What is predicted, cropped by their boxes; those without a label get a prediction
            and no scores.
        decoder: Which point of the density is the prediction; `default` takes the head's own. The
            others are kept beside it.
        batch: Samples per pass through the network.
        abstain: Give up predictions whose error probability exceeds this; None for none.
        tau: The error that is too large for that, as for `Prediction.error_probability`.
        radii: Of the column `mass_within`, in percent of `√(w·h)` of the box, or of the axis of
            scalars; none for no such column.
        problems: Where to put one line about each sample that cannot be read, which is then left
            out; None to let it raise.
        progress: Called with the number of samples done after each batch.
        metadata: More facts for the predictions' metadata.

    Raises:
        ValueError: If no sample is left, or there is no such decoder.
    """
    model, names = predictor.model, decoders_of(predictor.labels.kind)
    chosen = model.head.decoder if decoder == "default" else decoder
    if chosen not in names:
        raise ValueError(f"decoder must be default or one of {', '.join(names)}, got {decoder!r}")
    facts = {**_metadata(predictor, chosen, radii), **(metadata or {})}
    if abstain is not None:
        facts |= {"abstain": abstain, "tau": tau}
    done = 0
    # By `map`, which keeps neither pictures nor densities while the next ones are read.
    for chunk in map(partial(_chunk, predictor, facts), _read(predictor, samples, batch, problems)):
        done += len(chunk)
        yield chunk
        if progress is not None:
            progress(len(chunk))
    if not done:
        raise ValueError("samples must hold at least one that can be read")


def _chunk(
    predictor: Predictor,
    facts: dict[str, Any],
    read: tuple[list[Sample], list[np.ndarray]],
) -> Predictions:
    """Return the predictions of some samples and their pictures, with metadata that say how."""
    samples, pictures = read
    boxes = [sample.bbox for sample in samples]
    look = predictor.looks(pictures, boxes)
    with torch.no_grad():
        columns: dict[str, Any] = _columns(
            predictor, look, samples, facts["decoder"], facts["radii"]
        )
        if "abstain" in facts:
            columns |= _abstention(predictor, look, columns, facts["abstain"], facts["tau"])
    return Predictions(
        id=tuple(sample.id for sample in samples),
        path=tuple(str(s.image) if isinstance(s.image, Path) else "" for s in samples),
        bbox=np.array(boxes, np.float64),
        crop_to_image=maps_of(predictor.model, pictures, boxes, View()).matrix.cpu().numpy(),
        metadata=facts,
        **columns,
    )


def _read(
    predictor: Predictor, samples: Sequence[Sample], batch: int, problems: list[str] | None
) -> Iterator[tuple[list[Sample], list[np.ndarray]]]:
    """Yield samples with their pictures, batch by batch, leaving out what cannot be read."""
    data = replace(predictor.model.recipe.data, cache_mib=_CACHE)
    dataset = CropDataset(samples, labels=predictor.labels, data=data, augment=None, seed=0)
    chunk: list[Sample] = []
    pictures: list[np.ndarray] = []
    for index in range(len(samples)):
        try:
            sample, picture = dataset.load(index)
            predictor.labels.target(sample)
            predictor.framing.crop_to_image(sample.bbox, picture.shape[:2])
        except (OSError, ValueError) as error:
            if problems is None:
                raise
            problems.append(str(error))
            continue
        chunk.append(sample)
        pictures.append(picture)
        if len(chunk) == batch:
            yield chunk, pictures
            chunk, pictures = [], []
    if chunk:
        yield chunk, pictures


def _metadata(predictor: Predictor, decoder: str, radii: Sequence[float]) -> dict[str, Any]:
    """Return what the metadata say of how the predictions came about."""
    model, looks = predictor.model, predictor.looks
    axis = predictor.labels.axis
    scale = 1.0 if axis is None else (axis.high[0] - axis.low[0]) / 100.0
    facts: dict[str, Any] = {
        **predictor.labels.metadata(),
        "decoder": decoder,
        "head": model.recipe.head.name,
        "flip": looks.flips[0],
        "radii": [scale * radius for radius in radii],
        "version": importlib.metadata.version("kdn"),
        "recipe": model.recipe.as_dict(),
    }
    if len(looks.models) * len(looks.views) > 1 or looks.combine != "mixture":
        facts["views"] = [[view.scale, view.right, view.down] for view in looks.views]
        facts |= {"models": len(looks.models), "combine": looks.combine}
    recalibration = looks.recalibration
    if recalibration.adjustment is not None or recalibration.levels is not None:
        facts["recalibration"] = recalibration.summary()
    return facts


def _columns(
    predictor: Predictor, look: Look, samples: list[Sample], decoder: str, radii: Sequence[float]
) -> dict[str, np.ndarray]:
    """Return what there is to say of one batch, by column."""
    labels, model = predictor.labels, predictor.model
    target = np.stack([labels.target(sample)[0] for sample in samples])
    columns = density_columns(
        look,
        target,
        labels=labels,
        decode=model.decode,
        recalibration=predictor.looks.recalibration,
    )
    prediction = columns[decoder]
    columns["landmarks" if labels.event else "values"] = prediction
    if radii:
        centres = torch.from_numpy(prediction).to(look.density.mean)
        masses = _masses(labels, look.density, centres, samples, radii)
        columns["mass_within"] = masses.double().cpu().numpy()
    columns["visible"] = np.stack([labels.visible(sample) for sample in samples])
    return columns


def density_columns(
    look: Look,
    target: Float64[np.ndarray, "batch labels *event"],
    *,
    labels: Labels,
    decode: Callable[[Any, str], Tensor],
    recalibration: Recalibration | None = None,
) -> dict[str, np.ndarray]:
    """Return what there is to say of densities, and of labels under them, by column.

    Args:
        look: Batch shape `(batch, labels)`, points in image pixels, scalars in their unit.
        target: In the same frame, NaN where there is none.
        labels: What they are.
        decode: Gives the points of a decoder.
        recalibration: Whose levels hold; the densities' own by default.
    """
    levels, density = recalibration or Recalibration(), look.density
    columns: dict[str, Tensor] = {
        name: decode(look.before, name) for name in decoders_of(labels.kind)
    }
    columns["uncertainty"] = density.uncertainty_length
    columns["entropy"] = density.entropy()
    wanted = np.stack([levels.own_level(nominal, labels.count) for nominal in AREA_LEVELS])
    columns["hdr_areas"] = density.hdr_area(torch.from_numpy(wanted).unsqueeze(1)).movedim(0, -1)
    if labels.event:
        covariance = density.covariance_matrix
        columns["covariances"] = covariance[..., (0, 0, 1), (0, 1, 1)]
    else:
        asked = torch.tensor(QUANTILES, dtype=torch.float64).to(density.mean).reshape(-1, 1, 1)
        columns["quantiles"] = _line(density).icdf(asked).movedim(0, -1)
    valid = torch.from_numpy(np.isfinite(target))
    valid = valid.all(-1) if labels.event else valid
    at_label = _at_label(density, torch.from_numpy(target), labels, levels)
    columns |= {
        name: column.cpu().masked_fill(~valid, torch.nan) for name, column in at_label.items()
    }
    arrays = {name: column.double().cpu().numpy() for name, column in columns.items()}
    return arrays | {"target": target, "valid": valid.numpy()}


def _at_label(
    density: Density, target: Tensor, labels: Labels, levels: Recalibration
) -> dict[str, Tensor]:
    """Return what is said of the labels, at some point where there is none."""
    points, half = target.nan_to_num().to(density.mean), 0.5 * labels.rounding
    columns = {
        "log_prob": rounded_log_prob(density, points, labels.rounding),
        "hdr_level": levels.hdr_level(density, points),
        "hdr_tie": levels.hdr_tie(density, points),
        "energy_score": density.energy_score(points),
    }
    if not labels.event:
        columns["cdf_low"] = _line(density).cdf(points - half)
        columns["cdf_high"] = _line(density).cdf(points + half)
    return columns


def _line(density: Any) -> Any:
    """Return a density of a line, which has a distribution function."""
    return density


def _masses(
    labels: Any, density: Any, prediction: Tensor, samples: list[Sample], radii: Sequence[float]
) -> Tensor:
    """Return the masses about the prediction, `(batch, labels, radii)`."""
    lengths = torch.tensor(radii).double().reshape(-1, 1, 1)
    if labels.event:
        boxes = np.array([sample.bbox for sample in samples])
        sizes = np.sqrt(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1))
        lengths = lengths / 100.0 * torch.from_numpy(sizes).unsqueeze(-1)
    return density.mass_within(prediction, lengths.to(prediction)).movedim(0, -1)


def _abstention(
    predictor: Predictor, look: Look, columns: dict[str, np.ndarray], limit: float, tau: float | str
) -> dict[str, np.ndarray]:
    """Return error probabilities, and which predictions are not given up."""
    labels = predictor.labels
    if labels.event:
        points = columns["landmarks"]
        sizes = np.sqrt(np.prod(np.ptp(points, axis=1), axis=-1))
    else:
        points = columns["values"]
        sizes = np.full(len(points), labels.axis.high[0] - labels.axis.low[0])
    radii = torch.tensor([[length_of(tau, size, name="tau")] for size in sizes])
    centres = torch.from_numpy(points).to(look.density.mean)
    mass = look.density.mass_within(centres, radii.to(centres)).double().cpu().numpy()
    return {"error_probability": 1.0 - mass, "known": 1.0 - mass <= limit}


def maps_of_samples(
    predictor: Predictor, samples: Sequence[Sample], *, problems: list[str] | None = None
) -> Maps | None:
    """Return the heatmaps of samples by the first model in the usual crop; None if it has none.

    Cells are of two crop pixels: narrow kernels, and those that are moved off their cells, would
    not show on the network's own grid.

    Args:
        predictor: Of landmarks.
        samples: Whose; all together go through the network.
        problems: As for `predict_chunks`.
    """
    model, labels = predictor.model, predictor.labels
    for chunk, pictures in _read(predictor, samples, len(samples), problems):
        boxes = [sample.bbox for sample in chunk]
        maps = maps_of(model, pictures, boxes, View())
        crops = crops_of(model, pictures, maps)
        with torch.no_grad():
            density = model.density(crops, flip=predictor.looks.flips[0])
        if not labels.event or not isinstance(density, KernelDensity):
            return None
        finer = max(1, round(max(density.grid.spacing) / 2))
        targets = torch.from_numpy(np.stack([labels.target(sample)[0] for sample in chunk]))
        return Maps(
            ids=tuple(sample.id for sample in chunk),
            crops=crops.permute(0, 2, 3, 1).cpu().numpy(),
            log_probs=density.cell_masses(finer).log().clamp(min=-6e4).half().cpu().numpy(),
            target=maps.to("cpu").inverse().points(targets).float().numpy(),
            visible=np.stack([labels.visible(sample) for sample in chunk]),
            grid=density.grid.refine(finer),
            markup=labels.markup.name,
            head=model.recipe.head.name,
        )
    return None
