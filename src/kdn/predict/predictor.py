"""Pictures in, faces with landmark densities out: what `kdn.load` returns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from kdn.data import Framing, warp
from kdn.data.images import as_rgb
from kdn.data.markup import Markup
from kdn.density import Density, GaussianDensity, KernelDensity, decode
from kdn.grid import Affine
from kdn.models.checkpoint import load_model
from kdn.models.model import Model
from kdn.models.recalibration import Recalibration
from kdn.predict.detect import Detector
from kdn.predict.ensemble import Looks, views_of
from kdn.predict.face import Box, Face, face_score
from kdn.predict.places import Place, places_of
from kdn.predict.recrop import can_follow, poor_crop

__all__ = ["Landmarker", "landmarker_of", "load"]

_WORSE = 0.05
"""By how much less the second crop may score: a box that is too small shows the face larger, which
makes the first one look surer than it is."""

_PASSES = 3
"""Crops of one face after the first, at most: a chin that is cut off comes in step by step."""


def load(
    model: str | Path | Sequence[str | Path] = "face68",
    *,
    device: str = "cpu",
    mirror: bool | None = None,
    views: Sequence[Any] = (1.0,),
    combine: str = "mixture",
    calibrated: bool = True,
) -> Landmarker:
    """Return a landmarker from a model of the package or a checkpoint, or from several.

    Args:
        model: The name of a model that comes with the package (`face68`), or the path of a
            checkpoint that `kdn train` wrote; or a list of them, whose densities are combined.
        device: Where it runs, as torch names it.
        mirror: Average with the mirrored crop, for twice the time; None where the head can.
        calibrated: Recalibrate densities and levels as the model says, if `kdn calibrate` wrote it.
        views: Crops that each face is looked at in, as for `kdn.predict.ensemble.views_of`.
        combine: How the densities of several views and models become one: `mixture`, in which any
            of them may be right, or `product`, the logarithmic pool, in which all are.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is no checkpoint, or models have different mark-ups.

    Example:
        >>> model = load("face68")  # doctest: +SKIP
        >>> for face in model("photo.jpg"):  # doctest: +SKIP
        ...     print(face.landmarks, face.uncertainty)
    """
    names = [model] if isinstance(model, (str, Path)) else list(model)
    if not names:
        raise ValueError("model must name at least one, got none")
    return landmarker_of(
        [load_model(name) for name in names],
        device=device,
        mirror=mirror,
        views=views,
        combine=combine,
        calibrated=calibrated,
    )


def landmarker_of(
    models: Sequence[tuple[Model, Mapping[str, Any]]],
    *,
    device: str,
    mirror: bool | None,
    views: Sequence[Any],
    combine: str,
    calibrated: bool,
) -> Landmarker:
    """Return a landmarker of one or more models, with their facts; the rest is as for `load`."""
    first, *others = models
    for one, _ in models:
        if one.labels.kind != "points":
            scalars = ", ".join(one.labels.names)
            raise ValueError(
                f"model gives values ({scalars}), not landmarks; kdn.load_values takes it"
            )
    if not calibrated:
        for one, _ in (first, *others):
            one.recalibrations = {}
    return Landmarker(
        first[0].to(device),
        mirror=mirror,
        facts=first[1],
        others=[one.to(device) for one, _ in others],
        views=views,
        combine=combine,
    )


class Landmarker:
    """Finds faces and their landmarks in pictures.

    Args:
        model: In evaluation mode.
        mirror: Average each density with that of the mirrored crop; None where the head can.
        facts: What the checkpoint says of itself.
        others: More models, whose densities are combined with that of the first.
        views: Crops that each face is looked at in, as for `kdn.predict.ensemble.views_of`.
        combine: `mixture` or `product`.

    Raises:
        ValueError: If a view or the combination is none, or the models' mark-ups differ.
    """

    def __init__(
        self,
        model: Model,
        *,
        mirror: bool | None = None,
        facts: Mapping[str, Any] | None = None,
        others: Sequence[Model] = (),
        views: Sequence[Any] = (1.0,),
        combine: str = "mixture",
    ):
        self.model = model
        self.facts = dict(facts or {})
        self.mirror = model.can_flip if mirror is None else mirror
        self.framing = Framing.of_recipe(model.recipe.data)
        self._looks = Looks((model, *others), views_of(views), combine, mirror)
        # Levels are those of one model's densities; those of several looks are not fitted.
        single = self._looks.single
        self._recalibration = model.recalibration(self.mirror) if single else Recalibration()

    @property
    def markup(self) -> Markup:
        """What the landmarks are."""
        return self.model.labels.markup

    @property
    def whole(self) -> bool:
        """Whether each picture is one object, so that there are neither boxes nor detectors."""
        return self.framing.crop == "picture"

    @overload
    def __call__(
        self,
        images: str | Path | np.ndarray,
        boxes: Sequence[Box] | None = None,
        *,
        detector: str | Detector = "auto",
        again: bool | None = None,
        batch: int = 16,
    ) -> list[Face]: ...

    @overload
    def __call__(
        self,
        images: list[Any] | tuple[Any, ...],
        boxes: Sequence[Sequence[Box] | None] | None = None,
        *,
        detector: str | Detector = "auto",
        again: bool | None = None,
        batch: int = 16,
    ) -> list[list[Face]]: ...

    def __call__(
        self,
        images: Any,
        boxes: Any = None,
        *,
        detector: str | Detector = "auto",
        again: bool | None = None,
        batch: int = 16,
    ) -> Any:
        """Return the faces of one picture, or of each of several.

        Faces of all pictures go through the network together, `batch` at a time.

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
            again: Crop again by the box of the landmarks that were found. True: every face, once;
                None: a face where that box is another than the one that was cropped by or a
                landmark lies at the edge of the crop, up to three times, other objects never, as
                their boxes need not be those of landmarks; False: never. Whole pictures never are.
            batch: Crops per pass through the network.

        Raises:
            FileNotFoundError: If a picture is not there.
            ValueError: If a picture cannot be read or a box has no area, the message names it; or
                if there are boxes for whole pictures, or none where they are needed.
        """
        if isinstance(images, (list, tuple)):
            given = [None] * len(images) if boxes is None else list(boxes)
            if len(given) != len(images):
                raise ValueError(
                    f"boxes must be a list for each of {len(images)} images, got {len(given)}"
                )
            return self._faces([as_rgb(image) for image in images], given, detector, again, batch)
        return self._faces([as_rgb(images)], [boxes], detector, again, batch)[0]

    def _faces(
        self,
        pictures: list[UInt8[np.ndarray, "_ _ 3"]],
        boxes: Sequence[Sequence[Sequence[float]] | None],
        detector: str | Detector,
        again: bool | None,
        batch: int,
    ) -> list[list[Face]]:
        """Return the faces of each picture, in the order of boxes or detections."""
        places = places_of(pictures, boxes, detector, self.framing.crop)
        faces = list(self._found(pictures, places, batch))
        follows = again is not False and not self.whole and (again or self.framing.crop == "face")
        waiting = [i for i, face in enumerate(faces) if can_follow(face)] if follows else []
        for _ in range(1 if again else _PASSES):
            poor = [i for i in waiting if again or poor_crop(faces[i], self.framing.context)]
            moved = [replace(places[i], bbox=faces[i].landmark_box) for i in poor]
            waiting = []
            for index, face in zip(poor, self._found(pictures, moved, batch), strict=True):
                if again or face.score >= faces[index].score - _WORSE:
                    faces[index] = face
                    waiting += [index] if can_follow(face) else []
        result: list[list[Face]] = [[] for _ in pictures]
        for place, face in zip(places, faces, strict=True):
            result[place.image].append(face)
        return result

    def _found(self, pictures: list[np.ndarray], places: list[Place], batch: int) -> Iterator[Face]:
        """Yield the face of each place, the network seeing `batch` crops at a time."""
        size = {"height": self.framing.height, "width": self.framing.width}
        for start in range(0, len(places), batch):
            some = places[start : start + batch]
            if not self._looks.single:
                yield from self._combined([pictures[place.image] for place in some], some)
                continue
            maps = [
                self.framing.crop_to_image(place.bbox, pictures[place.image].shape[:2])
                for place in some
            ]
            crops = [
                warp(pictures[place.image], crop_to_image, **size)
                for place, crop_to_image in zip(some, maps, strict=True)
            ]
            stacked = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).contiguous()
            with torch.no_grad():
                device = self.model.mean.device
                found = self.model.density(stacked.to(device), flip=self.mirror, adjusted=False)
                points = self.model.head.decode(found).double().cpu()
                density = self._recalibration.adjusted(found)
                for row, (place, crop_to_image) in enumerate(zip(some, maps, strict=True)):
                    yield self._face(density[row], points[row], place, crop_to_image)

    def _combined(self, pictures: list[np.ndarray], places: list[Place]) -> Iterator[Face]:
        """Yield the face of each place from the densities of several looks."""
        with torch.no_grad():
            looks = self._looks.densities(pictures, [place.bbox for place in places])
            for row, place in enumerate(places):
                density, before = self._looks.combined(looks, row)
                name = "mean" if self.model.head.decoder == "mean" else "mode"
                points = decode(before, name).double().cpu()
                yield self._in_image(density, points.numpy(), place)

    def _face(
        self,
        density: KernelDensity | GaussianDensity,
        points: Float[Tensor, "L 2"],
        place: Place,
        crop_to_image: Affine,
    ) -> Face:
        """Return one face, moved from crop to image pixels."""
        mapped = density.mapped(crop_to_image.to(density.mean.device))
        return self._in_image(mapped, crop_to_image.points(points).numpy(), place)

    def _in_image(
        self,
        mapped: Density,
        landmarks: Float[np.ndarray, "L 2"],
        place: Place,
    ) -> Face:
        """Return one face from densities and points in image pixels."""
        uncertainty = mapped.uncertainty_length.double().cpu().numpy()
        face = Face(
            bbox=place.bbox,
            landmarks=landmarks,
            covariances=mapped.covariance_matrix.double().cpu().numpy(),
            uncertainty=uncertainty,
            score=0.0,
            markup=self.markup,
            density=mapped,
            detection=place.detection,
            recalibration=self._recalibration,
        )
        return replace(face, score=face_score(uncertainty, face.landmark_box))
