"""Shapes and types of every annotated function in `kdn` are checked while the tests run."""

import os
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

install_import_hook("kdn", "shape_checker.check")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder of the real data sets, or skip."""
    folder = os.environ.get("KDN_DATA", "")
    if not folder or not Path(folder, "300w").is_dir():
        pytest.skip("KDN_DATA does not name a folder with the real data")
    return Path(folder)
