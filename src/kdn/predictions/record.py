"""What one system says about samples, and the labels it is scored against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from kdn.data.markup import Markup, markup_of_facts

__all__ = ["AREA_LEVELS", "BOOLEAN", "DECODERS", "SHAPES", "Predictions", "sample_shape"]

DECODERS = ("argmax", "quarter", "mean", "local_mean", "mode")
"""The columns that hold one decoder's landmarks each."""

AREA_LEVELS = (0.5, 0.8, 0.9, 0.95)
"""Masses of the regions that `hdr_areas` holds the areas of, in this order."""

SHAPES: dict[str, tuple[int | str, ...]] = {
    "bbox": (4,),
    "crop_to_image": (2, 3),
    "landmarks": ("L", 2),
    **dict.fromkeys(DECODERS, ("L", 2)),
    "covariances": ("L", 3),
    "uncertainty": ("L",),
    "entropy": ("L",),
    "target": ("L", 2),
    "valid": ("L",),
    "visible": ("L",),
    "log_prob": ("L",),
    "hdr_level": ("L",),
    "hdr_areas": ("L", 4),
    "hdr_tie": ("L",),
    "energy_score": ("L",),
    "mass_within": ("L", "R"),
    "error_probability": ("L",),
    "known": ("L",),
}
"""Shape of one sample's entry in every array; "L" stands for the number of landmarks, "R" for that
of the metadata's `radii`."""

BOOLEAN = ("valid", "visible", "known")
"""The arrays that are not of floating type."""

_AT_TARGET = ("valid", "log_prob", "hdr_level", "hdr_tie", "energy_score")


