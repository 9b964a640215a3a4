"""Time of one face: the network alone, the density, the detector, and everything together.

    python benchmarks/predict_speed.py [MODEL] [--threads 2]

Medians of repeated runs on the portrait that comes with matplotlib (512 × 600 pixels, one face).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from matplotlib.cbook import get_sample_data

from kdn.data.images import as_rgb
from kdn.predict.detect import HaarDetector
from kdn.predict.predictor import load


def main() -> None:
    """Print one row a part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="face68", help="face68, or a checkpoint")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    path = get_sample_data("grace_hopper.jpg", asfileobj=False)
    picture, detector = as_rgb(path), HaarDetector()
    once, flipped = (load(arguments.model, flip=flip) for flip in (False, True))
    data = once.model.recipe.data
    box = detector(picture)[0].bbox
    crops = torch.randint(0, 256, (16, 3, data.height, data.width), dtype=torch.uint8)

    def network(count: int) -> None:
        with torch.inference_mode():
            once.model(crops[:count])

    def moments(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.no_grad():
            density = once.model.density(crops[:count])
            return density.mean, density.covariance_matrix

    rows: dict[str, tuple[Callable[[], object], int]] = {
        "network, one crop": (lambda: network(1), 1),
        "network, 16 crops": (lambda: network(16), 16),
        "network and moments, one crop": (lambda: moments(1), 1),
        "network and moments, 16 crops": (lambda: moments(16), 16),
        "reading the picture": (lambda: as_rgb(path), 1),
        "detector": (lambda: detector(picture), 1),
        "box given, one crop": (lambda: once(picture, [box], refine=False), 1),
        "box given, with the flipped crop": (lambda: flipped(picture, [box], refine=False), 1),
        "box given, flipped, cropped again": (lambda: flipped(picture, [box], refine=True), 1),
        "everything, without flipping": (lambda: once(path), 1),
        "everything, as kdn predict does": (lambda: flipped(path), 1),
    }
    print(f"{arguments.model}, {arguments.threads} threads, ms per face (median)")
    for name, (run, faces) in rows.items():
        print(f"{name:<38}{1e3 * median(run) / faces:8.1f}")


def median(run: Callable[[], object], repeats: int = 21) -> float:
    """Return the median time of a run, seconds, after two that do not count."""
    times = []
    for _ in range(repeats + 2):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return float(np.median(times[2:]))


if __name__ == "__main__":
    main()
