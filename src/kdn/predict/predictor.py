"""Pictures in, objects with the densities of their labels out: what `kdn.load` returns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from kdn.data import Framing, Labels
from kdn.data.images import as_rgb
from kdn.data.markup import Markup
from kdn.models.checkpoint import load_model
from kdn.models.model import Model
from kdn.predict.detect import Detector
from kdn.predict.ensemble import Looks, views_of
from kdn.predict.regions import Region, can_follow, poor_crop, regions_of
from kdn.predict.results import Face, Prediction, Scalars, face_score

__all__ = ["Predictor", "load", "load_values"]

_WORSE = 0.05
"""By how much less the second crop may score: a box that is too small shows the face larger, which
makes the first one look surer than it is."""

_PASSES = 3
"""Crops of one face after the first, at most: a chin that is cut off comes in step by step."""


def load(
    model: str | Path | Sequence[str | Path] = "face68",
    *,
    device: str = "cpu",
    flip: bool | None = None,
    views: Sequence[Any] = (1.0,),
    combine: str = "mixture",
    calibrated: bool = True,
    trust: Sequence[str] = (),
) -> Predictor:
    """Return a predictor of a model of the package or a checkpoint, or of several.

    Args:
        model: The name of a model that comes with the package (`face68`), or the path of a
            checkpoint that `kdn train` wrote; or a list of them, whose densities are combined.
        device: Where it runs, as torch names it.
        flip: Average with the flipped crop, for twice the time; None where the head can.
        views: Crops that each object is looked at in: scales, or `(scale, right, down)` as shares
            of the usual crop.
        combine: How the densities of several views and models become one: `mixture`, in which any
            of them may be right, or `product`, the logarithmic pool, in which all are.
        calibrated: Recalibrate densities and levels as the model says, if `kdn calibrate` wrote it.
        trust: Packages whose code a checkpoint may run, by their names.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is no checkpoint, or models have different labels.

    Example:
        >>> model = load("face68")  # doctest: +SKIP
        >>> for face in model("photo.jpg"):  # doctest: +SKIP
        ...     print(face.landmarks, face.uncertainty)
    """
    names = [model] if isinstance(model, (str, Path)) else list(model)
    if not names:
        raise ValueError("model must name at least one, got none")
    loaded = [load_model(name, trust=trust) for name in names]
    for one, _ in loaded:
        one.to(device)
        if not calibrated:
            one.recalibrations = {}
    models = [one for one, _ in loaded]
    return Predictor(*models, flip=flip, views=views, combine=combine, metadata=loaded[0][1])


def load_values(model: str | Path, *, device: str = "cpu") -> Predictor:
    """Return a predictor of scalars: `load`, which takes them too, by its old name.

    Raises:
        ValueError: If it is a model of landmarks.
    """
    predictor = load(model, device=device)
    if predictor.labels.kind != "scalars":
        raise ValueError(f"{model}: gives landmarks, not scalars; kdn.load takes it")
    return predictor


class Predictor:
    """Finds objects in pictures, and predicts their landmarks or scalars.

    Args:
        *models: In evaluation mode, of the same labels; the densities of several are combined.
        flip: Average each density with that of the flipped crop; None where the head can.
        views: Crops that each object is looked at in, as for `kdn.predict.ensemble.views_of`.
        combine: `mixture` or `product`.
        metadata: What the first model's checkpoint says of itself.

    Raises:
        ValueError: If a view or the combination is none, or the models' labels differ.
    """

    def __init__(
        self,
        *models: Model,
        flip: bool | None = None,
        views: Sequence[Any] = (1.0,),
        combine: str = "mixture",
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        self.model = models[0]
        self.metadata = dict(metadata or {})
        self.framing = Framing.of_recipe(self.model.recipe.data)
        self.looks = Looks(models, views_of(views), combine, flip)

    @property
    def labels(self) -> Labels:
        """What is predicted."""
        return self.model.labels

    @property
    def markup(self) -> Markup:
        """What the landmarks are; None of scalars."""
        return self.labels.markup

    @property
    def whole(self) -> bool:
        """Whether each picture is one object, so that there are neither boxes nor detectors."""
        return self.framing.crop == "picture"

    def __call__(
        self,
        images: Any,
        boxes: Any = None,
        *,
        detector: str | Detector = "auto",
        refine: bool | None = None,
        batch: int = 16,
    ) -> list[Any]:
        """Return the objects of one picture, or of each of several: `Face`, or `Scalars`.

        Objects of all pictures go through the network together, `batch` at a time.

        Args:
            images: A path, a PIL image, or an array `(h, w, 3)` (also grey or with alpha), or a
                list of them.
            boxes: Boxes `(x0, y0, x1, y1)` about the landmarks of each face, image px; for a list
                of pictures, a list of such lists. None to ask the detector; there are none for a
                model of whole pictures (`data.crop: picture`).
            detector: `auto` (see `kdn.predict.detect.detector_for`), `haar`, `yunet:FILE`, `none`
                (the whole picture is a face, or what else the model is for), or any function from
                an RGB array to detections; asked where no boxes are given, never for whole
                pictures.
            refine: Crop again by the box of the predicted landmarks. True: every face, once; None:
                a face where that box is another than the one that was cropped by or a landmark
                lies at the edge of the crop, up to three times, other objects never, as their
                boxes need not be those of landmarks; False: never. Whole pictures, and crops of
                models of scalars, never are.
            batch: Crops per pass through the network.

        Raises:
            FileNotFoundError: If a picture is not there.
            ValueError: If a picture cannot be read or a box has no area, the message names it; or
                if there are boxes for whole pictures, or none where they are needed.
        """
        several = isinstance(images, (list, tuple))
        pictures = [as_rgb(image) for image in (images if several else [images])]
        known = list(boxes) if several and boxes is not None else [boxes] * len(pictures)
        if len(known) != len(pictures):
            raise ValueError(
                f"boxes must be a list for each of {len(pictures)} images, got {len(known)}"
            )
        regions = regions_of(pictures, known, detector, self.framing.crop)
        predictions = list(self._predicted(pictures, regions, batch))
        if refine is not False and self.labels.event and not self.whole:
            self._refine(predictions, pictures, regions, refine, batch)
        result: list[list[Prediction]] = [[] for _ in pictures]
        for region, prediction in zip(regions, predictions, strict=True):
            result[region.image].append(prediction)
        return result if several else result[0]

    def _refine(
        self,
        faces: list[Any],
        pictures: list[UInt8[np.ndarray, "_ _ 3"]],
        regions: list[Region],
        always: bool | None,
        batch: int,
    ) -> None:
        """Put faces that are better seen in a crop by their landmarks in place of the first."""
        if not always and self.framing.crop != "face":
            return
        waiting = [i for i, f in enumerate(faces) if can_follow(f.bbox, f.landmark_box)]
        for _ in range(1 if always else _PASSES):
            poor = [
                i
                for i in waiting
                if always or poor_crop(faces[i].bbox, faces[i].landmark_box, self.framing.context)
            ]
            moved = [replace(regions[i], bbox=faces[i].landmark_box) for i in poor]
            waiting = []
            for i, face in zip(poor, self._predicted(pictures, moved, batch), strict=True):
                if always or face.score >= faces[i].score - _WORSE:
                    faces[i] = face
                    waiting += [i] if can_follow(face.bbox, face.landmark_box) else []

    def _predicted(
        self, pictures: list[np.ndarray], regions: list[Region], batch: int
    ) -> Iterator[Any]:
        """Yield what is predicted in each region, the network seeing `batch` crops at a time."""
        for start in range(0, len(regions), batch):
            chunk = regions[start : start + batch]
            look = self.looks([pictures[r.image] for r in chunk], [r.bbox for r in chunk])
            points = self.model.decode(look.before).double().cpu().numpy()
            spread = look.density.uncertainty_length.double().cpu().numpy()
            covariances = None
            if self.labels.event:
                covariances = look.density.covariance_matrix.double().cpu().numpy()
            for row, region in enumerate(chunk):
                about: dict[str, Any] = {
                    "bbox": region.bbox,
                    "labels": self.labels,
                    "uncertainty": spread[row],
                    "density": look.density[row],
                    "detection": region.detection,
                    "recalibration": self.looks.recalibration,
                }
                if covariances is None:
                    yield Scalars(values=points[row], **about)
                else:
                    face = Face(
                        landmarks=points[row], covariances=covariances[row], score=0.0, **about
                    )
                    yield replace(face, score=face_score(face.uncertainty, face.landmark_box))
