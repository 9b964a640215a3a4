"""How well scores of a density tell hidden from visible landmarks, on any file of predictions.

    kdn predict --data merl_rav:faces/occluded --out hidden.parquet
    python benchmarks/hidden_landmarks.py hidden.parquet --combination hidden.json

For each score AUROC and average precision, with 95 % intervals over images; then on one half of the
pictures, with the combination of all scores (each landmark's own mean taken off) that was fitted on
the other half. With `--fit OTHER` the combination is that of another file, and is tested on all
faces. `--combination FILE` keeps what was fitted.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kdn.evaluate.occlusion import Combination, Detection, detect, hidden_landmarks, hidden_scores
from kdn.predictions import Predictions, read_predictions


class Told(NamedTuple):
    """What is said of some faces, and what is true."""

    scores: dict[str, np.ndarray]
    points: np.ndarray
    hidden: np.ndarray
    counted: np.ndarray


def centred(scores: Mapping[str, np.ndarray], fitted: Combination) -> dict[str, np.ndarray]:
    """Return the scores less each landmark's mean, as the combination learned it."""
    return {
        f"{name}, within landmarks": scores[name] - centre
        for name, centre in zip(fitted.names, fitted.centres, strict=True)
    }


def row(file: str, one: Detection, base: float) -> str:
    """Return a row of the table."""
    area, precision = one.auroc_interval, one.precision_interval
    return (
        f"| {file} | {one.name} | {one.auroc:.3f} ({area[0]:.3f}–{area[1]:.3f}) "
        f"| {one.precision:.3f} ({precision[0]:.3f}–{precision[1]:.3f}) | {base:.3f} |"
    )


def halves(names: tuple[str, ...], seed: int) -> np.ndarray:
    """Return True for the faces of a random half of the pictures."""
    pictures = np.array([picture(name) for name in names])
    unique = np.unique(pictures)
    chosen = np.random.default_rng(seed).permutation(unique)[: len(unique) // 2]
    return np.isin(pictures, chosen)


def picture(name: str) -> str:
    """Return what the picture of a face is called: in MERL-RAV's names the part `imageNNNNN`."""
    last = name.rsplit("/", 1)[-1]
    parts = [part for piece in last.split("-") for part in piece.split("_")]
    return next((part for part in parts if part.startswith("image")), last)


def told(predictions: Predictions, rows: np.ndarray) -> Told:
    """Return scores, points and labels of some faces."""
    scores = {name: score[rows] for name, score in hidden_scores(predictions).items()}
    hidden, counted = hidden_landmarks(predictions)
    return Told(scores, predictions.prediction[rows], hidden[rows], counted[rows])


def report(path: Path, fit: Path | None, *, bootstrap: int, seed: int, keep: Path | None) -> None:
    """Print the rows of one file."""
    given = read_predictions(path)
    whole = told(given, np.ones(len(given), dtype=bool))
    base = whole.hidden.sum() / whole.counted.sum()
    print(f"\n{path.stem}: {len(given)} faces, {whole.counted.sum()} landmarks, "
          f"{whole.hidden.sum()} hidden\n")  # fmt: skip
    print("| File | Score | AUROC | AP | base rate |\n|---|---|---|---|---|")
    options = {"bootstrap": bootstrap, "seed": seed}
    for one in detect(whole.scores, whole.hidden, whole.counted, **options):
        print(row(path.stem, one, base), flush=True)
    if fit is None:
        half = halves(given.id, seed)
        learned, test, name = told(given, half), told(given, ~half), f"{path.stem}, half"
    else:
        other = read_predictions(fit)
        learned, test, name = told(other, np.ones(len(other), dtype=bool)), whole, path.stem
    fitted = Combination.fit(learned.scores, learned.points, learned.hidden, learned.counted)
    odds = fitted(test.scores, test.points)
    rest = test.scores if fit is None else {}
    rest = rest | centred(test.scores, fitted)
    rest |= {
        "landmark's own rate": np.broadcast_to(fitted.bias, odds.shape),
        "combination": odds,
        "combination, within landmarks": odds - fitted.bias,
    }
    base = test.hidden.sum() / test.counted.sum()
    for one in detect(rest, test.hidden, test.counted, **options):
        print(row(name, one, base), flush=True)
    weights = zip(fitted.names, fitted.weights, fitted.around, strict=True)
    said = ", ".join(f"{name} {own:.2f} and {near:.2f} around" for name, own, near in weights)
    print(f"\nweights: {said}")
    if keep is not None:
        fitted.write(keep)


def main() -> None:
    """Print the tables of all files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", type=Path, nargs="*")
    parser.add_argument("--fit", type=Path, help="file that the combination is fitted on")
    parser.add_argument("--bootstrap", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--combination", type=Path)
    given = parser.parse_args()
    if not given.files:
        print("Nothing measured: name files of predictions.")
        return
    for path in given.files:
        report(path, given.fit, bootstrap=given.bootstrap, seed=given.seed, keep=given.combination)


if __name__ == "__main__":
    main()
