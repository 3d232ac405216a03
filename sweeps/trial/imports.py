"""Import paths `package.module:function`: checked without executing anything, or loaded."""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

from sweeps.errors import Mistake


def check_import_path(path: str, where: str) -> list[Mistake]:
    """What is wrong with an import path; nothing of the module or its packages is executed.

    The current directory counts as importable. Names that only execution could show (a module
    without Python source, with `__getattr__` or with a star import) pass.

    Args:
        path: `package.module:function`.
        where: the path in the spec that named it, for the message.
    """
    module, colon, name = path.partition(":")
    parts = [*module.split("."), name]
    if not colon or not all(part.isidentifier() for part in parts):
        return [Mistake(where, "an import path is written package.module:function", repr(path))]
    with importable_here():
        found, missing = _find(module)
    if found is None:
        remedy = "Run from the folder that holds it, or install it into this environment"
        rule = f"no module named {missing!r} in {Path.cwd()} or among the installed packages"
        return [Mistake(where, rule, repr(path), remedy)]
    try:
        names = _top_level_names(found)
    except SyntaxError as error:
        return [Mistake(where, f"{found.origin} is not valid Python: {error}", repr(path))]
    if names is None or name in names:
        return []
    close = get_close_matches(name, names, n=1)
    remedy = f"Did you mean {close[0]}?" if close else f"Define {name} at its top level"
    return [Mistake(where, f"{found.origin} defines no {name!r}", repr(path), remedy)]


def load_object(path: str) -> Any:
    """Import the module and return the named object; the current directory is importable.

    Raises:
        ImportError: the module is not found or does not define the name.
    """
    module, _, name = path.partition(":")
    with importable_here():
        loaded = importlib.import_module(module)
    try:
        return getattr(loaded, name)
    except AttributeError:
        raise ImportError(f"module {module!r} defines no {name!r} (wanted {path!r})") from None


@contextmanager
def importable_here() -> Iterator[None]:
    """Let the current directory be imported from, as `python -m` does and a script does not."""
    here = str(Path.cwd())
    added = here not in sys.path
    if added:
        sys.path.insert(0, here)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        if added and here in sys.path:
            sys.path.remove(here)


def _find(module: str) -> tuple[ModuleSpec | None, str]:
    """The module's spec without importing its packages, or None and the first part not found."""
    search, found, parts = None, None, module.split(".")
    for depth in range(len(parts)):
        name = ".".join(parts[: depth + 1])
        if depth and search is None:
            return None, name
        specs = (finder.find_spec(name, search, None) for finder in sys.meta_path)
        found = next((spec for spec in specs if spec is not None), None)
        if found is None:
            return None, name
        search = found.submodule_search_locations
    return found, module


def _top_level_names(spec: ModuleSpec) -> list[str] | None:
    """Names bound at the module's top level (also inside if, try and with); None if unknowable."""
    if spec.origin is None or not spec.origin.endswith(".py"):
        return None
    names: list[str] = []
    pending: list[ast.AST] = list(ast.parse(Path(spec.origin).read_bytes()).body)
    while pending:
        node = pending.pop()
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                names.append(node.name)
            case ast.Import() | ast.ImportFrom():
                names += [alias.asname or alias.name.partition(".")[0] for alias in node.names]
            case ast.Name(ctx=ast.Store()):
                names.append(node.id)
            case _:
                pending += ast.iter_child_nodes(node)
    return None if {"*", "__getattr__"} & set(names) else names
