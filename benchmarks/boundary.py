"""How near the ridge of a boundary map is to the true contour, on synthetic faces.

    python benchmarks/boundary.py runs/synthetic/best.safetensors

The model is one of `kdn train` on synthetic faces. The true contour is the curve that the jaw was
drawn along. Distances are from points in equal steps of the found curve to the true one, in percent
of the face's size, against the polyline and the smooth curve through the predicted landmarks (the
means). The last lines say whether the map's probabilities are right: of the cells in each range, in
how many there is boundary.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from kdn.data import CropDataset, PointLabels, SyntheticFaces
from kdn.data.markup import FACE68
from kdn.density import GaussianDensity, KernelDensity
from kdn.models.checkpoint import load_model
from kdn.predict.boundary import boundary_map, contour_curve, ridge

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


def crossed(true: Tensor, like: Tensor, low: tuple[float, ...], cell: float) -> np.ndarray:
    """Return which cells a curve given by many points passes through."""
    found = np.zeros(tuple(like.shape), dtype=bool)
    x, y = np.floor((true.numpy() - np.array(low)) / cell).astype(int).T
    inside = (x >= 0) & (y >= 0) & (x < found.shape[1]) & (y < found.shape[0])
    found[y[inside], x[inside]] = True
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, nargs="?")
    parser.add_argument("--faces", type=int, default=200)
    parser.add_argument("--seed", type=int, default=4711)
    parser.add_argument("--reach", type=float, default=0.04, help="share of the face's size")
    given = parser.parse_args()
    if given.model is None:
        print("Nothing measured: name a checkpoint of kdn train.")
        return
    torch.set_num_threads(1)
    model, _ = load_model(given.model)
    samples = SyntheticFaces(given.faces, seed=given.seed, ambiguous=0.0, occluded=0.0)
    data = CropDataset(
        samples, labels=PointLabels(FACE68), data=model.recipe.data, augment=None, seed=0
    )
    far: dict[str, list[np.ndarray]] = {}
    said, true_cells = [], []
    for index in range(len(data)):
        item = data[index]
        true = contour_curve(item["target"][None, :17].double(), 2000)[0]
        points = item["target"].double()
        length = float((points.amax(0) - points.amin(0)).prod().sqrt())
        with torch.inference_mode():
            density = first_landmarks(model.density(item["image"].unsqueeze(0)), len(JAW))
            refine = max(1, round(density.grid.spacing[0]))
            found = boundary_map(density, JAW, refine=refine)
            crest = ridge(found, reach=given.reach * length)[0]
        means = density.mean[0].double()
        curves = {
            "polyline of the means": polyline(means, len(crest)),
            "smooth curve of the means": found.curve[0],
            "ridge": crest,
        }
        for kind, curve in curves.items():
            far.setdefault(kind, []).append(100 * distances(curve, true) / length)
        grid = found.grid
        said.append(found.probs[0].numpy().ravel())
        true_cells.append(crossed(true, found.probs[0], grid.low, grid.spacing[0]).ravel())
    print("| Curve | mean (%) | median | 95th percentile |\n|---|---|---|---|")
    for kind, parts in far.items():
        off = np.concatenate(parts)
        cells = f"{off.mean():.2f} | {np.median(off):.2f} | {np.quantile(off, 0.95):.2f}"
        print(f"| {kind} | {cells} |")
    probs, there = np.concatenate(said), np.concatenate(true_cells)
    for low, high in itertools.pairwise(_EDGES):
        inside = (probs > low) & (probs <= high)
        if inside.any():
            mean, share = probs[inside].mean(), there[inside].mean()
            print(f"{low:.2f}–{high:.2f}: {inside.sum()} cells, said {mean:.3f}, true {share:.3f}")


def first_landmarks(density: KernelDensity | GaussianDensity, count: int) -> KernelDensity:
    """Return the density of the first landmarks alone.

    Raises:
        SystemExit: If it has no grid.
    """
    if not isinstance(density, KernelDensity):
        raise SystemExit("the model must have maps")
    bandwidth, offsets = density.bandwidth, density.offsets
    return KernelDensity(
        density.raw_logits[:, :count],
        density.grid,
        bandwidth=None if bandwidth is None else bandwidth[:, :count],
        kernel=density.kernel,
        offsets=None if offsets is None else offsets[:, :count],
    )


if __name__ == "__main__":
    main()
