"""How well scores of a density tell occluded from visible landmarks, on any file of predictions.

    kdn predict --data merl_rav:faces/occluded --out hidden.parquet
    python benchmarks/hidden_landmarks.py hidden.parquet

For each score AUROC and average precision, with 95 % intervals over images; then on one half of the
pictures, with the combination of all scores that was fitted on the other half (`examples/`). With
`--fit OTHER` the combination is that of another file, and is tested on all faces.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from kdn.evaluate.occlusion import Detection, detect, occluded_landmarks, occlusion_scores
from kdn.predictions import Predictions, read_predictions

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
from occlusion import Combination


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


def table(
    name: str, predictions: Predictions, fitted: Combination | None, *, bootstrap: int, seed: int
) -> None:
    """Print the rows of some predictions: of each score, or of a combination of them."""
    occluded, counted = occluded_landmarks(predictions)
    scores = occlusion_scores(predictions)
    if fitted is not None:
        each = np.stack(list(scores.values()), axis=-1) - fitted.centre
        scores = {f"{key}, within landmarks": each[..., i] for i, key in enumerate(scores)}
        scores["combination"] = fitted(predictions)
    base = occluded.sum() / counted.sum()
    for one in detect(scores, occluded, counted, bootstrap=bootstrap, seed=seed):
        print(row(name, one, base), flush=True)


def main() -> None:
    """Print the tables of all files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", type=Path, nargs="*")
    parser.add_argument("--fit", type=Path, help="file that the combination is fitted on")
    parser.add_argument("--bootstrap", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    options = {"bootstrap": arguments.bootstrap, "seed": arguments.seed}
    if not arguments.files:
        print("Nothing measured: name files of predictions.")
    for path in arguments.files:
        predictions = read_predictions(path)
        print("| File | Score | AUROC | AP | base rate |\n|---|---|---|---|---|")
        table(path.stem, predictions, None, **options)
        if arguments.fit is not None:
            fitted = Combination(read_predictions(arguments.fit))
            table(path.stem, predictions, fitted, **options)
        else:
            half = halves(predictions.id, arguments.seed)
            fitted = Combination(predictions.take(np.flatnonzero(half)))
            rest = predictions.take(np.flatnonzero(~half))
            table(f"{path.stem}, half", rest, fitted, **options)


if __name__ == "__main__":
    main()
