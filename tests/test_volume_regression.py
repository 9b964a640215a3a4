"""The benchmark of volumes, in seconds: it learns, and its regions hold what they should."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch


@pytest.fixture
def volumes(monkeypatch: pytest.MonkeyPatch):
    """Return the benchmark as a module."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    module: ModuleType = importlib.import_module("volumes")
    yield module
    sys.modules.pop("volumes")


def test_what_is_drawn_lies_where_its_labels_say(volumes: ModuleType) -> None:
    drawn = volumes.draw(24, torch.Generator().manual_seed(3))
    assert drawn.images.shape == (24, 1, 24, 40, 32)
    assert drawn.landmarks.shape == (24, 3, 3)
    assert 0 < drawn.blurred.sum() < 24
    cells = volumes.VOXELS.to_cells(drawn.landmarks).round().long()
    for body in (0, 1):  # the voxel at the label is bright, unless its surroundings are blurred
        x, y, z = cells[:, body].unbind(-1)
        bright = drawn.images[torch.arange(24), 0, z, y, x]
        middle = drawn.images.flatten(1).mean(1)
        seen = ~drawn.blurred[:, body]
        assert float((bright > middle + 0.2)[seen].float().mean()) > 0.9


@pytest.mark.slow
def test_a_density_over_a_volume_is_learned(volumes: ModuleType) -> None:
    network, losses = volumes.train("kdn learned", steps=60, batch=6, rate=5e-3, seed=0)
    test = volumes.draw(40, torch.Generator().manual_seed(1000))
    other = volumes.draw(100, torch.Generator().manual_seed(2000))
    scores = volumes.score("kdn learned", network, test)
    constant = volumes.constant_error(test, other)
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])
    assert scores.errors.mean() < 3.0  # mm; labels alone are off by 1.1
    assert scores.errors.mean() < 0.5 * constant
    assert 0.85 <= (scores.levels <= 0.95).mean() <= 1.0
    assert scores.nll.mean() < 7.0  # an even density over the volume has log(39 322) = 10.6
