"""What a training run learns: landmarks or values, with their samples, model and scores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader

from kdn.data import CropDataset, Sample, labels_of, training_and_validation
from kdn.models.model import LandmarkModel, build_model
from kdn.models.picture_model import PictureModel
from kdn.models.value_model import ValueModel, build_value_model
from kdn.recipe import AugmentRecipe, Recipe
from kdn.train.validate import validate, validate_values

__all__ = ["LandmarkTask", "Task", "ValueTask", "task_of"]


class Task(ABC):
    """What the loop need not know of a label.

    Args:
        recipe: What is trained.

    Attributes:
        scores: Names of the validation scores; the least value of the first is the best model.
    """

    scores: Sequence[str]

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.labels = labels_of(recipe)

    def samples(self) -> tuple[Sequence[Sample], Sequence[Sample]]:
        """Return the samples that are trained on, and those that are validated on."""
        return training_and_validation(self.recipe.data, self.labels)

    def dataset(self, samples: Sequence[Sample], augment: AugmentRecipe | None) -> CropDataset:
        """Return crops of samples with their labels."""
        data, seed = self.recipe.data, self.recipe.optimise.seed
        return CropDataset(samples, labels=self.labels, data=data, augment=augment, seed=seed)

    @abstractmethod
    def model(self) -> PictureModel:
        """Return a model with fresh weights drawn from torch's global generator."""

    @abstractmethod
    def validate(self, model: Any, loader: DataLoader, device: torch.device) -> Sequence[float]:
        """Return the scores of a model, NaN without samples."""


class LandmarkTask(Task):
    """Landmarks, in crop pixels."""

    scores = ("valid_nme", "valid_nll")

    def model(self) -> LandmarkModel:
        return build_model(self.recipe)

    def validate(
        self, model: LandmarkModel, loader: DataLoader, device: torch.device
    ) -> Sequence[float]:
        return validate(model, loader, device)


class ValueTask(Task):
    """Values, in the unit of their axis."""

    scores = ("valid_crps", "valid_mae", "valid_nll")

    def model(self) -> ValueModel:
        return build_value_model(self.recipe)

    def validate(
        self, model: ValueModel, loader: DataLoader, device: torch.device
    ) -> Sequence[float]:
        return validate_values(model, loader, device)


def task_of(recipe: Recipe) -> Task:
    """Return what a recipe learns: values where it names some, landmarks otherwise."""
    return ValueTask(recipe) if recipe.labels.names else LandmarkTask(recipe)
