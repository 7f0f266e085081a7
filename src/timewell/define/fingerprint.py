"""The digest of a function's source: equal for equal code however it is laid out, another for any other code.

It covers the function and, of the same project, whatever it uses: constants, functions and classes of modules, values that
it closes over. Left out are comments, docstrings, decorators, annotations and the function's own name. Of what is installed
from elsewhere only the name counts: a new release of a library must not stop serving.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from timewell.errors import DefinitionError

_PLAIN = (
    str,
    bytes,
    int,
    float,
    complex,
    bool,
    Decimal,
    Fraction,
    date,
    datetime,
    time,
    timedelta,
    timezone,
    type(None),
)
_ELSEWHERE = ("site-packages", "dist-packages")
_DEEPEST = 50


def source_of(function: Callable[..., Any]) -> str:
    """Return the text of a function as it stands in its file; empty where it has none (``python -c``, a console)."""
    try:
        return textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError):
        return ""


def digest_of(function: FunctionType, text: str) -> tuple[str, tuple[str, ...]]:
    """Return the digest of a function and the names of what else it covers.

    Raises
    ------
    DefinitionError
        The function uses a value of the project that has no digest, such as an open file or a model.
    """
    used: dict[str, object] = {}
    content = _function(function, text, used, path=(function,))
    # by their bare names: a function may move to another module
    others = sorted((place.rpartition(".")[2], each) for place, each in used.items())
    canonical = json.dumps([content, sorted(others, key=str)], separators=(",", ":"), default=str)
    return hashlib.blake2b(canonical.encode(), digest_size=16).hexdigest(), tuple(sorted(used))


def _function(function: FunctionType, text: str, used: dict[str, object], path: tuple[object, ...]) -> object:
    tree = parsed(text)
    for name, value in sorted(_names(function, tree)):
        if f"{function.__module__}.{name}" not in used and value is not function:
            _use(name, value, function, used, path)
    if tree is None:
        return ["code", *sys.version_info[:2], _code(function.__code__), repr(function.__defaults__)]
    return _canonical(tree)


def digest_of_constants(*values: object) -> str:
    """Return the digest of some constants; equal ones give an equal digest.

    Raises
    ------
    DefinitionError
        One of them has no digest.
    """
    plain = [_plain(value, "it", "lookup", 0) for value in values]
    return hashlib.blake2b(json.dumps(plain, separators=(",", ":")).encode(), digest_size=16).hexdigest()


def parsed(text: str) -> ast.AST | None:
    """Return the definition in a text without what is not code; ``None`` where the text does not stand for itself."""
    try:
        body = ast.parse(text).body if text else []
    except SyntaxError:  # a lambda in the middle of a call
        return None
    if len(body) != 1 or not isinstance(body[0], (ast.FunctionDef, ast.ClassDef)):
        return None
    for node in ast.walk(body[0]):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Module)):
            if ast.get_docstring(node, clean=False) is not None:
                node.body = node.body[1:] or [ast.Pass()]
            if not isinstance(node, (ast.ClassDef, ast.Module)):
                node.returns = None
        elif isinstance(node, ast.arg):
            node.annotation = None
    body[0].name, body[0].decorator_list = "", []
    return body[0]


def _canonical(node: object) -> object:
    """Write a tree as plain lists that do not depend on Python's release: fields that hold nothing are left out."""
    if isinstance(node, ast.AST):
        fields = {
            name: _canonical(value)
            for name, value in ast.iter_fields(node)
            if value not in (None, []) and name not in {"ctx", "kind", "type_comment"}
        }
        if isinstance(node, ast.Constant):
            fields = {"value": [type(node.value).__name__, repr(node.value)]}
        return [type(node).__name__, fields]
    return [_canonical(part) for part in node] if isinstance(node, list) else node


def _code(code: CodeType) -> list[object]:
    """Write what a compiled function does where its text is not there."""
    inner = [_code(const) if isinstance(const, CodeType) else repr(const) for const in code.co_consts]
    return [code.co_code.hex(), code.co_names, inner]


