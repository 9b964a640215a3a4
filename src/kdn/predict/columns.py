"""From a model and samples to predictions that can be written: everything in image pixels."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

from kdn.data import CropDataset, Sample, read_batches
from kdn.data.markup import facts_of_markup
from kdn.density import GaussianDensity, KernelDensity, MappedDensity
from kdn.grid import Affine, Grid
from kdn.models.heads import Head
from kdn.models.model import Model
from kdn.models.recalibration import Recalibration
from kdn.predictions import AREA_LEVELS, Maps, Predictions, decoders_of

__all__ = ["RADII", "predict"]

RADII = (2.0, 5.0, 7.0, 10.0)
"""Distances of the column `mass_within`, in percent of `√(w·h)` of the face's box."""

_DECODERS = decoders_of("points")


def predict(
    model: Model,
    samples: Sequence[Sample],
    *,
    decoder: str = "default",
    batch: int = 16,
    maps: int = 0,
    mirror: bool = False,
    radii: Sequence[float] = RADII,
    problems: list[str] | None = None,
    progress: Callable[[int], object] | None = None,
    metadata: dict[str, Any] | None = None,
) -> tuple[Predictions, Maps | None]:
    """Return the predictions of a model for samples, and heatmaps of the first few.

    Every density is evaluated in crop pixels and moved to image pixels by its crop's affine map:
    points, covariances, log_prob and entropy alike.

    Args:
        model: In evaluation mode.
        samples: What is predicted, cropped by their boxes.
        decoder: Which of the decoders is the prediction; `default` takes the head's own. The
            others are kept beside it.
        batch: Samples per pass through the network.
        mirror: Average each density with that of the mirrored crop.
        radii: For the column `mass_within`; none for no such column.
        maps: Samples from the start whose heatmaps are returned, if the head has maps.
        problems: Where to put one line about each sample that cannot be read, which is then left
            out; None to let it raise.
        progress: Called with the number of samples done after each batch.
        metadata: More facts for the predictions' metadata.

    Raises:
        ValueError: If no sample is left, or there is no such decoder.
    """
    chosen = model.head.decoder if decoder == "default" else decoder
    if chosen not in _DECODERS:
        raise ValueError(
            f"decoder must be default or one of {', '.join(_DECODERS)}, got {decoder!r}"
        )
    dataset = CropDataset(
        samples, labels=model.labels, data=model.recipe.data, augment=None, seed=0
    )
    rows: list[dict[str, np.ndarray]] = []
    names: list[tuple[str, str, tuple[float, ...]]] = []
    drawn: list[dict[str, np.ndarray]] = []
    grid: Grid | None = None
    for chunk, items in read_batches(dataset, batch, problems):
        inputs = default_collate(items)
        with torch.no_grad():
            crops = inputs["image"].to(model.mean.device)
            found = model.density(crops, flip=mirror, adjusted=False)
            density = model.recalibration(mirror).adjusted(found)
            rows.append(
                {
                    **_points(found, inputs, model.head),
                    **_columns(density, inputs, model.recalibration(mirror)),
                }
            )
            if radii:
                rows[-1]["mass_within"] = _masses(density, rows[-1], chosen, chunk, radii)
            if isinstance(density, KernelDensity) and sum(map(_length, drawn)) < maps:
                grid = density.grid.refine(_finer(density.grid))
                drawn.append(_maps(density, inputs, maps - sum(map(_length, drawn))))
        names += [(s.id, str(s.image) if isinstance(s.image, Path) else "", s.bbox) for s in chunk]
        if progress is not None:
            progress(len(items))
    if not rows:
        raise ValueError("samples must hold at least one that can be read")
    columns: dict[str, Any] = {
        name: np.concatenate([row[name] for row in rows]) for name in rows[0]
    }
    facts = _facts(model, chosen, mirror, radii)
    predictions = Predictions(
        id=tuple(name for name, _, _ in names),
        path=tuple(path for _, path, _ in names),
        bbox=np.array([box for _, _, box in names]),
        landmarks=columns[chosen],
        metadata={**facts, "recipe": model.recipe.as_dict(), **(metadata or {})},
        **columns,
    )
    if grid is None:
        return predictions, None
    tensors = {name: np.concatenate([part[name] for part in drawn]) for name in drawn[0]}
    ids = predictions.id[: len(tensors["crops"])]
    return predictions, Maps(
        ids=ids, **tensors, grid=grid, markup=facts["markup"], head=facts["head"]
    )


def _facts(model: Model, decoder: str, mirror: bool, radii: Sequence[float]) -> dict[str, Any]:
    """Return what the metadata say of how the predictions came about."""
    facts: dict[str, Any] = {**facts_of_markup(model.labels.markup), "decoder": decoder}
    facts["head"] = model.recipe.head.name
    if mirror:
        facts["mirror"] = "averaged"
    if mirror in model.recalibrations:
        facts["recalibration"] = model.recalibrations[mirror].summary()
    if radii:
        facts["radii"] = list(radii)
    facts["version"] = importlib.metadata.version("kdn")
    return facts


