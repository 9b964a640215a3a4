"""What combining the densities of several looks at a face does to NLL and NME.

    python benchmarks/combining.py --data helen/trainset afw --held-out 0.1
    python benchmarks/combining.py --data helen/testset

Prints a table for the documentation: every combination, and what it changes against one crop, with
95 % intervals over faces (paired: every resample holds the same faces for both). All densities are
compared per pixel² of the usual crop, and points are their means.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from kdn.data import Sample, join_samples, load_samples, split_by_picture
from kdn.density import MixtureDensity, log_pool, mixture
from kdn.evaluate import Resamples, interval
from kdn.models.checkpoint import load_model
from kdn.models.heads import flip_average
from kdn.predict.ensemble import Looks, View, maps_of

BATCH = 8

Combination = Callable[[Sequence[Any]], Any]


def combinations(scales: Sequence[float], flip: Sequence[int]) -> dict[str, Combination]:
    """Return what is compared, each of the looks `[crop, its mirror image, next crop, …]`."""
    words = ", ".join(f"{scale:g}" for scale in scales)

    def averaged(looks: Sequence[Any]) -> Any:
        crop, mirrored = looks[0].density, looks[1].density
        back = tuple(range(len(flip)))  # it was turned back already
        turned = type(mirrored)(
            mirrored.raw_logits.flip(-1), mirrored.grid, bandwidth=mirrored.bandwidth
        )
        return flip_average(crop, turned, back).mapped(looks[0].affine)

    return {
        "one crop": lambda looks: looks[0],
        "mirrored crop, averaged (the default)": averaged,
        "mirrored crop, mixture": lambda looks: MixtureDensity(looks[:2], (0.5, 0.5)),
        "mirrored crop, product, exponents ½": lambda looks: log_pool(looks[:2]),
        "mirrored crop, product, exponents 1": lambda looks: log_pool(looks[:2], (1.0, 1.0)),
        f"scales {words}, mixture": lambda looks: mixture(looks[::2]),
        f"scales {words}, product": lambda looks: log_pool(looks[::2]),
        f"scales {words} and mirrored, mixture": lambda looks: mixture(looks),
    }


def scores_of(density: Any, sample: Sample, log_area: float) -> tuple[float, float]:
    """Return a face's mean NLL per crop px², and its error in percent of its box."""
    valid = sample.valid
    target = np.where(valid[:, None], sample.landmarks, 0.0)
    log_prob = density.log_prob(torch.from_numpy(target).to(density.mean)).double().numpy()
    errors = np.linalg.norm(density.mean.double().numpy() - target, axis=-1)[valid]
    size = np.sqrt(np.prod(np.ptp(target[valid], axis=0)))
    return float(-(log_prob[valid] + log_area).mean()), float(100 * errors.mean() / size)


def measure(
    model: Any, samples: Sequence[Sample], scales: Sequence[float]
) -> dict[str, np.ndarray]:
    """Return for each combination `(faces, 2)`: NLL and NME of every face."""
    ways = combinations(scales, model.labels.markup.flip)
    looks_at = Looks([model], [View(scale) for scale in scales], "product", True)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    with torch.inference_mode(), tqdm(total=len(samples), disable=None) as bar:
        for start in range(0, len(samples), BATCH):
            some = [samples[i] for i in range(start, min(start + BATCH, len(samples)))]
            pictures, boxes = [sample.read() for sample in some], [sample.bbox for sample in some]
            looks = list(looks_at.apart(pictures, boxes))
            areas = maps_of(model, pictures, boxes, View()).log_abs_det()
            for row, sample in enumerate(some):
                own = [look.density[row] for look in looks]
                for name, way in ways.items():
                    found[name].append(scores_of(way(own), sample, float(areas[row])))
                bar.update()
    return {name: np.array(rows) for name, rows in found.items()}


def table(found: dict[str, np.ndarray], replicates: int = 2000) -> str:
    """Return the table as Markdown."""
    base = found["one crop"]
    resamples = Resamples(len(base), replicates)
    lines = [
        "| Density | NLL | against one crop | NME | against one crop |",
        "|---|---|---|---|---|",
    ]
    for name, rows in found.items():
        cells = [name]
        for column, digits in ((0, 3), (1, 3)):
            apart = rows[:, column] - base[:, column]
            low, high = interval(resamples.mean(apart)[1:])
            change = f"{apart.mean():+.{digits}f} ({low:+.{digits}f} to {high:+.{digits}f})"
            cells.append(f"{rows[:, column].mean():.{digits}f}")
            cells.append("" if rows is base else change)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines).replace("-0.", "−0.").replace("| -", "| −")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", default="face68")
    parser.add_argument("--data", nargs="+", help="labelled faces, as for kdn predict")
    parser.add_argument("--held-out", type=float, default=0.0)
    parser.add_argument("--scales", nargs=3, type=float, default=(1.0, 0.9, 1.15))
    parser.add_argument("--limit", type=int)
    parser.add_argument("--faces", type=Path, help="where the scores of every face go (.npz)")
    given = parser.parse_args(arguments)
    if not given.data:
        print("Nothing measured: name labelled faces by --data.")
        return
    model, _ = load_model(given.model)
    if not model.can_flip:
        sys.exit(f"{given.model}: densities of this head cannot be mirrored")
    samples = join_samples([load_samples(source, model.labels.markup) for source in given.data])
    if given.held_out:
        _, samples = split_by_picture(samples, given.held_out, seed=0)
    samples = samples[: given.limit]
    found = measure(model, samples, given.scales)
    if given.faces is not None:
        np.savez(given.faces, names=list(found), scores=np.stack(list(found.values())))
    print(f"{len(samples)} faces of {' '.join(map(str, given.data))}, model {given.model}")
    print(table(found))


if __name__ == "__main__":
    main()
