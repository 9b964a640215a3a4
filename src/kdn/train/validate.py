"""How good a model is on held-out samples, while it trains."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from kdn.models.heads import rounded_log_prob
from kdn.models.model import LandmarkModel
from kdn.models.value_model import ValueModel

__all__ = ["validate", "validate_values"]


def validate(model: LandmarkModel, loader: DataLoader, device: torch.device) -> tuple[float, float]:
    """Return the NME in percent of the landmark box, and the mean NLL in nats per crop-pixel².

    Crops are scaled pictures, so the ratio of an error to the size of the true landmarks' tight
    box is the same in crop pixels as in image pixels.

    Args:
        model: What is validated; it is left in evaluation mode.
        loader: Batches of a `CropDataset` without augmentation.
        device: Where the model is.
    """
    model.eval()
    nmes: list[Tensor] = []
    nlls: list[Tensor] = []
    with torch.inference_mode():
        for batch in loader:
            target, valid = batch["target"].to(device), batch["valid"].to(device)
            density = model.density(batch["image"].to(device))
            points = model.head.decode(density)
            nmes.append(_image_nme(points, target, valid))
            nlls.append(-density.log_prob(target)[valid])
    if not nmes:
        return math.nan, math.nan
    return float(torch.cat(nmes).nanmean()), float(torch.cat(nlls).mean())


def validate_values(
    model: ValueModel, loader: DataLoader, device: torch.device
) -> tuple[float, float, float]:
    """Return the means of CRPS, absolute error and NLL over all valid values.

    CRPS and error are in the label's unit, the NLL in nats per unit (`rounded_log_prob`).

    Args:
        model: What is validated; it is left in evaluation mode.
        loader: Batches of a `CropDataset` without augmentation.
        device: Where the model is.
    """
    model.eval()
    found: list[Tensor] = []
    with torch.inference_mode():
        for batch in loader:
            target, valid = batch["target"].to(device), batch["valid"].to(device)
            density = model.density(batch["image"].to(device))
            error = (model.head.decode(density) - target).abs()
            log_prob = rounded_log_prob(density, target, model.head.rounding)
            scores = (density.energy_score(target), error, -log_prob)
            found.append(torch.stack(scores)[:, valid])
    if not found:
        return math.nan, math.nan, math.nan
    crps, error, nll = torch.cat(found, dim=1).double().mean(dim=1).tolist()
    return crps, error, nll


def _image_nme(points: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Return each image's NME in percent of √(w·h) of the tight box of its valid landmarks."""
    error = torch.linalg.vector_norm(points - target, dim=-1)
    mean = (error * valid).sum(dim=-1) / valid.sum(dim=-1)
    masked = valid.unsqueeze(-1)
    high = target.masked_fill(~masked, -math.inf).amax(dim=-2)
    low = target.masked_fill(~masked, math.inf).amin(dim=-2)
    return 100 * mean / (high - low).prod(dim=-1).sqrt()