@dataclass(frozen=True)
class Predictions:
    """What one system says about `n` samples of `L` landmarks each, and the labels if there are.

    Convention: everything is in image pixels with integer pixel centres, points are `(x, y)`;
    densities are in nats per image pixel². Fields may be any floating type and are kept as
    float64. A field that is not known is None.

    Args:
        id: Name of each sample.
        landmarks: `(n, L, 2)`, the prediction: the chosen decoder's points.
        path: File of each sample's picture, "" where there is none.
        bbox: `(n, 4)` face boxes `(x0, y0, x1, y1)`.
        crop_to_image: `(n, 2, 3)` affine maps `[linear | offset]` from crop to image pixels.
        argmax: `(n, L, 2)`, the points by this decoder; likewise `quarter`, `mean`, `local_mean`
            and `mode`.
        covariances: `(n, L, 3)`, each density's covariance `(xx, xy, yy)`, px².
        uncertainty: `(n, L)`, the length `|Cov|^¼`, px.
        entropy: `(n, L)`, each density's differential entropy.
        target: `(n, L, 2)`, the labels, NaN where not valid.
        valid: `(n, L)`, True where the label counts; where `target` is finite if left out.
        visible: `(n, L)`, True where the landmark can be seen.
        log_prob: `(n, L)`, log-density at the target, NaN where not valid; `-inf` is allowed.
        hdr_level: `(n, L)`, mass of the region denser than the density at the target, NaN where
            not valid; between 0 and 1.
        hdr_areas: `(n, L, 4)`, areas of the regions of highest density that hold 50, 80, 90 and
            95 %, px².
        hdr_tie: `(n, L)`, mass of all exactly as dense as the density at the target, NaN where not
            valid; 0 for Gaussian kernels.
        energy_score: `(n, L)`, `E|Y − target| − ½ E|Y − Y′|`, px, NaN where not valid.
        mass_within: `(n, L, R)`, mass of each density within so far of `landmarks`, for the `R`
            distances `radii` of the metadata, in percent of `√(w·h)` of `bbox`. One minus it is
            the probability of a larger error.
        error_probability: `(n, L)`, probability that a landmark is off by more than the metadata's
            `tau`, where landmarks were given up for that.
        known: `(n, L)`, False where a landmark was given up.
        metadata: About the file, of JSON types: `markup`, `decoder`, `head`, `checkpoint`,
            `recipe`, `version`, `radii`.

    Raises:
        ValueError: If a shape does not fit, if what is said of labels comes without a target, or
            if a value is NaN, or an `hdr_level` or `hdr_tie` no share, where the label is valid.
    """

    id: tuple[str, ...]
    landmarks: Float[np.ndarray, "n L 2"]
    path: tuple[str, ...] | None = None
    bbox: Float[np.ndarray, "n 4"] | None = None
    crop_to_image: Float[np.ndarray, "n 2 3"] | None = None
    argmax: Float[np.ndarray, "n L 2"] | None = None
    quarter: Float[np.ndarray, "n L 2"] | None = None
    mean: Float[np.ndarray, "n L 2"] | None = None
    local_mean: Float[np.ndarray, "n L 2"] | None = None
    mode: Float[np.ndarray, "n L 2"] | None = None
    covariances: Float[np.ndarray, "n L 3"] | None = None
    uncertainty: Float[np.ndarray, "n L"] | None = None
    entropy: Float[np.ndarray, "n L"] | None = None
    target: Float[np.ndarray, "n L 2"] | None = None
    valid: Bool[np.ndarray, "n L"] | None = None
    visible: Bool[np.ndarray, "n L"] | None = None
    log_prob: Float[np.ndarray, "n L"] | None = None
    hdr_level: Float[np.ndarray, "n L"] | None = None
    hdr_areas: Float[np.ndarray, "n L 4"] | None = None
    hdr_tie: Float[np.ndarray, "n L"] | None = None
    energy_score: Float[np.ndarray, "n L"] | None = None
    mass_within: Float[np.ndarray, "n L R"] | None = None
    error_probability: Float[np.ndarray, "n L"] | None = None
    known: Bool[np.ndarray, "n L"] | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.landmarks.ndim != 3:
            raise ValueError(f"landmarks must be (n, L, 2), got shape {self.landmarks.shape}")
        if self.target is not None and self.valid is None:
            object.__setattr__(self, "valid", np.isfinite(self.target).all(axis=-1))
        for name in ("id", "path"):
            names = getattr(self, name)
            if names is not None and len(names) != len(self):
                raise ValueError(f"{name} must have {len(self)} entries, got {len(names)}")
        for name in SHAPES:
            value = getattr(self, name)
            if value is None:
                continue
            if name == "mass_within" and not self.radii:
                raise ValueError("metadata must name the radii that mass_within is of, got none")
            wanted = (len(self), *sample_shape(name, self.count, len(self.radii)))
            if value.shape != wanted:
                raise ValueError(f"{name} must have shape {wanted}, got {value.shape}")
            dtype = bool if name in BOOLEAN else np.float64
            object.__setattr__(self, name, value.astype(dtype, copy=False))
        self._check_labels()

    def _check_labels(self) -> None:
        """Raise if what is said of labels has no target, or is NaN or no share where valid."""
        valid = self.valid
        if self.target is None or valid is None:  # and it is None only if the target is
            given = [name for name in _AT_TARGET if getattr(self, name) is not None]
            if given:
                raise ValueError(
                    f"target must be given where {', '.join(given)} are, which say something of it"
                )
            return
        wrong = {"target must be finite": ~np.isfinite(self.target).all(axis=-1)}
        for name in ("log_prob", "energy_score"):
            value = getattr(self, name)
            if value is not None:
                wrong[f"{name} must be a number"] = np.isnan(value)
        for name in ("hdr_level", "hdr_tie"):
            value = getattr(self, name)
            if value is not None:
                # A thousandth is more than rounding adds to a sum of masses; NaN is not within.
                wrong[f"{name} must be between 0 and 1"] = ~(np.abs(value - 0.5) <= 0.501)
        for rule, bad in wrong.items():
            rows = np.flatnonzero((bad & valid).any(axis=1))
            if len(rows):
                raise ValueError(
                    f"{rule} where valid, which it is not in {len(rows)} samples, "
                    f"the first being {self.id[rows[0]]!r}"
                )

    def __len__(self) -> int:
        """Return the number of samples."""
        return self.landmarks.shape[0]

    def take(self, rows: Int[np.ndarray, " some"]) -> Predictions:
        """Return the samples of these indices, in this order, with all their columns."""
        chosen = {}
        for entry in fields(self):
            value = getattr(self, entry.name)
            if isinstance(value, np.ndarray):
                chosen[entry.name] = value[rows]
            elif isinstance(value, tuple):
                chosen[entry.name] = tuple(value[row] for row in rows)
        return replace(self, **chosen)

    @property
    def count(self) -> int:
        """Number of landmarks of a sample."""
        return self.landmarks.shape[1]

    @property
    def markup(self) -> str | None:
        """Name of the mark-up, None where the file does not say."""
        return self.metadata.get("markup")

    @property
    def radii(self) -> tuple[float, ...]:
        """The distances of `mass_within`, in percent of `√(w·h)` of `bbox`."""
        return tuple(self.metadata.get("radii", ()))

    @property
    def known_markup(self) -> Markup | None:
        """The mark-up that the metadata name or hold, None where they do not or it is unknown."""
        try:
            return markup_of_facts(self.metadata)
        except ValueError:
            return None

    @property
    def decoders(self) -> dict[str, Float[np.ndarray, "n L 2"]]:
        """The points of every decoder there is a column of, by name."""
        found = {name: getattr(self, name) for name in DECODERS}
        return {name: points for name, points in found.items() if points is not None}


def sample_shape(name: str, count: int, radii: int) -> tuple[int, ...]:
    """Return the shape of one sample's entry in a field, for so many landmarks and radii."""
    sizes = {"L": count, "R": radii}
    return tuple(sizes[size] if isinstance(size, str) else size for size in SHAPES[name])
