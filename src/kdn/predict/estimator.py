"""Pictures in, values with their densities out: what `kdn.load_values` returns."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import default_collate

from kdn.data import CropDataset, Sample
from kdn.data.images import as_rgb
from kdn.density import KernelDensity, LaplaceDensity
from kdn.models.checkpoint import load_model
from kdn.models.model import Model
from kdn.predict.detect import Detector
from kdn.predict.face import Box
from kdn.predict.places import Place, places_of

__all__ = ["Estimate", "Estimator", "load_values", "sample_of_place"]


@dataclass(frozen=True)
class Estimate:
    """The values of one object in a picture.

    Args:
        bbox: What was cropped by, image px; the whole picture for models of whole pictures.
        names: What the values are called.
        values: The predictions, in the label's unit.
        deviations: Standard deviations of the densities.
        density: Of each value, batch shape `(values,)`.
        detection: What the detector said; NaN where the box was given.
    """

    bbox: Box
    names: tuple[str, ...]
    values: Float[np.ndarray, " values"]
    deviations: Float[np.ndarray, " values"]
    density: KernelDensity | LaplaceDensity
    detection: float = math.nan

    def __getitem__(self, name: str) -> float:
        """Return one of the values by its name.

        Raises:
            KeyError: If there is none of that name; the message lists those there are.
        """
        if name not in self.names:
            raise KeyError(f"no value {name!r}; there are {', '.join(self.names)}")
        return float(self.values[self.names.index(name)])

    def interval(self, level: float = 0.9) -> Float[np.ndarray, "values 2"]:
        """Return the central interval of each value that holds it with a probability of `level`.

        Raises:
            ValueError: If the level is not between 0 and 1.
        """
        if not 0 < level < 1:
            raise ValueError(f"level must be between 0 and 1, got {level}")
        ends = torch.tensor([0.5 - 0.5 * level, 0.5 + 0.5 * level], dtype=torch.float64)
        ends = ends.to(self.density.mean.device).unsqueeze(-1)
        return self.density.icdf(ends).T.double().cpu().numpy()


class Estimator:
    """Tells the values of pictures, or of the faces in them.

    Args:
        model: In evaluation mode.
        facts: What the checkpoint says of itself.
    """

    def __init__(self, model: Model, facts: Mapping[str, Any] | None = None) -> None:
        self.model = model
        self.facts = dict(facts or {})

    @overload
    def __call__(
        self,
        images: str | Path | np.ndarray,
        boxes: Sequence[Box] | None = None,
        *,
        detector: str | Detector = "auto",
        batch: int = 64,
    ) -> list[Estimate]: ...

    @overload
    def __call__(
        self,
        images: list[Any] | tuple[Any, ...],
        boxes: Sequence[Sequence[Box] | None] | None = None,
        *,
        detector: str | Detector = "auto",
        batch: int = 64,
    ) -> list[list[Estimate]]: ...

    def __call__(
        self,
        images: Any,
        boxes: Any = None,
        *,
        detector: str | Detector = "auto",
        batch: int = 64,
    ) -> Any:
        """Return the estimates of one picture, or of each of several: one an object in it.

        A model of whole pictures (`data.crop: picture`) takes each picture for one object and asks
        no detector.

        Args:
            images: A path, a PIL image, or an array `(h, w, 3)` (also grey or with alpha), or a
                list of them.
            boxes: Boxes `(x0, y0, x1, y1)` of the objects, image px; for a list of pictures, a
                list of such lists. None to ask the detector.
            detector: As for `kdn.predict.predictor.Landmarker`.
            batch: Crops per pass through the network.

        Raises:
            FileNotFoundError: If a picture is not there.
            ValueError: If a picture cannot be read or a box has no area; the message names it.
        """
        several = isinstance(images, (list, tuple))
        pictures = [as_rgb(image) for image in (images if several else [images])]
        given = (
            (list(boxes) if several else [boxes]) if boxes is not None else [None] * len(pictures)
        )
        if len(given) != len(pictures):
            raise ValueError(
                f"boxes must be a list for each of {len(pictures)} images, got {len(given)}"
            )
        places = places_of(pictures, given, detector, self.model.recipe.data.crop)
        samples = [
            sample_of_place(pictures[p.image], p, f"{p.image}#{i}") for i, p in enumerate(places)
        ]
        result: list[list[Estimate]] = [[] for _ in pictures]
        for start in range(0, len(samples), batch):
            chunk = slice(start, start + batch)
            for place, estimate in zip(
                places[chunk], self._estimates(samples[chunk], places[chunk]), strict=True
            ):
                result[place.image].append(estimate)
        return result if several else result[0]

    def _estimates(self, samples: list[Sample], places: list[Place]) -> list[Estimate]:
        """Return the estimate of each sample."""
        model, data = self.model, self.model.recipe.data
        dataset = CropDataset(samples, labels=model.labels, data=data, augment=None, seed=0)
        crops = default_collate([dataset[i]["image"] for i in range(len(dataset))])
        with torch.no_grad():
            outputs = model(crops.to(model.mean.device))[-1].double()
            density = model.head.density(outputs)
            values: Tensor = model.head.decode(density).cpu()
            deviations = density.variance.sqrt().cpu()
        return [
            Estimate(
                bbox=place.bbox,
                names=model.labels.names,
                values=values[row].numpy(),
                deviations=deviations[row].numpy(),
                density=density[row],
                detection=place.detection,
            )
            for row, place in enumerate(places)
        ]


def sample_of_place(image: Any, place: Place, name: str) -> Sample:
    """Return an object in a picture as a sample without labels.

    Args:
        image: The picture, or its file.
        place: Where in it.
        name: The sample's id.
    """
    nothing = np.zeros(0, bool)
    return Sample(name, image, np.zeros((0, 2)), place.bbox, nothing, nothing)


def load_values(model: str | Path, *, device: str = "cpu") -> Estimator:
    """Return an estimator from a checkpoint that `kdn train` wrote for a recipe with `labels`.

    Args:
        model: The path of the checkpoint.
        device: Where it runs, as torch names it.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is no such checkpoint, or is one of landmarks.

    Example:
        >>> ages = load_values("runs/age/best.safetensors")  # doctest: +SKIP
        >>> for face in ages("chip.jpg"):  # doctest: +SKIP
        ...     print(face["age"], face.interval(0.9))
    """
    loaded, facts = load_model(model)
    if loaded.labels.kind != "scalars":
        raise ValueError(f"{model}: gives landmarks, not values; kdn.load takes it")
    return Estimator(loaded.to(device), facts)
