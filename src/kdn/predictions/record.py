"""What one system predicts for samples, and the labels it is scored against."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Int

from kdn.data.markup import Markup, markup_of_facts
from kdn.predictions.columns import COLUMNS, DECODERS, POINTS, SCALARS, Column

__all__ = ["Predictions"]

Array: TypeAlias = np.ndarray | None


@dataclass(frozen=True)
class Predictions:
    """What one system predicts for `n` samples of `L` labels each, and the labels if there are.

    Convention: points are `(x, y)` in image pixels with integer pixel centres, and their densities
    are in nats per image pixel²; scalars are in the label's unit, their densities in nats per unit.
    Fields may be any floating type and are kept as float64. All but `id`, and `landmarks` or
    `values`, may be missing (None). `COLUMNS` says what each holds; `metadata` are of JSON types:
    `markup` of points, `names` of scalars, `decoder`, `head`, `rounding`, `recipe`, `radii`.

    Raises:
        ValueError: If a shape does not fit, if what is said of labels comes without a target, or
            if a number is NaN, or a share outside [0, 1], where the label is valid.
    """

    id: tuple[str, ...]
    path: tuple[str, ...] | None = None
    bbox: Array = None
    crop_to_image: Array = None
    landmarks: Array = None
    values: Array = None
    argmax: Array = None
    quarter: Array = None
    mean: Array = None
    local_mean: Array = None
    mode: Array = None
    median: Array = None
    covariances: Array = None
    uncertainty: Array = None
    entropy: Array = None
    quantiles: Array = None
    target: Array = None
    valid: Array = None
    visible: Array = None
    log_prob: Array = None
    hdr_level: Array = None
    hdr_tie: Array = None
    hdr_areas: Array = None
    energy_score: Array = None
    cdf_low: Array = None
    cdf_high: Array = None
    mass_within: Array = None
    error_probability: Array = None
    known: Array = None
    attributes: Mapping[str, Sequence[Any]] = dataclasses.field(default_factory=dict)
    metadata: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.landmarks is None) == (self.values is None):
            raise ValueError("predictions must have landmarks or values, and not both")
        wanted = 3 if self.kind == POINTS else 2
        if self.prediction.ndim != wanted:
            name, letters = ("landmarks", "L, 2") if wanted == 3 else ("values", "L")
            raise ValueError(f"{name} must be (n, {letters}), got shape {self.prediction.shape}")
        if self.kind == SCALARS and len(self.names) != self.count:
            raise ValueError(f"metadata must name the {self.count} values, got names {self.names}")
        if self.target is not None and self.valid is None:
            object.__setattr__(self, "valid", _finite(self.target))
        for name, entries in {"path": self.path, "id": self.id, **self.attributes}.items():
            if entries is not None and len(entries) != len(self):
                raise ValueError(f"{name} must have {len(self)} entries, got {len(entries)}")
        for name, column in COLUMNS.items():
            self._check_column(name, column)
        self._check_labels()

    def _check_column(self, name: str, column: Column) -> None:
        """Raise unless a column fits the others, and give it its type."""
        array = getattr(self, name)
        if array is None:
            return
        if not column.is_of(self.kind):
            raise ValueError(f"{name} is of {column.kind}, but these are {self.kind}")
        if "R" in column.shape and not self.radii:
            raise ValueError(f"metadata must name the radii that {name} is of, got none")
        wanted = (len(self), *column.sample_shape(self.kind, self.count, len(self.radii)))
        if array.shape != wanted:
            raise ValueError(f"{name} must have shape {wanted}, got {array.shape}")
        dtype = bool if column.boolean else np.float64
        object.__setattr__(self, name, array.astype(dtype, copy=False))

    def _check_labels(self) -> None:
        """Raise if what is said of labels has no target, or is NaN or no share where valid."""
        names = [n for n, c in COLUMNS.items() if c.at_label and getattr(self, n) is not None]
        if self.target is None or self.valid is None:  # and it is None only if the target is
            if names:
                raise ValueError(
                    f"target must be given where {', '.join(names)} are, which say something of it"
                )
            return
        wrong = {"target must be finite": ~_finite(self.target)}
        for name in names:
            numbers, unit = getattr(self, name), COLUMNS[name].unit
            if unit.startswith("share"):
                # A thousandth is more than rounding adds to a sum of masses; NaN is not within.
                wrong[f"{name} must be between 0 and 1"] = ~(np.abs(numbers - 0.5) <= 0.501)
            elif not COLUMNS[name].boolean:
                wrong[f"{name} must be a number"] = np.isnan(numbers)
        for rule, bad in wrong.items():
            samples = np.flatnonzero((bad & self.valid).any(axis=1))
            if len(samples):
                raise ValueError(
                    f"{rule} where valid, which it is not in {len(samples)} samples, "
                    f"the first being {self.id[samples[0]]!r}"
                )

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.prediction)

    @property
    def kind(self) -> str:
        """Kind of the labels: `points` or `scalars`."""
        return POINTS if self.values is None else SCALARS

    @property
    def prediction(self) -> np.ndarray:
        """The prediction, `(n, L, 2)` landmarks or `(n, L)` values."""
        chosen = self.landmarks if self.values is None else self.values
        if chosen is None:
            raise ValueError("predictions must have landmarks or values, got neither")
        return chosen

    def with_prediction(self, prediction: np.ndarray, **changes: Any) -> Predictions:
        """Return the same with another prediction; `mass_within`, which was about it, is dropped.

        Args:
            prediction: Landmarks or values, as those that it replaces.
            **changes: Other fields.
        """
        name = "landmarks" if self.kind == POINTS else "values"
        return replace(self, **{"mass_within": None, name: prediction, **changes})

    def with_labels(self, target: np.ndarray, **changes: Any) -> Predictions:
        """Return the same with other labels; what says something of the old ones is dropped.

        Args:
            target: `(n, L, 2)` or `(n, L)`, NaN where there is none.
            **changes: Other fields.
        """
        dropped = {name: None for name, column in COLUMNS.items() if column.at_label}
        return replace(self, **{**dropped, "target": target, **changes})

    def take(self, rows: Int[np.ndarray, " _"]) -> Predictions:
        """Return the samples of these indices, in this order, with all their columns."""
        chosen: dict[str, Any] = {}
        for entry in dataclasses.fields(self):
            value = getattr(self, entry.name)
            if isinstance(value, np.ndarray):
                chosen[entry.name] = value[rows]
            elif isinstance(value, tuple):
                chosen[entry.name] = tuple(value[row] for row in rows)
        columns = {name: [column[row] for row in rows] for name, column in self.attributes.items()}
        return replace(self, **chosen, attributes=columns)

    @staticmethod
    def concatenate(chunks: Sequence[Predictions]) -> Predictions:
        """Return predictions one after the other, with the columns and the metadata of the first.

        Raises:
            ValueError: If there are none, or if one lacks a column that the first has.
        """
        if not chunks:
            raise ValueError("chunks must hold at least one, got none")
        first, joined = chunks[0], {}
        for entry in dataclasses.fields(first):
            parts = [getattr(chunk, entry.name) for chunk in chunks]
            if entry.name == "metadata" or parts[0] is None:
                continue
            if any(value is None for value in parts):
                raise ValueError(f"chunks must have the same columns, one has no {entry.name}")
            if isinstance(parts[0], np.ndarray):
                joined[entry.name] = np.concatenate(parts)
            elif isinstance(parts[0], tuple):
                joined[entry.name] = tuple(value for chunk in parts for value in chunk)
        attributes = {
            name: [value for chunk in chunks for value in chunk.attributes[name]]
            for name in first.attributes
        }
        return replace(first, **joined, attributes=attributes)

    @property
    def count(self) -> int:
        """Number of labels of a sample."""
        return self.prediction.shape[1]

    @property
    def names(self) -> tuple[str, ...]:
        """What the labels are called; empty where the file does not say."""
        names = self.metadata.get("names")
        if names is None and self.known_markup is not None:
            names = self.known_markup.names
        return tuple(names or ())

    @property
    def rounding(self) -> float:
        """What the labels were rounded to, 0 where the file does not say."""
        return float(self.metadata.get("rounding", 0.0))

    @property
    def markup(self) -> str | None:
        """Name of the mark-up, None where the file does not say."""
        return self.metadata.get("markup")

    @property
    def radii(self) -> tuple[float, ...]:
        """The distances of `mass_within`."""
        return tuple(self.metadata.get("radii", ()))

    @property
    def known_markup(self) -> Markup | None:
        """The mark-up that the metadata name or hold, None where they do not or it is unknown."""
        try:
            return markup_of_facts(self.metadata)
        except ValueError:
            return None

    @property
    def decoders(self) -> dict[str, np.ndarray]:
        """The predictions of every decoder there is a column of, by name."""
        columns = {name: getattr(self, name) for name in DECODERS}
        return {name: points for name, points in columns.items() if points is not None}

    def attribute(self, name: str) -> np.ndarray:
        """Return one attribute of the samples as an array, to compare samples by.

        Returns:
            `(n,)` of strings, booleans or float64; None is "" or NaN, and among booleans they all
            become the strings "true", "false" and "".

        Raises:
            ValueError: If there is no such attribute.
        """
        if name not in self.attributes:
            raise ValueError(f"column {name!r} is missing, there are {list(self.attributes)}")
        column = list(self.attributes[name])
        known = [entry for entry in column if entry is not None]
        if known and all(isinstance(entry, bool) for entry in known):
            if len(known) == len(column):
                return np.array(column, dtype=bool)
            return np.array(["" if entry is None else str(entry).lower() for entry in column])
        if any(isinstance(entry, str) for entry in known):
            return np.array(["" if entry is None else str(entry) for entry in column], dtype=str)
        return np.array([np.nan if v is None else v for v in column], dtype=np.float64)


def _finite(labels: Float[np.ndarray, "n L *E"]) -> Bool[np.ndarray, "n L"]:
    """Return which labels are finite in all their coordinates."""
    return np.asarray(np.isfinite(labels).all(axis=tuple(range(2, labels.ndim))))
