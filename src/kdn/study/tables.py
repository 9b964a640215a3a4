"""The study's tables of scores: methods, differences, decoders and bandwidths."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from kdn.density import DECODERS
from kdn.study.plan import METHODS, REFERENCE
from kdn.study.report import Table, difference, number, summarise, with_interval
from kdn.study.results import Scores

__all__ = ["epochs_to_final", "published_table", "score_tables", "sweep_table"]

Seeds = Mapping[str, Sequence[Scores]]
"""By method: the scores of each seed."""

_Column = tuple[str, str, int]  # head, name of the score, digits

_ACCURACY: tuple[_Column, ...] = (
    ("NME, box (%)", "NME box", 2),
    ("AUC@7 exact (%)", "AUC@7 box (exact)", 1),
    ("AUC@7 fan70 (%)", "AUC@7 box (fan70)", 1),
    ("failure@7 (%)", "failure@7 box (exact)", 2),
)
_DENSITY: tuple[_Column, ...] = (
    ("NLL per crop px²", "NLL per crop px²", 2),
    ("its median", "NLL per crop px², median", 2),
    ("50 % regions hold (%)", "coverage of 50 % regions", 1),
    ("80 %", "coverage of 80 % regions", 1),
    ("90 %", "coverage of 90 % regions", 1),
    ("95 %", "coverage of 95 % regions", 1),
)
_UNCERTAINTY: tuple[_Column, ...] = (
    ("Spearman (px)", "Spearman (px)", 3),
    ("Spearman (÷ box)", "Spearman (÷ box)", 3),
    ("Pearson (px)", "Pearson (px)", 3),
    ("Pearson (÷ box)", "Pearson (÷ box)", 3),
    ("AUSE (px)", "AUSE (px)", 3),
)
_DIFFERENCES: tuple[_Column, ...] = (
    ("NME, box", "NME box", 2),
    ("AUC@7 exact", "AUC@7 box (exact)", 1),
    ("failure@7", "failure@7 box (exact)", 2),
    ("NLL per crop px²", "NLL per crop px²", 2),
    ("95 % coverage", "coverage of 95 % regions", 1),
    ("Spearman (px)", "Spearman (px)", 3),
    ("AUSE (px)", "AUSE (px)", 3),
)


def score_tables(seeds: Seeds, floor: Mapping[str, float], cell: float) -> list[Table]:
    """Return the tables of Table 1, their differences, and the decoders.

    Args:
        seeds: Methods in the order of the rows; those without a finished run are left out.
        floor: NME (%) that perfect heatmaps leave with each decoder.
        cell: Side of a cell in percent of the box.
    """
    scored = {key: scores for key, scores in seeds.items() if scores}
    tables = [
        _scores("Table 1: accuracy", _ACCURACY, scored, _ACCURACY_NOTE),
        _scores("Does the density keep its promise?", _DENSITY, scored, _DENSITY_NOTE),
        _scores("Does the uncertainty know the error?", _UNCERTAINTY, scored, _UNCERTAINTY_NOTE),
    ]
    if REFERENCE in scored and len(scored) > 1:
        tables.append(_differences(scored))
    return [*tables, _decoders(scored, floor, cell)]


_ACCURACY_NOTE = (
    "Mean over seeds ± standard deviation over seeds, and the 95 % interval of the mean over "
    "resampled images. `exact` and `fan70` are two rules for the same area, never to be compared; "
    "the paper's figures fit fan70 where they fit any."
)
_DENSITY_NOTE = (
    "Nats, lower is better; infinite as soon as one label has no density at all, which happens to "
    "heatmaps cut off at zero. Regions of highest density should hold what they are named by."
)
_UNCERTAINTY_NOTE = (
    "Uncertainty is |Cov|^¼, pooled over landmarks. Dividing uncertainty and error by the same box "
    "raises Pearson's coefficient where faces differ in size. AUSE: lower is better."
)


def _scores(title: str, columns: Sequence[_Column], seeds: Seeds, note: str) -> Table:
    rows = [
        [
            METHODS[key].title,
            *(with_interval(summarise(scores, name), digits) for _, name, digits in columns),
            str(len(scores)),
        ]
        for key, scores in seeds.items()
    ]
    return Table(title, ["Method", *(head for head, _, _ in columns), "seeds"], rows, note)


def _differences(seeds: Seeds) -> Table:
    """Return each method minus the reference, paired."""
    rows = []
    for key, scores in seeds.items():
        if key == REFERENCE:
            continue
        cells = []
        for _, name, digits in _DIFFERENCES:
            gap = difference(scores, seeds[REFERENCE], name)
            text = with_interval(gap, digits, sign=True)
            cells.append(f"**{text}**" if gap.excludes_zero and not gap.within_seeds else text)
        shared = min(len(scores), len(seeds[REFERENCE]))
        rows.append([METHODS[key].title, *cells, str(shared)])
    return Table(
        f"Differences from {METHODS[REFERENCE].title}",
        ["Method", *(head for head, _, _ in _DIFFERENCES), "seeds"],
        rows,
        "Paired: the same resampled images, and the same seeds, for both. In bold where the 95 % "
        "interval over images does not hold zero and the gap is larger than its spread over seeds; "
        "with one seed that spread is not known. Bold says neither better nor worse.",
    )


def _decoders(seeds: Seeds, floor: Mapping[str, float], cell: float) -> Table:
    """Return the box NME of every decoder of every method, over that of perfect heatmaps."""
    rows = []
    for key, scores in seeds.items():
        cells = [with_interval(summarise(scores, f"NME box, {d}"), 2) for d in DECODERS]
        rows.append([METHODS[key].title, *cells])
    rows.append(["perfect heatmaps", *(number(floor[name], 2) for name in DECODERS)])
    return Table(
        "The loss and the decoder apart: NME, box (%)",
        ["Method", *(f"`{name}`" for name in DECODERS)],
        rows,
        f"The last row is the decode floor: what is left where every heatmap is a round Gaussian "
        f"of one cell about the true landmark. A cell is {cell:.2f} % of the box here. `quarter` "
        f"knows nothing of kernels that are moved off their cells, so it is no decoder for "
        f"{METHODS['kdn_adaptive'].title}.",
    )


def sweep_table(
    sigmas: Sequence[float],
    scores: Mapping[float, Scores],
    losses: Mapping[float, Sequence[float]],
) -> Table:
    """Return Table 2: the published head under both readings of σ.

    Args:
        sigmas: The paper's σ, cells or cells².
        scores: By the kernel's standard deviation in cells.
        losses: Training loss of each epoch, likewise.
    """
    rows = []
    for reading, of in (("variance", math.sqrt), ("standard deviation", float)):
        for sigma in sigmas:
            h = _nearest(of(sigma), scores)
            if h is None:
                continue
            cells = [with_interval(summarise([scores[h]], name), d) for _, name, d in _SWEEP]
            epochs = str(epochs_to_final(losses[h]))
            rows.append([reading, f"{sigma:g}", f"{h:.3g}", *cells, epochs])
    return Table(
        "Table 2: bandwidth of the published head",
        [
            "σ read as",
            "σ",
            "bandwidth (cells)",
            *(head for head, _, _ in _SWEEP),
            "epochs to settle",
        ],
        rows,
        "Epochs to settle: the first epoch from which on the training loss stays within 5 % of its "
        "final value. One seed. Points are decoded by the mode, and by the mean in the column of "
        "that name. At σ = 1 both readings are the same run.",
    )


_SWEEP: tuple[_Column, ...] = (
    ("NME, box (%)", "NME box", 2),
    ("NME of the mean (%)", "NME box, mean", 2),
    ("AUC@7 exact (%)", "AUC@7 box (exact)", 1),
    ("AUC@7 fan70 (%)", "AUC@7 box (fan70)", 1),
    ("NLL per crop px²", "NLL per crop px²", 2),
    ("95 % regions hold (%)", "coverage of 95 % regions", 1),
    ("Spearman (px)", "Spearman (px)", 2),
)


def _nearest(bandwidth: float, known: Mapping[float, Scores]) -> float | None:
    """Return the known bandwidth that is this one but for rounding."""
    return next((h for h in known if math.isclose(h, bandwidth, rel_tol=1e-9)), None)


def epochs_to_final(losses: Sequence[float], share: float = 0.05) -> int:
    """Return the first epoch, from 1, after which the loss stays within a share of its last value.

    Args:
        losses: One per epoch.
        share: Of the size of the last loss.

    Raises:
        ValueError: If there are no losses.

    Example:
        >>> epochs_to_final([9.0, 5.2, 5.6, 5.1, 5.0])
        4
    """
    if not len(losses):
        raise ValueError("losses must hold at least one epoch, got none")
    values = np.asarray(losses, np.float64)
    far = np.flatnonzero(np.abs(values - values[-1]) > share * abs(values[-1]))
    return int(far[-1]) + 2 if len(far) else 1


def published_table() -> Table:
    """Return the paper's own figures, to be compared in their order rather than their size."""
    rows = [
        ["Gaussian", "2.92", "57.6", "2.67", "59.4"],
        ["Softlabel", "2.56", "66.9", "2.32", "67.5"],
        ["KDN-Uniform", "2.57", "66.3", "2.33", "67.3"],
        ["KDN-Gaussian", "2.49", "67.3", "2.26", "68.2"],
    ]
    return Table(
        "As published: four-stack FAN, 256 pixels",
        ["Method", "300W-test, NME (%)", "AUC@7 fan70 (%)", "Menpo, NME (%)", "AUC@7 fan70 (%)"],
        rows,
        "Other test data and more training data, so the order can be compared and the size cannot. "
        "The first row's pair on Menpo is impossible by either rule (`kdn.evaluate.auc_bounds`).",
    )
