"""gatherer uses no private names of other packages: they change without notice."""

import ast
import importlib
import inspect
import pkgutil
import textwrap
from collections.abc import Iterator
from functools import cache

import pytest

import gatherer

DOCUMENTED = {
    "_asdict",
    "_fields",
    "_make",
    "_replace",
}  # of named tuples: the underscore keeps them from field names
MODULES = [module.name for module in pkgutil.walk_packages(gatherer.__path__, "gatherer.")]


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("_") and name not in DOCUMENTED


def _tree(module: str) -> ast.Module:
    return ast.parse(inspect.getsource(importlib.import_module(module)))


@cache
def _own_names() -> set[str]:
    """Return the names that gatherer defines."""
    return {name for module in MODULES for name in _defined_names(_tree(module))}


def _defined_names(tree: ast.AST) -> Iterator[str]:
    """Yield the names that `tree` defines: variables, functions, classes, attributes, slots."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def _used_private_names(tree: ast.AST) -> Iterator[str]:
    """Yield the private names that `tree` uses as attributes, or imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and _is_private(node.attr):
            yield node.attr
        elif isinstance(node, ast.ImportFrom):
            yield from (alias.name for alias in node.names if _is_private(alias.name))


def _inherited_private_names(cls: type) -> set[str]:
    """Return the private names that `cls` inherits from classes of other packages."""
    names: set[str] = set()
    for base in cls.__mro__[1:]:
        if base.__module__.partition(".")[0] in ("gatherer", "builtins"):
            continue
        names.update(vars(base))
        try:
            names.update(_defined_names(ast.parse(textwrap.dedent(inspect.getsource(base)))))
        except (OSError, TypeError, SyntaxError):  # a class in C: its names are in vars()
            continue
    return {name for name in names if _is_private(name)}


def _foreign_names(classes: list[type]) -> list[str]:
    """Return the private names of inherited classes that `classes` use on themselves."""
    names = []
    for cls in classes:
        tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
        names += [
            f"{cls.__name__}.{name}"
            for name in sorted(_inherited_private_names(cls) & set(_used_private_names(tree)))
        ]
    return names


@pytest.mark.parametrize("module", MODULES)
def test_no_private_name_of_another_class_or_module_is_used(module: str) -> None:
    assert set(_used_private_names(_tree(module))) - _own_names() == set()
    members = vars(importlib.import_module(module)).values()
    assert (
        _foreign_names(
            [member for member in members if inspect.isclass(member) and member.__module__ == module]
        )
        == []
    )


def test_the_check_finds_a_private_name_of_a_base_class() -> None:
    """An example of such a use, on a base class of the standard library."""
    import asyncio

    class Task(asyncio.Queue):  # type: ignore[type-arg]
        def is_waiting(self) -> bool:
            return bool(self._getters)

    assert _foreign_names([Task]) == ["Task._getters"]
