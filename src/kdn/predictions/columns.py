"""The schema of predictions, stated once.

Reading, writing, validation, the table of the documentation and the scores follow from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = [
    "AREA_LEVELS",
    "COLUMNS",
    "DECODERS",
    "POINTS",
    "QUANTILES",
    "SCALARS",
    "Column",
    "decoders_of",
]

DECODERS = ("argmax", "quarter", "mean", "local_mean", "mode", "median")
"""The columns that hold one decoder's points each."""

AREA_LEVELS = (0.5, 0.8, 0.9, 0.95)
"""Masses of the regions that `hdr_areas` holds the areas of, in this order."""

QUANTILES = (0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975)
"""Levels of `quantiles`, in this order."""

POINTS = "points"
"""The kind of labels that are landmarks."""

SCALARS = "scalars"
"""The kind of labels that are numbers on an axis."""


@dataclass(frozen=True)
class Column:
    """One column of a file of predictions.

    Args:
        shape: Of one sample's entry, such as `L E`: numbers, or letters for the number of labels
            (`L`), the event (`E`: 2 for points, nothing for scalars), the radii (`R`), the areas
            (`A`) and the quantiles (`Q`).
        unit: With the frame, of points and of scalars.
        about: What it is, in one line.
        kind: Kind of the labels that have it, None for both.
        at_label: Whether it says something of the label, and so needs one.
        boolean: Whether it holds booleans, not float64.
    """

    shape: str
    unit: str
    about: str
    kind: str | None = None
    at_label: bool = False
    boolean: bool = False

    def sample_shape(self, kind: str, labels: int, radii: int) -> tuple[int, ...]:
        """Return the shape of one sample's entry for labels of a kind."""
        sizes = {
            "L": (labels,),
            "E": (2,) if kind == POINTS else (),
            "R": (radii,),
            "A": (len(AREA_LEVELS),),
            "Q": (len(QUANTILES),),
        }
        shapes = [sizes[s] if s in sizes else (int(s),) for s in self.shape.split()]
        return tuple(size for shape in shapes for size in shape)

    def is_of(self, kind: str) -> bool:
        """Return whether labels of a kind have this column."""
        return self.kind in (None, kind)


COLUMNS: Mapping[str, Column] = {
    "bbox": Column("4", "image px", "box `x0, y0, x1, y1` that the crop follows from"),
    "crop_to_image": Column(
        "2 3", "crop px → image px", "affine map `[linear, offset]`, two rows of three"
    ),
    "landmarks": Column(
        "L 2", "image px", "the prediction: the points of the chosen decoder", POINTS
    ),
    "values": Column("L", "unit", "the prediction: what the chosen decoder gives", SCALARS),
    "argmax": Column(
        "L E", "image px or unit", "the prediction by this decoder ([Decoders](maths.md#decoders))"
    ),
    "quarter": Column("L 2", "image px", "likewise", POINTS),
    "mean": Column("L E", "image px or unit", "likewise"),
    "local_mean": Column(
        "L 2", "image px", "likewise, within 2.5 of the network's own cells", POINTS
    ),
    "mode": Column("L E", "image px or unit", "likewise"),
    "median": Column("L", "unit", "likewise", SCALARS),
    "covariances": Column("L 3", "image px²", "covariance `xx, xy, yy` of each density", POINTS),
    "uncertainty": Column(
        "L", "image px or unit", "the length `|Cov|^¼` of points, the standard deviation of scalars"
    ),
    "entropy": Column("L", "nats, per image px² or unit", "differential entropy"),
    "quantiles": Column(
        "L Q", "unit", "quantiles of 2.5, 5, 10, 25, 50, 75, 90, 95 and 97.5 %", SCALARS
    ),
    "target": Column("L E", "image px or unit", "the label, NaN where not valid"),
    "valid": Column("L", "–", "True where the label counts", at_label=True, boolean=True),
    "visible": Column("L", "–", "True where the landmark can be seen", boolean=True),
    "log_prob": Column(
        "L",
        "nats, per image px² or unit",
        "log-density at the label, or of what may have been "
        "[rounded](scalars.md#rounded-labels) to it; NaN where not valid, −∞ is possible",
        at_label=True,
    ),
    "hdr_level": Column(
        "L",
        "share, 0 to 1",
        "mass of the region denser than the density at the label, NaN where not valid",
        at_label=True,
    ),
    "hdr_tie": Column(
        "L",
        "share, 0 to 1",
        "mass of all exactly as dense as the density at the label, NaN where not valid;"
        " 0 unless kernels are uniform, or levels recalibrated, whose step it is",
        at_label=True,
    ),
    "hdr_areas": Column(
        "L A",
        "image px² or unit",
        "areas, or lengths, of the regions of highest density of 50, 80, 90, 95 %",
    ),
    "energy_score": Column(
        "L",
        "image px or unit",
        "[energy score](calibration.md#scores) of the density at the label, which of "
        "scalars is the CRPS; NaN where not valid",
        at_label=True,
    ),
    "cdf_low": Column(
        "L",
        "share, 0 to 1",
        "the density's mass below the label, or below what may have been rounded to it",
        SCALARS,
        at_label=True,
    ),
    "cdf_high": Column(
        "L", "share, 0 to 1", "likewise up to the label's end", SCALARS, at_label=True
    ),
    "mass_within": Column(
        "L R",
        "share, 0 to 1",
        "mass of each density within so far of the prediction, for the `R` distances "
        "that the metadata name `radii`: of points in percent of `√(w·h)` of `bbox` (2,"
        " 5, 7 and 10), of scalars in the unit. `1 −` it is the density's own "
        "probability of a larger error",
    ),
    "error_probability": Column(
        "L",
        "share, 0 to 1",
        "probability that a prediction is off by more than the metadata's `tau`, [where"
        " landmarks were given up](predict.md#landmarks-that-are-given-up) for that",
    ),
    "known": Column("L", "–", "False where a prediction was given up, likewise", boolean=True),
}
"""The schema: every column of numbers of a file of predictions, by name."""


def decoders_of(kind: str) -> tuple[str, ...]:
    """Return the decoders that predictions of a kind of labels have columns of."""
    return tuple(name for name in DECODERS if COLUMNS[name].is_of(kind))
