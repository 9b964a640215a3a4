"""What is public is a list, and all of it is documented."""

import ast
import importlib
import inspect
import itertools
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
import torch
from beartype.roar import BeartypeException
from jaxtyping import TypeCheckError

import kdn
from kdn.grid import Grid

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src"

# A name more or fewer here is a change that users notice: it goes into CHANGELOG.md.
PUBLIC = [
    "FACE68",
    "Affine",
    "GaussianDensity",
    "Grid",
    "KernelDensity",
    "LaplaceDensity",
    "Markup",
    "Recipe",
    "__version__",
    "decode",
    "load",
    "mixture",
]


def _public_modules() -> list[str]:
    """Return the dotted names of all modules without an underscore in front."""
    found = []
    for path in sorted((SOURCE / "kdn").rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        if not any(part.startswith("_") for part in parts):
            found.append(".".join(parts))
    return found


MODULES = _public_modules()


def documented_constants(module: ModuleType) -> set[str]:
    """Return the names that a module assigns to and describes in a string on the next line."""
    body = ast.parse(inspect.getsource(module)).body
    names = set()
    for node, following in itertools.pairwise(body):
        says = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
        if says and isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names.update(target.id for target in targets if isinstance(target, ast.Name))
    return names


def defined_in(module: ModuleType) -> set[str]:
    """Return the classes and functions without an underscore that a module itself defines."""
    body = ast.parse(inspect.getsource(module)).body
    defined = {
        node.name
        for node in body
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    }
    return {name for name in defined if not name.startswith("_")}


def test_the_package_offers_exactly_the_list() -> None:
    assert sorted(kdn.__all__) == sorted(PUBLIC)


def test_the_version_is_the_one_that_is_installed() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert settings["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "kdn.__version__"}
    assert kdn.__version__.count(".") == 2


@pytest.mark.parametrize("name", MODULES)
def test_module_lists_what_is_public(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__, f"{name} says nothing about itself"
    listed = module.__all__
    assert len(set(listed)) == len(listed)
    assert [entry for entry in listed if not hasattr(module, entry)] == []
    assert defined_in(module) - set(listed) == set()


@pytest.mark.parametrize("name", MODULES)
def test_everything_public_is_documented(name: str) -> None:
    module = importlib.import_module(name)
    bare = []
    for entry in module.__all__:
        value = getattr(module, entry)
        if inspect.isclass(value) or inspect.isfunction(value):
            if not inspect.getdoc(value):
                bare.append(entry)
            if inspect.isclass(value) and value.__module__ == name:
                bare += [f"{entry}.{method}" for method in undocumented_methods(value)]
        elif entry in vars(module) and entry != "__version__" and not _reexported(module, entry):
            bare += [entry] if entry not in documented_constants(module) else []
    assert bare == []


def undocumented_methods(of: type) -> list[str]:
    """Return the public methods and properties that a class defines and says nothing about.

    `inspect.getdoc` looks at the classes above too: what overrides a documented method is fine.
    """
    return [
        name
        for name, member in vars(of).items()
        if not name.startswith("_")
        and (callable(member) or isinstance(member, property | classmethod | staticmethod))
        and not inspect.getdoc(getattr(of, name))
    ]


def _reexported(module: ModuleType, entry: str) -> bool:
    """Say whether a module only passes on a constant that another one describes."""
    imported = [
        alias.asname or alias.name
        for node in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]
    return entry in imported


def test_shapes_are_checked_while_tests_run() -> None:
    grid = Grid.of_heatmap(height=3, width=5, stride=4)
    with pytest.raises((TypeCheckError, BeartypeException)):
        grid.to_cells(torch.zeros(7, 2, dtype=torch.int64))
    with pytest.raises((TypeCheckError, BeartypeException)):
        Grid.of_heatmap(height=3.5, width=5, stride=4)  # pyright: ignore[reportArgumentType]
