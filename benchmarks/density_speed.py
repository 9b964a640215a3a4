"""CPU time of what `kdn predict --data` asks of a face's densities, beside network and crop.

    python benchmarks/density_speed.py [--data helen/testset] [--faces 16] [--repeats 3]

On one thread, for the packaged model's densities, of synthetic faces if none are named: first those
of a batch, then the mixture and the log pool of three crops of one face. Each answer is timed in
the order that `predict` asks in, so that what several of them share counts for the first.

The model was trained on photographs: synthetic faces make its densities broad, and slower to ask.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor

import kdn
import kdn.density
from kdn.data import Framing, SyntheticFaces, load_samples, warp
from kdn.density import decode, mixture
from kdn.grid import Affine

SCALES = (1.0, 0.9, 1.15)
LEVELS = (0.5, 0.8, 0.9, 0.95)
RADII = (0.02, 0.05, 0.07, 0.1)

Times = dict[str, list[float]]


def questions(
    density: Any, in_image: Any, points: Tensor, target: Tensor, sizes: Tensor
) -> dict[str, Callable[[], object]]:
    """Return what is asked, as functions.

    Args:
        density: As the head gives it, crop px; None for one that is of several crops.
        in_image: In image px.
        points: Labels, crop px.
        target: Labels, image px.
        sizes: Of the boxes, image px, with the landmarks as a last dimension of 1.
    """
    levels = torch.tensor(LEVELS).reshape(-1, *(1,) * len(in_image.batch_shape))
    radii = torch.tensor(RADII).reshape(-1, *(1,) * len(in_image.batch_shape)) * sizes
    asked: dict[str, Callable[[], object]] = {
        "mean": lambda: in_image.mean,
        "mode": lambda: in_image.mode,
    }
    if density is not None:
        asked["local mean"] = lambda: decode(density, "local_mean", radius=10.0)
    asked_of, labels = (in_image, target) if density is None else (density, points)
    return asked | {
        "covariance": lambda: in_image.covariance_matrix,
        "uncertainty": lambda: in_image.uncertainty_length,
        "entropy": lambda: in_image.entropy(),
        "log_prob": lambda: asked_of.log_prob(labels),
        "hdr_level": lambda: asked_of.hdr_level(labels),
        "hdr_tie": lambda: asked_of.hdr_tie(labels),
        "4 areas": lambda: in_image.hdr_area(levels),
        "energy score": lambda: in_image.energy_score(target),
        "4 masses within": lambda: in_image.mass_within(target, radii),
    }


def timed(times: Times, name: str, run: Callable[[], Any], faces: int) -> Any:
    """Return what a function returns, and note its CPU time per face in milliseconds."""
    start = time.process_time()
    try:
        answer = run()
    except (AttributeError, NotImplementedError):
        times.setdefault(name, []).append(float("nan"))
        return None
    times.setdefault(name, []).append(1e3 * (time.process_time() - start) / faces)
    return answer


def all_asked(times: Times, faces: int, *arguments: Any) -> None:
    """Ask everything and note the times."""
    for name, run in questions(*arguments).items():
        timed(times, name, run, faces)


def cropped(face: Any, framing: Framing, scale: float) -> tuple[Tensor, Affine]:
    """Return the crop of a face and its map to the picture."""
    affine = framing.crop_to_image(face.bbox, scale=scale)
    crop = warp(face.read(), affine, height=framing.height, width=framing.width)
    return torch.from_numpy(crop).permute(2, 0, 1).contiguous(), affine


def size_of(face: Any) -> float:
    """Return the size of a face's box, image px."""
    x0, y0, x1, y1 = face.bbox
    return float(np.sqrt((x1 - x0) * (y1 - y0)))


def of_batch(model: Any, faces: list[Any], times: Times) -> None:
    """Time a batch of faces."""
    framing = Framing.of_recipe(model.recipe.data)
    crops = timed(times, "crop", lambda: [cropped(f, framing, 1.0) for f in faces], len(faces))
    batch = torch.stack([crop for crop, _ in crops])
    density = timed(times, "network", lambda: model.density(batch), len(faces))
    crop_to_image = Affine(
        torch.stack([affine.linear for _, affine in crops]),
        torch.stack([affine.offset for _, affine in crops]),
    )
    target = torch.from_numpy(np.stack([face.landmarks for face in faces]))
    points = crop_to_image.inverse().points(target).float()
    sizes = torch.tensor([size_of(face) for face in faces]).unsqueeze(1)
    in_image = density.mapped(crop_to_image)
    all_asked(times, len(faces), density, in_image, points, target.float(), sizes)


def of_crops(model: Any, face: Any, combine: Callable[..., Any], times: Times) -> None:
    """Time the combination of three crops of one face."""
    framing = Framing.of_recipe(model.recipe.data)
    crops = timed(times, "crop", lambda: [cropped(face, framing, s) for s in SCALES], 1)
    batch = torch.stack([crop for crop, _ in crops])
    densities = timed(times, "network", lambda: [model.density(one[None]) for one in batch], 1)
    looks = [
        density.mapped(Affine(affine.linear[None], affine.offset[None]))
        for density, (_, affine) in zip(densities, crops, strict=True)
    ]
    target = torch.from_numpy(face.landmarks)[None].float()
    combined = timed(times, "combining", lambda: combine(looks), 1)
    all_asked(times, 1, None, combined, target, target, torch.tensor([[size_of(face)]]))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", help="labelled faces, as for kdn predict")
    parser.add_argument("--faces", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", choices=["batch", "mixture", "pool"])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = kdn.load("face68").model
    if arguments.data:
        faces = list(load_samples(arguments.data, model.labels.markup)[: arguments.faces])
    else:
        faces = list(SyntheticFaces(arguments.faces, seed=1))
    # Before `log_pool` it was `product`.
    log_pool = getattr(kdn.density, "log_pool", None) or getattr(kdn.density, "product", None)
    columns: dict[str, Times] = {}
    runs: dict[str, Callable[[Times], None]] = {
        "batch": lambda times: of_batch(model, faces, times),
        "mixture": lambda times: of_crops(model, faces[0], mixture, times),
        "pool": lambda times: of_crops(model, faces[0], log_pool, times),  # type: ignore[arg-type]
    }
    for name, run in runs.items():
        if arguments.only in (None, name):
            columns[name] = {}
            with torch.no_grad():
                for _ in range(arguments.repeats):
                    run(columns[name])
    print(f"ms of CPU time per face, one thread, median of {arguments.repeats}; {len(faces)} faces")
    print(f"{'':<18}" + "".join(f"{name:>12}" for name in columns))
    names = list(dict.fromkeys(name for times in columns.values() for name in times))
    middle = {n: {k: median(v) for k, v in times.items()} for n, times in columns.items()}
    for name in names:
        print(f"{name:<18}" + "".join(f"{middle[n].get(name, np.nan):12.2f}" for n in columns))
    beside = ("crop", "network")
    sums = (np.nansum([v for k, v in t.items() if k not in beside]) for t in middle.values())
    print(f"{'all but those two':<18}" + "".join(f"{total:12.2f}" for total in sums))


if __name__ == "__main__":
    main()
