"""Shapes and types of every annotated function in `kdn` are checked while the tests run."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from jaxtyping import install_import_hook

install_import_hook("kdn", "shape_checker.check")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put files with slow tests first, so that no process is left with one when the others end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder of the real data sets, or skip."""
    folder = os.environ.get("KDN_DATA", "")
    if not folder or not Path(folder, "300w").is_dir():
        pytest.skip("KDN_DATA does not name a folder with the real data")
    return Path(folder)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Keep torch to one thread: sums in float32 depend on how many threads share them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory) -> Path:
    """Return a file with a small model of random weights, crops of 32 × 48."""
    from kdn.models.checkpoint import save_model
    from kdn.models.model import build_model
    from kdn.recipe import DataRecipe, HeadRecipe, NetworkRecipe, Recipe

    recipe = Recipe(
        data=DataRecipe(height=32, width=48),
        network=NetworkRecipe(features=8, depth=1),
        head=HeadRecipe("kdn_gaussian", 1.0, "landmark", 2),
    )
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = build_model(recipe)
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    save_model(path, model, {})
    return path
