"""Imports within the package point one way: down the layers."""

import ast
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src"

# From what people start down to what everything stands on; units of one row do not import each
# other. A sub-package counts as one.
LAYERS = (
    ("kdn", "cli"),
    ("study",),
    ("figures", "predict", "train"),
    ("evaluate", "models"),
    ("predictions",),
    ("data", "density"),
    ("grid", "recipe"),
)
HEIGHT = {name: height for height, names in enumerate(reversed(LAYERS)) for name in names}


def _modules() -> dict[str, Path]:
    """Return every module of the package by its dotted name."""
    found = {}
    for path in sorted((SOURCE / "kdn").rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = _modules()


def imports_of(source: str) -> set[str]:
    """Return the dotted names that a module imports, at its top or within functions.

    `from a import b` counts as `a.b`, so that `from kdn import grid` is seen as what it is.
    """
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            prefix = "." * node.level + (node.module or "")
            names.update(f"{prefix}.{alias.name}" for alias in node.names)
    return names


def own_module(name: str) -> str | None:
    """Return which of the package's modules an imported name stands in; None for other packages."""
    if name.split(".")[0] != "kdn":
        return None
    while name not in MODULES:
        name = name.rpartition(".")[0]
    return name


def unit(module: str) -> str:
    """Return the top-level module or sub-package that a module belongs to."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else parts[0]


def wrong_imports(module: str, imported: set[str]) -> list[str]:
    """Return what is wrong with the imports of a module, one line each."""
    here, wrong = unit(module), []
    for name in sorted(imported):
        if name.startswith("."):
            wrong.append(f"{module} imports {name}: write it from `kdn` on")
        target = own_module(name)
        if target is None:
            continue
        there = unit(target)
        if there == "kdn":
            wrong.append(f"{module} imports {name}: name the module that defines it")
        elif there != here and HEIGHT[there] >= HEIGHT[here]:
            wrong.append(f"{module} imports {target}, which does not stand below it")
        elif here in ("evaluate", "figures") and there == "models":
            wrong.append(f"{module} imports {target}: it must only read predictions")
        elif here == "density" and there not in ("density", "grid"):
            wrong.append(f"{module} imports {target}: density stands on the grid alone")
    return wrong


def test_every_module_has_a_layer() -> None:
    missing = sorted({unit(module) for module in MODULES} - set(HEIGHT))
    assert missing == [], f"name the layer of {missing} in LAYERS"


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_point_down(module: str) -> None:
    assert wrong_imports(module, imports_of(MODULES[module].read_text())) == []


@pytest.mark.parametrize(
    ("module", "source", "said"),
    [
        (
            "kdn.grid",
            "def f():\n    import kdn.data.x\n    import math",
            "not stand below",
        ),
        ("kdn.density.x", "from kdn.recipe import Recipe", "grid alone"),
        ("kdn.figures", "from kdn import grid, recipe\nimport kdn.models.model.x", "only read"),
        ("kdn.data.x", "from .sample import Sample", "from `kdn` on"),
        ("kdn.data.x", "from kdn import Grid", "module that defines"),
    ],
)
def test_a_wrong_import_is_found(
    module: str, source: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MODULES, "kdn.models.model", Path())
    wrong = wrong_imports(module, imports_of(source))
    assert len(wrong) == 1
    assert said in wrong[0]


class _DropWhatRunsLater(ast.NodeTransformer):
    """Takes out `if TYPE_CHECKING:`, which never runs, and the bodies of functions."""

    def visit_If(self, node: ast.If) -> ast.AST | None:
        named = isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        return None if named else self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        return None


def test_modules_do_not_import_each_other_in_a_circle() -> None:
    waiting = {}
    for module, path in MODULES.items():
        at_once = ast.unparse(_DropWhatRunsLater().visit(ast.parse(path.read_text())))
        waiting[module] = {own_module(name) for name in imports_of(at_once)} - {None, module}
    while free := [module for module, targets in waiting.items() if not targets & set(waiting)]:
        for module in free:
            del waiting[module]
    assert waiting == {}


def test_density_needs_torch_alone() -> None:
    allowed = {*sys.stdlib_module_names, "kdn", "torch", "jaxtyping"}
    for module, path in MODULES.items():
        if unit(module) == "density":
            foreign = {name.split(".")[0] for name in imports_of(path.read_text())} - allowed
            assert foreign == set(), module
