"""From a model of values and samples to predictions that can be written."""

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
from kdn.density import KernelDensity, LaplaceDensity
from kdn.models.heads import Head, rounded_log_prob
from kdn.models.model import Model
from kdn.predictions import QUANTILES, Predictions

__all__ = ["columns_of_values", "predict_values"]


def predict_values(
    model: Model,
    samples: Sequence[Sample],
    *,
    decoder: str = "default",
    batch: int = 64,
    problems: list[str] | None = None,
    progress: Callable[[int], object] | None = None,
    metadata: dict[str, Any] | None = None,
) -> Predictions:
    """Return the predictions of a model for samples, in the unit of the labels.

    Args:
        model: In evaluation mode.
        samples: What is predicted; those without a label get a prediction and no scores.
        decoder: Which point of the density is the prediction; `default` takes the head's own.
        batch: Samples per pass through the network.
        problems: Where to put one line about each sample that cannot be read, which is then left
            out; None to let it raise.
        progress: Called with the number of samples done after each batch.
        metadata: More facts for the predictions' metadata.

    Raises:
        ValueError: If no sample is left, or there is no such decoder.
    """
    recipe, known = model.recipe, model.labels
    dataset = CropDataset(samples, labels=known, data=recipe.data, augment=None, seed=0)
    rows: list[dict[str, np.ndarray]] = []
    done: list[Sample] = []
    for chunk, items in read_batches(dataset, batch, problems):
        inputs = default_collate(items)
        device = model.mean.device
        with torch.no_grad():
            outputs = model(inputs["image"].to(device))[-1].double()
            # From the samples, since those of the batch are rounded to float32.
            labels = np.stack([known.target(sample)[0] for sample in chunk])
            target = torch.from_numpy(labels).to(device)
            rows.append(columns_of_values(model.head, outputs, target, decoder))
        done += chunk
        if progress is not None:
            progress(len(items))
    if not rows:
        raise ValueError("samples must hold at least one that can be read")
    columns: dict[str, Any] = {
        name: np.concatenate([row[name] for row in rows]) for name in rows[0]
    }
    return Predictions(
        id=tuple(sample.id for sample in done),
        path=tuple(str(s.image) if isinstance(s.image, Path) else "" for s in done),
        metadata={"names": list(model.labels.names), **_facts(model, decoder), **(metadata or {})},
        **columns,
    )


def columns_of_values(
    head: Head,
    outputs: Tensor,
    target: Tensor,
    decoder: str = "default",
) -> dict[str, np.ndarray]:
    """Return what there is to say of the densities of one batch, by field of `Predictions`.

    Args:
        head: Of the model.
        outputs: Of the network, `(batch, channels)`, float64 so that small masses are told.
        target: `(batch, values)`, NaN where there is no label.
        decoder: As for `predict_values`.
    """
    density = head.density(outputs)
    known = target.nan_to_num()
    low, high = known - 0.5 * head.rounding, known + 0.5 * head.rounding
    levels = torch.tensor(QUANTILES, dtype=torch.float64, device=target.device)
    about = {
        "target": target,
        "log_prob": rounded_log_prob(density, known, head.rounding),
        "cdf_low": density.cdf(low),
        "cdf_high": density.cdf(high),
        "energy_score": density.energy_score(known),
    }
    columns = {
        "values": head.decode(density, decoder),
        "mean": density.mean,
        "median": density.icdf(density.mean.new_tensor(0.5)),
        "mode": density.mode,
        "uncertainty": density.variance.sqrt(),
        "quantiles": _quantiles(density, levels),
        **{name: part.masked_fill(target.isnan(), torch.nan) for name, part in about.items()},
    }
    return {name: part.double().cpu().numpy() for name, part in columns.items()}


def _quantiles(density: KernelDensity | LaplaceDensity, levels: Tensor) -> Tensor:
    """Return quantiles, `(batch, values, levels)`."""
    return density.icdf(levels.reshape(-1, 1, 1)).movedim(0, -1)


def _facts(model: Model, decoder: str) -> dict[str, Any]:
    """Return what the metadata say of how the predictions came about."""
    labels = model.recipe.labels
    return {
        "head": model.recipe.head.name,
        "decoder": model.head.decoder if decoder == "default" else decoder,
        "rounding": labels.rounding,
        "axis": [labels.low, labels.high, labels.step],
        "version": importlib.metadata.version("kdn"),
        "recipe": model.recipe.as_dict(),
    }
