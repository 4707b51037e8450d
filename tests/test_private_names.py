"""gatherer uses no private name of a class or module that is not its own: those change without notice."""

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
def _own() -> set[str]:
    """Return the names that gatherer defines."""
    return {name for module in MODULES for name in _defined(_tree(module))}


def _defined(tree: ast.AST) -> Iterator[str]:
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


def _used(tree: ast.AST) -> Iterator[str]:
    """Yield the private names that `tree` uses as attributes, or imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and _is_private(node.attr):
            yield node.attr
        elif isinstance(node, ast.ImportFrom):
            yield from (alias.name for alias in node.names if _is_private(alias.name))


def _inherited(cls: type) -> set[str]:
    """Return the private names that `cls` inherits from classes of others."""
    names: set[str] = set()
    for base in cls.__mro__[1:]:
        if base.__module__.partition(".")[0] in ("gatherer", "builtins"):
            continue
        names.update(vars(base))
        try:
            names.update(_defined(ast.parse(textwrap.dedent(inspect.getsource(base)))))
        except (OSError, TypeError, SyntaxError):  # written in C: its names are in vars()
            continue
    return {name for name in names if _is_private(name)}


def _foreign(classes: list[type]) -> list[str]:
    """Return the private names of other classes' that `classes` use on themselves."""
    found = []
    for cls in classes:
        tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
        found += [f"{cls.__name__}.{name}" for name in sorted(_inherited(cls) & set(_used(tree)))]
    return found


@pytest.mark.parametrize("module", MODULES)
def test_no_private_name_of_others_is_used(module: str) -> None:
    assert set(_used(_tree(module))) - _own() == set()
    members = vars(importlib.import_module(module)).values()
    assert _foreign([each for each in members if inspect.isclass(each) and each.__module__ == module]) == []


def test_a_private_name_of_a_base_class_is_found() -> None:
    """As the guards of an earlier version used them."""
    import asyncio

    class Task(asyncio.Queue):  # type: ignore[type-arg]
        def is_waiting(self) -> bool:
            return bool(self._getters)

    assert _foreign([Task]) == ["Task._getters"]
