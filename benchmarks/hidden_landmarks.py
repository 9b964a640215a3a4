"""How well scores of a density tell hidden from visible landmarks, on any file of predictions.

    kdn predict --data merl_rav:faces/occluded --out hidden.parquet
    python benchmarks/hidden_landmarks.py hidden.parquet --combination hidden.json

For each score AUROC and average precision, with 95 % intervals over images; then on one half of the
pictures, with the combination of all scores (and each landmark's own mean taken off) that was
fitted on the other half. `--combination FILE` keeps what was fitted.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from kdn.occlusion import Combination, Detection, detect, hidden_landmarks, hidden_scores
from kdn.predictions import read_predictions


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


def report(path: Path, *, bootstrap: int, seed: int, keep: Path | None) -> None:
    """Print the rows of one file."""
    given = read_predictions(path)
    scores = hidden_scores(given)
    hidden, counted = hidden_landmarks(given)
    base = float(hidden.sum() / counted.sum())
    print(f"\n{path.stem}: {len(given)} faces, {counted.sum()} landmarks, {hidden.sum()} hidden\n")
    print("| File | Score | AUROC | AP | base rate |\n|---|---|---|---|---|")
    for one in detect(scores, hidden, counted, bootstrap=bootstrap, seed=seed):
        print(row(path.stem, one, base), flush=True)
    train = halves(given.id, seed)
    test = ~train
    own = {name: score[train] for name, score in scores.items()}
    fitted = Combination.fit(own, given.landmarks[train], hidden[train], counted[train])
    rest = {name: score[test] for name, score in scores.items()}
    odds = fitted(rest, given.landmarks[test])
    rest |= centred(rest, fitted)
    rest |= {
        "landmark's own rate": np.broadcast_to(fitted.bias, odds.shape),
        "combination": odds,
        "combination, within landmarks": odds - fitted.bias,
    }
    base = float(hidden[test].sum() / counted[test].sum())
    found = detect(rest, hidden[test], counted[test], bootstrap=bootstrap, seed=seed)
    for one in found:
        print(row(f"{path.stem}, half", one, base), flush=True)
    weights = zip(fitted.names, fitted.weights, fitted.around, strict=True)
    said = ", ".join(f"{name} {own:.2f} and {near:.2f} around" for name, own, near in weights)
    print(f"\nweights: {said}")
    if keep is not None:
        fitted.write(keep)


def main() -> None:
    """Print the tables of all files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--bootstrap", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--combination", type=Path)
    given = parser.parse_args()
    for path in given.files:
        report(path, bootstrap=given.bootstrap, seed=given.seed, keep=given.combination)


if __name__ == "__main__":
    main()
