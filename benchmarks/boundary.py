"""How near the ridge of a boundary map is to the true contour, on synthetic faces.

    python benchmarks/boundary.py runs/ambiguous --heads default published

The models are those of `ambiguous_training.py`. The true contour is the curve that the jaw was
drawn along. Distances are from points in equal steps of the found curve to the true one, in percent
of the face's size, against the polyline and the smooth curve through the predicted landmarks (the
means). The last lines say whether the map's probabilities are right: of the cells in each range, in
how many there is boundary.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from ambiguous import crops, load
from torch import Tensor

from kdn.boundary import boundary_map, contour_curve, ridge
from kdn.density import KernelDensity

JAW = tuple(range(17))
_EDGES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)


def distances(found: Tensor, true: Tensor) -> np.ndarray:
    """Return how far each point `(points, 2)` is from a curve given by many points."""
    return torch.cdist(found.double(), true.double()).amin(1).numpy()


def polyline(points: Tensor, steps: int) -> Tensor:
    """Return points in equal steps of length along straight lines."""
    lengths = (points[1:] - points[:-1]).norm(dim=-1).numpy()
    arc = np.concatenate([[0.0], np.cumsum(lengths)])
    at = np.linspace(0, arc[-1], steps)
    columns = [np.interp(at, arc, points[:, axis].numpy()) for axis in (0, 1)]
    return torch.from_numpy(np.stack(columns, -1))


def crossed(true: Tensor, like: Tensor, low: tuple[float, float], cell: float) -> np.ndarray:
    """Return which cells a curve given by many points passes through."""
    found = np.zeros(tuple(like.shape), dtype=bool)
    x, y = np.floor((true.numpy() - np.array(low)) / cell).astype(int).T
    inside = (x >= 0) & (y >= 0) & (x < found.shape[1]) & (y < found.shape[0])
    found[y[inside], x[inside]] = True
    return found


def main() -> None:
    """Print the table of all heads."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--heads", nargs="+", default=["default"])
    parser.add_argument("--faces", type=int, default=200)
    parser.add_argument("--seed", type=int, default=4711)
    parser.add_argument("--reach", type=float, default=0.04, help="share of the face's size")
    given = parser.parse_args()
    torch.set_num_threads(1)
    items = list(crops(given.faces, given.seed, ambiguous=0.0))
    print("| Head | curve | mean (%) | median | 95th percentile |\n|---|---|---|---|---|")
    for name in given.heads:
        model = load(given.folder, name)
        far: dict[str, list[np.ndarray]] = {}
        said, true_cells = [], []
        for item in items:
            with torch.inference_mode():
                density = model.density(item["image"].unsqueeze(0))
                if not isinstance(density, KernelDensity):
                    raise SystemExit(f"{name} has no maps")
                refine = max(1, round(density.grid.spacing[0]))
                found = boundary_map(density, JAW, refine=refine)
                crest = ridge(found, reach=given.reach * float(item["length"]))[0]
            true = contour_curve(item["places"][None, :17, 0], 2000)[0]
            means = density.mean[0, : len(JAW)].double()
            curves = {
                "polyline of the means": polyline(means, len(crest)),
                "smooth curve of the means": found.curve[0],
                "ridge": crest,
            }
            for kind, curve in curves.items():
                off = 100 * distances(curve, true) / float(item["length"])
                far.setdefault(kind, []).append(off)
            grid = found.grid
            said.append(found.probs[0].numpy().ravel())
            true_cells.append(crossed(true, found.probs[0], grid.low, grid.spacing[0]).ravel())
        for kind, parts in far.items():
            off = np.concatenate(parts)
            cells = f"{off.mean():.2f} | {np.median(off):.2f} | {np.quantile(off, 0.95):.2f}"
            print(f"| {name} | {kind} | {cells} |", flush=True)
        probs, there = np.concatenate(said), np.concatenate(true_cells)
        for low, high in zip(_EDGES[:-1], _EDGES[1:], strict=True):
            inside = (probs > low) & (probs <= high)
            if inside.any():
                mean, share = probs[inside].mean(), there[inside].mean()
                print(f"{low:.2f}–{high:.2f}: {inside.sum()} cells, said {mean:.3f}, true {share:.3f}")


if __name__ == "__main__":
    main()