def _points(
    density: KernelDensity | GaussianDensity, inputs: dict[str, Tensor], head: Head
) -> dict[str, np.ndarray]:
    """Return the points of all decoders for one batch, in image pixels."""
    crop_to_image = Affine.of_matrix(inputs["crop_to_image"])
    points = {name: head.decode(density, name).double().cpu() for name in _DECODERS}
    return {name: _numpy(crop_to_image.points(found)) for name, found in points.items()}


def _columns(
    density: KernelDensity | GaussianDensity, inputs: dict[str, Tensor], levels: Recalibration
) -> dict[str, np.ndarray]:
    """Return what there is to say of one batch's densities, in image pixels."""
    crop_to_image = Affine.of_matrix(inputs["crop_to_image"])
    device = density.mean.device
    in_image = density.mapped(crop_to_image.to(device))
    columns: dict[str, Tensor] = {}
    covariance = in_image.covariance_matrix
    columns["covariances"] = torch.stack(
        (covariance[..., 0, 0], covariance[..., 0, 1], covariance[..., 1, 1]), dim=-1
    )
    columns["uncertainty"] = in_image.uncertainty_length
    columns["entropy"] = in_image.entropy()
    points, valid = inputs["target"].to(device), inputs["valid"]
    target = crop_to_image.points(inputs["target"].double())
    log_prob = crop_to_image.log_densities(density.log_prob(points).double().cpu())
    missing = ~valid
    columns["target"] = target.masked_fill(missing.unsqueeze(-1), torch.nan)
    columns["log_prob"] = log_prob.masked_fill(missing, torch.nan)
    columns["hdr_level"] = levels.hdr_level(density, points).cpu().masked_fill(missing, torch.nan)
    columns["hdr_tie"] = levels.hdr_tie(density, points).cpu().masked_fill(missing, torch.nan)
    columns |= _sharpness(in_image, target.to(points), missing, levels)
    columns["valid"], columns["visible"] = valid, inputs["visible"]
    columns["crop_to_image"] = crop_to_image.matrix
    return {name: _numpy(values) for name, values in columns.items()}


def _numpy(values: Tensor) -> np.ndarray:
    """Return an array, fractions in float64."""
    return (values if values.dtype == torch.bool else values.double()).cpu().numpy()


def _sharpness(
    in_image: MappedDensity, target: Tensor, missing: Tensor, levels: Recalibration
) -> dict[str, Tensor]:
    """Return areas of the regions of highest density, and energy scores, in image pixels."""
    landmarks = in_image.batch_shape[-1]
    own = np.stack([levels.own_level(nominal, landmarks) for nominal in AREA_LEVELS])
    scores = in_image.energy_score(target).cpu()
    return {
        "hdr_areas": in_image.hdr_area(torch.from_numpy(own).unsqueeze(1)).movedim(0, -1),
        "energy_score": scores.masked_fill(missing, torch.nan),
    }


def _masses(
    density: KernelDensity | GaussianDensity,
    columns: dict[str, np.ndarray],
    decoder: str,
    samples: Sequence[Sample],
    radii: Sequence[float],
) -> np.ndarray:
    """Return the masses about the prediction, `(batch, landmarks, radii)`."""
    boxes = np.array([sample.bbox for sample in samples])
    sizes = torch.from_numpy(np.sqrt(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)))
    lengths = torch.tensor(radii).double().reshape(-1, 1, 1) / 100.0 * sizes.reshape(-1, 1)
    device = density.mean.device
    crop_to_image = Affine.of_matrix(torch.from_numpy(columns["crop_to_image"]))
    in_image = density.mapped(crop_to_image.to(device))
    centres = torch.from_numpy(columns[decoder]).to(device)
    masses = in_image.mass_within(centres, lengths.to(device))
    return masses.movedim(0, -1).double().cpu().numpy()


def _maps(density: KernelDensity, inputs: dict[str, Tensor], count: int) -> dict[str, np.ndarray]:
    """Return the heatmaps of up to `count` samples of a batch: log-masses of small cells."""
    log_masses = density.cell_masses(_finer(density.grid))[:count].log()
    missing = ~inputs["valid"].unsqueeze(-1)
    return {
        "crops": inputs["image"].permute(0, 2, 3, 1)[:count].numpy(),
        "log_probs": log_masses.clamp(min=-6e4).half().cpu().numpy(),
        "target": inputs["target"].masked_fill(missing, torch.nan)[:count].numpy(),
        "visible": inputs["visible"][:count].numpy(),
    }


def _finer(grid: Grid) -> int:
    """Return how many times finer than the density's grid a heatmap is: cells of two crop pixels.

    Narrow kernels, and those that are moved off their cells, would not show on a coarser one.
    """
    return max(1, round(max(grid.spacing) / 2))


def _length(part: dict[str, np.ndarray]) -> int:
    return len(part["crops"])
