"""Size budgets of the code, and the table of module sizes (``--table``).

Budgets: a file 500 lines, a function 50, a class 20 public methods, a function 6 parameters. A function's docstring
is not counted: it is asked to be long. ``FeatureStore`` may have 40 public methods of at most 5 statements each.
"""

from __future__ import annotations

import argparse
import ast
import statistics
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FILE_LINES = 500
FUNCTION_LINES = 50
PUBLIC_METHODS = 20
PARAMETERS = 6
FACADE = "FeatureStore"
FACADE_METHODS = 40
FACADE_STATEMENTS = 5

STRICT_FOLDERS = ("src", "tools")  # every budget
LOOSE_FOLDERS = ("tests", "bench", "examples")  # the file budget alone

_Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One budget that is passed."""

    path: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text}"


def audit_source(source: str, path: str, *, strict: bool = True) -> list[Finding]:
    """Measure one file.

    Parameters
    ----------
    source
        The file's text.
    path
        Its path from the root of the project, with forward slashes; some exemptions go by it.
    strict
        Whether the budgets of functions and classes hold too, or the file's alone.

    Returns
    -------
    list of Finding
        In the order of the lines.
    """
    found = []
    lines = source.count("\n") + (not source.endswith("\n") and bool(source))
    if lines > FILE_LINES:
        found.append(Finding(path=path, line=1, text=f"file of {lines} lines (budget {FILE_LINES})"))
    if strict:
        found.extend(_audit_scope(ast.parse(source, path), path, owner=None))
    return sorted(found, key=lambda finding: finding.line)


def _audit_scope(scope: ast.AST, path: str, owner: ast.ClassDef | None) -> Iterator[Finding]:
    """Walk down, knowing the class in which each function stands directly."""
    for node in ast.iter_child_nodes(scope):
        if isinstance(node, ast.ClassDef):
            yield from _audit_class(node, path)
            yield from _audit_scope(node, path, owner=node)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _audit_function(node, path, owner, top_level=isinstance(scope, ast.Module))
            yield from _audit_scope(node, path, owner=None)
        else:
            yield from _audit_scope(node, path, owner=owner)


def _audit_function(node: _Function, path: str, owner: ast.ClassDef | None, *, top_level: bool) -> Iterator[Finding]:
    if _decorated(node, "overload"):
        return
    lines = (node.end_lineno or node.lineno) - node.lineno + 1 - _docstring_lines(node)
    if lines > FUNCTION_LINES:
        text = f"function {node.name} of {lines} lines without its docstring (budget {FUNCTION_LINES})"
        yield Finding(path=path, line=node.lineno, text=text)
    count = _parameter_count(node, in_class=owner is not None)
    if count > PARAMETERS and not _parameters_exempt(node, path, owner, top_level=top_level):
        text = f"function {node.name} takes {count} parameters (budget {PARAMETERS}): make a request object"
        yield Finding(path=path, line=node.lineno, text=text)


def _audit_class(node: ast.ClassDef, path: str) -> Iterator[Finding]:
    functions = [child for child in node.body if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)]
    methods = {child.name: child for child in functions if not child.name.startswith("_")}  # a property's setter is one
    budget = FACADE_METHODS if node.name == FACADE else PUBLIC_METHODS
    if len(methods) > budget:
        text = f"class {node.name} has {len(methods)} public methods (budget {budget})"
        yield Finding(path=path, line=node.lineno, text=text)
    if node.name == FACADE:
        for method in methods.values():
            count = _statement_count(method)
            if count > FACADE_STATEMENTS:
                text = f"{FACADE}.{method.name} has {count} statements (budget {FACADE_STATEMENTS}): it only delegates"
                yield Finding(path=path, line=method.lineno, text=text)


def _parameters_exempt(node: _Function, path: str, owner: ast.ClassDef | None, *, top_level: bool) -> bool:
    """Tell whether a signature is one that users type: verbs, commands, constructors of definitions."""
    if node.name.startswith("_") and node.name != "__init__":
        return False
    if owner is not None:
        return owner.name == FACADE
    part = path.removeprefix("src/timewell/")
    return top_level and (part == "active.py" or part.startswith(("cli/", "define/")))


def _decorated(node: _Function, name: str) -> bool:
    return any(
        (isinstance(mark, ast.Name) and mark.id == name) or (isinstance(mark, ast.Attribute) and mark.attr == name)
        for mark in node.decorator_list
    )


def _parameter_count(node: _Function, *, in_class: bool) -> int:
    """Count what a caller may pass; keyword-only ones count, ``self`` and ``cls`` do not."""
    given = node.args
    count = len(given.posonlyargs) + len(given.args) + len(given.kwonlyargs)
    count += (given.vararg is not None) + (given.kwarg is not None)
    bound = in_class and not _decorated(node, "staticmethod") and bool(given.posonlyargs or given.args)
    return count - bound


def _docstring(node: _Function) -> ast.Expr | None:
    first = node.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        return first
    return None


def _docstring_lines(node: _Function) -> int:
    text = _docstring(node)
    return 0 if text is None else (text.end_lineno or text.lineno) - text.lineno + 1


def _statement_count(node: _Function) -> int:
    """Count statements at every depth: a call spread over lines is one."""
    inside = sum(isinstance(child, ast.stmt) for child in ast.walk(node)) - 1
    return inside - (_docstring(node) is not None)


def size_table(root: Path) -> str:
    """Lay out the sizes of the package's parts: files, lines, largest file, median."""
    package = root / "src" / "timewell"
    parts: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for path in sorted(package.rglob("*.py")):
        inside = path.relative_to(package)
        part = inside.parts[0] + "/" if len(inside.parts) > 1 else "(top)"
        parts[part].append((len(path.read_text(encoding="utf-8").splitlines()), str(inside)))
    rows = [_size_row(part, sizes) for part, sizes in sorted(parts.items())]
    rows.append(_size_row("all", [size for sizes in parts.values() for size in sizes]))
    head = f"{'part':<14} {'files':>5} {'lines':>6} {'median':>6}  largest"
    return "\n".join([head, *rows])


def _size_row(part: str, sizes: Sequence[tuple[int, str]]) -> str:
    lines = [count for count, _ in sizes if count] or [0]  # empty __init__.py files would flatter the median
    largest, name = max(sizes, default=(0, "-"))
    return f"{part:<14} {len(sizes):>5} {sum(lines):>6} {statistics.median(lines):>6.0f}  {name} ({largest})"


def audit_tree(root: Path) -> list[Finding]:
    """Measure every Python file of the project under ``root``."""
    found = []
    for folder in (*STRICT_FOLDERS, *LOOSE_FOLDERS):
        for path in sorted((root / folder).rglob("*.py")):
            name = path.relative_to(root).as_posix()
            found.extend(audit_source(path.read_text(encoding="utf-8"), name, strict=folder in STRICT_FOLDERS))
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Print what passes a budget, or the table; 1 if anything does."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--table", action="store_true", help="print the sizes of the package's parts instead")
    options.add_argument("--root", type=Path, default=Path(__file__).resolve().parent.parent)
    given = options.parse_args(argv)
    if given.table:
        print(size_table(given.root))
        return 0
    found = audit_tree(given.root)
    for finding in found:
        print(finding)
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
