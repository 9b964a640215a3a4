"""The volumes that `benchmarks/volumes.py` draws."""

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
