"""The gradient of the loss over a map, early and late in training (the paper's appendix B)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from kdn.data import CropDataset, Sample
from kdn.models.checkpoint import load_model
from kdn.models.model import Model, build_model
from kdn.recipe import Recipe
from kdn.train import kept_path

__all__ = ["KEPT_EPOCH", "crop_of", "gradient_stages", "loss_gradient"]

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
