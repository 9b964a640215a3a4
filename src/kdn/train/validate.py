"""How good a model is on held-out samples, while it trains."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from kdn.models.heads import rounded_log_prob
from kdn.models.model import Model

__all__ = ["SCORES", "validate"]


def _nll(model: Model, density: Any, target: Tensor, valid: Tensor) -> Tensor:
    """Return `−log p` of each valid label, in nats per crop-pixel² or unit."""
    return -rounded_log_prob(density, target, model.labels.rounding)[valid]


def _crps(model: Model, density: Any, target: Tensor, valid: Tensor) -> Tensor:
    """Return the CRPS of each valid label, in its unit."""
    return density.energy_score(target)[valid]


def _mae(model: Model, density: Any, target: Tensor, valid: Tensor) -> Tensor:
    """Return the absolute error of each valid label, in its unit."""
    return (model.decode(density) - target).abs()[valid]


def _nme(model: Model, density: Any, target: Tensor, valid: Tensor) -> Tensor:
    """Return each image's NME in percent of √(w·h) of the tight box of its valid landmarks.

    Crops are scaled pictures, so this ratio is the same in crop pixels as in image pixels.
    """
    error = torch.linalg.vector_norm(model.decode(density) - target, dim=-1)
    mean = (error * valid).sum(dim=-1) / valid.sum(dim=-1)
    masked = valid.unsqueeze(-1)
    high = target.masked_fill(~masked, -math.inf).amax(dim=-2)
    low = target.masked_fill(~masked, math.inf).amin(dim=-2)
    nme = 100 * mean / (high - low).prod(dim=-1).sqrt()
    return nme[~nme.isnan()]


Score = Callable[[Model, Any, Tensor, Tensor], Tensor]

SCORES: Mapping[str, Mapping[str, tuple[Score, str]]] = {
    "points": {
        "valid_nme": (_nme, "NME {:6.3f} %"),
        "valid_nll": (_nll, "NLL {:7.3f}"),
    },
    "scalars": {
        "valid_crps": (_crps, "CRPS {:6.3f}"),
        "valid_mae": (_mae, "MAE {:6.3f}"),
        "valid_nll": (_nll, "NLL {:7.3f}"),
    },
}
"""For each kind of label its scores and how they are printed; the least first one is the best."""


def validate(model: Model, loader: DataLoader, device: torch.device) -> dict[str, float]:
    """Return the means of the scores, by name; NaN without samples.

    Args:
        model: What is validated; it is left in evaluation mode.
        loader: Batches of a `CropDataset` without augmentation.
        device: Where the model is.
    """
    model.eval()
    scores = SCORES[model.labels.kind]
    columns: dict[str, list[Tensor]] = {name: [] for name in scores}
    with torch.inference_mode():
        for batch in loader:
            target, valid = batch["target"].to(device), batch["valid"].to(device)
            density = model.density(batch["image"].to(device))
            for name, (score, _) in scores.items():
                columns[name].append(score(model, density, target, valid))
    return {
        name: float(torch.cat(values).double().mean()) if values else math.nan
        for name, values in columns.items()
    }