def _names(function: FunctionType, tree: ast.AST | None) -> Iterator[tuple[str, object]]:
    """Yield what a function refers to outside itself: globals, values that it closes over, attributes of our modules."""
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    outside = {**function.__globals__, **{name: cell.cell_contents for name, cell in cells if _is_filled(cell)}}
    referred = _referred(tree) if tree is not None else [(name, None) for name in _all_names(function.__code__)]
    for name, attribute in referred:
        if name not in outside:
            continue
        value = outside[name]
        if isinstance(value, ModuleType):
            if attribute and _is_ours(value.__name__, getattr(value, "__file__", None)) and hasattr(value, attribute):
                yield f"{name}.{attribute}", getattr(value, attribute)
        else:
            yield name, value


def _is_filled(cell: Any) -> bool:  # noqa: ANN401  # CellType is not in typing
    try:
        cell.cell_contents  # noqa: B018  # looked at for the error
    except ValueError:
        return False
    return True


def _all_names(code: CodeType) -> set[str]:
    inner = [_all_names(const) for const in code.co_consts if isinstance(const, CodeType)]
    return {*code.co_names, *code.co_freevars}.union(*inner)


def _referred(tree: ast.AST) -> set[tuple[str, str | None]]:
    """Return the names that a tree reads, each alone and with the attributes taken of it."""
    found: set[tuple[str, str | None]] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            found.add((node.id, None))
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found.add((node.value.id, node.attr))
    return found


def _use(name: str, value: object, user: FunctionType, used: dict[str, object], path: tuple[object, ...]) -> None:
    """Note one thing that a function uses, and what that uses in turn."""
    place = f"{user.__module__}.{name}".replace("timewell_definitions.", "")
    if place in used:
        return
    made = getattr(value, "__timewell_transform__", None)
    if made is not None and value not in path:
        used[place] = ["transform", made.name, made.version, made.source_hash]
    elif isinstance(value, FunctionType):
        if value not in path and _is_ours(value.__module__, value.__code__.co_filename):
            used[place] = "..."  # a function that comes back to itself
            used[place] = _function(value, source_of(value), used, (*path, value))
    elif isinstance(value, type) and not issubclass(value, Enum):
        if _is_ours(value.__module__, getattr(sys.modules.get(value.__module__), "__file__", "")):
            used[place] = _canonical(parsed(source_of(value))) if source_of(value) else value.__qualname__
    elif _is_named(value):
        pass  # of a library, or a built-in: it goes by its name in the source
    else:
        used[place] = _plain(value, place, user.__name__, 0)


def _is_ours(module: str | None, file: str | None) -> bool:
    """Whether code belongs to the project rather than to Python or to an installed library."""
    top = (module or "").partition(".")[0]
    if top in sys.stdlib_module_names and top != "__main__":
        return False
    return top != "timewell" and not any(part in Path(file or "").parts for part in _ELSEWHERE)


def _is_named(value: object) -> bool:
    """Whether a value is code that is known by its name: a built-in function, a callable of a library."""
    return callable(value) and not isinstance(value, (FunctionType, type)) and hasattr(value, "__name__")


def _plain(value: object, place: str, user: str, depth: int) -> object:
    """Write a constant so that equal ones are written alike."""
    if isinstance(value, Enum):
        return ["enum", type(value).__name__, value.name, _plain(value.value, place, user, depth + 1)]
    if isinstance(value, type):
        return ["enum", *[_plain(each, place, user, depth + 1) for each in value]]  # type: ignore[attr-defined]
    if type(value) in _PLAIN:
        return [type(value).__name__, repr(value)]
    if depth < _DEEPEST:
        if isinstance(value, Mapping):
            pairs = [
                [_plain(key, place, user, depth + 1), _plain(each, place, user, depth + 1)]
                for key, each in value.items()
            ]
            return ["mapping", *sorted(pairs, key=str)]
        if isinstance(value, (set, frozenset)):
            return ["set", *sorted((_plain(each, place, user, depth + 1) for each in value), key=str)]
        if isinstance(value, Sequence):
            return [type(value).__name__, *(_plain(each, place, user, depth + 1) for each in value)]
        if hasattr(value, "pattern") and hasattr(value, "flags"):  # a compiled regular expression
            return ["pattern", repr(value)]
    raise DefinitionError(
        problem=f"transform {user!r} uses {place}, a {type(value).__name__}, whose content cannot be told apart.",
        hint="Use constants (numbers, text, dicts, lists, sets), functions and classes; give anything else as an input.",
    )
