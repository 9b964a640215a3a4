"""What a recipe names: classes of the package, which register themselves, and the user's own."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeVar

__all__ = ["Named", "class_named", "import_modules", "settings_of"]

Kind = TypeVar("Kind", bound="Named")


class Named:
    """A kind of class that recipes name; one with a `name` of its own is registered by it.

    Attributes:
        name: As recipes of the package's own say it; others name a class `package.module:Name`.
        registry: The package's own classes of the kind, by name.
    """

    name: ClassVar[str]
    registry: ClassVar[dict[str, type]]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "name" in vars(cls) and cls.__module__.split(".")[0] == "kdn":
            cls.registry[cls.name] = cls


def import_modules(package: str, path: Sequence[str]) -> None:
    """Import the modules of a package, whose classes register themselves with that."""
    for module in pkgutil.iter_modules(path):
        importlib.import_module(f"{package}.{module.name}")


def class_named(name: str, kind: type[Kind], field: str) -> type[Kind]:
    """Return the class that a recipe names.

    Args:
        name: Of a registered class, or `package.module:Name` of the user's own.
        kind: What it is a subclass of.
        field: Of the recipe, for messages.

    Raises:
        ValueError: If there is none of that name, it cannot be imported, or is no such class.
    """
    if ":" not in name:
        if name not in kind.registry:
            known = ", ".join(sorted(kind.registry))
            raise ValueError(
                f"{field} must be one of {known}, or package.module:Name of your own, got {name!r}"
            )
        return kind.registry[name]
    module, _, attribute = name.partition(":")
    try:
        named = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"{field} {name} cannot be imported ({error})") from error
    if not (isinstance(named, type) and issubclass(named, kind)):
        raise ValueError(f"{field} {name} must be a subclass of {kind.__name__}, got {named!r}")
    return named


def settings_of(
    cls: type, recipe: Any, *, field: str, neutral: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the keyword arguments that a recipe gives a class, by the class's own signature.

    What the recipe has a field for comes from there, unless it is None; anything else from its
    `options`.

    Args:
        cls: Takes its settings as keyword-only arguments.
        recipe: A part of a recipe, with a `name` and `options`.
        field: Name of the part, for messages.
        neutral: Values of fields that say nothing to a class without such a setting, beside the
            defaults; None where any value says nothing.

    Raises:
        ValueError: If the recipe sets what the class does not take.
    """
    parameters = inspect.signature(cls).parameters.values()
    taken = [p.name for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY]
    usual, settings = type(recipe)(), {}
    for name, value in vars(recipe).items():
        if name in ("name", "options"):
            continue
        if name in taken:
            settings |= {} if value is None else {name: value}
        elif neutral is not None and value not in (getattr(usual, name), neutral.get(name)):
            raise ValueError(f"{field}.{name} has no meaning for {recipe.name}, got {value!r}")
    for name, value in recipe.options.items():
        if name not in taken or name in vars(recipe):
            more = [n for n in taken if n not in vars(recipe)]
            raise ValueError(
                f"{field}.options: {recipe.name} takes {', '.join(more) or 'none'}, got {name!r}"
            )
        settings[name] = value
    return settings
