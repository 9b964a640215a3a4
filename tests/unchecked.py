"""Modules as users have them: without the checker of shapes and types, which would speak first."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

SOURCE = Path(__file__).parents[1] / "src"


def load(name: str) -> ModuleType:
    """Return a second copy of a module of the package, loaded past the import hook."""
    path = SOURCE.joinpath(*name.split(".")).with_suffix(".py")
    spec = importlib.util.spec_from_file_location(f"unchecked_{name.replace('.', '_')}", path)
    if spec is None or spec.loader is None:
        raise ValueError(f"name must be a module of the package, got {name!r}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their own module up
    spec.loader.exec_module(module)
    return module
