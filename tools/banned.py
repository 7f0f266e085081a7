"""What must not be in the tree: code that runs strings or pickles, one machine's paths, others' scripts and fonts.

The shipped code (``src``) is read as a syntax tree, so that a word in a comment or a docstring is no finding.
"""

from __future__ import annotations

import argparse
import ast
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MODULES = {"_pickle", "cloudpickle", "cPickle", "dill", "joblib", "marshal", "pickle", "shelve"}
CALLS = {"eval", "exec", "os.popen", "os.system"}
YAML_LOADERS = {"yaml.full_load", "yaml.load", "yaml.load_all", "yaml.unsafe_load", "yaml.unsafe_load_all"}
ATTRIBUTES = {"install_extension", "read_pickle", "to_pickle"}
TRUE_KEYWORDS = {"shell": "shell=True", "allow_pickle": "allow_pickle=True"}

# DuckDB fetches an extension over the network when told INSTALL
INSTALL = re.compile(r"(?:^|;)\s*(?:FORCE\s+)?INSTALL\s+['\"\w]", re.MULTILINE)
SQL_METHODS = {"execute", "executemany", "query", "sql"}

# a path or an index of one machine in the tree means that the project works only there; written in two halves here,
# so that this file does not find itself
ONE_MACHINE = {
    "a path of one machine": re.compile(r"(?<![\w.-])/(?:wor" + r"k|opt/t" + r"w|home/\w+)/|(?<!\w)\.librar" + r"y\b"),
    "a package index": re.compile(
        r"https?://[\w.-]*(?:pypi|pythonhosted|npmjs|debian)\.\w+|--(?:extra-)?index-ur" + r"l"
    ),
}
FONTS = {".eot", ".otf", ".ttf", ".woff", ".woff2"}
OWN_ASSETS = "src/timewell/ui/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that must go."""

    path: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text}"


def audit_code(source: str, path: str) -> list[Finding]:
    """Find forbidden imports, calls and statements in one shipped module."""
    tree = ast.parse(source, path)
    docstrings = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    found: list[Finding] = []
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 1)
        if id(node) not in docstrings:
            found.extend(Finding(path=path, line=line, text=text) for text in _audit_node(node))
    return sorted(found, key=lambda finding: finding.line)


def _audit_node(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
        yield from (f"import of {name}" for name in names if name.partition(".")[0] in MODULES)
    elif isinstance(node, ast.ImportFrom):
        yield from _audit_from(node)
    elif isinstance(node, ast.Call):
        yield from _audit_call(node)
    elif isinstance(node, ast.Attribute) and node.attr in ATTRIBUTES:
        yield node.attr
    elif isinstance(node, ast.Constant) and isinstance(node.value, str) and INSTALL.search(node.value):
        yield "INSTALL of an extension: it is downloaded at run time"


def _audit_from(node: ast.ImportFrom) -> Iterator[str]:
    module = node.module or ""
    if node.level == 0 and module.partition(".")[0] in MODULES:
        yield f"import from {module}"
    for alias in node.names:
        if f"{module}.{alias.name}" in CALLS | YAML_LOADERS:
            yield f"import of {module}.{alias.name}"


def _audit_call(node: ast.Call) -> Iterator[str]:
    name = ast.unparse(node.func) if isinstance(node.func, ast.Name | ast.Attribute) else ""
    name = name.removeprefix("builtins.")
    if name in CALLS or name in YAML_LOADERS:
        yield f"call of {name}"
    for keyword in node.keywords:
        constant = keyword.value.value if isinstance(keyword.value, ast.Constant) else None
        if keyword.arg in TRUE_KEYWORDS and constant is True:
            yield TRUE_KEYWORDS[keyword.arg]
    if isinstance(node.func, ast.Attribute) and node.func.attr in SQL_METHODS and node.args:
        first = node.args[0]
        if isinstance(first, ast.Constant) and isinstance(first.value, str) and _is_lower_install(first.value):
            yield "INSTALL of an extension: it is downloaded at run time"


def _is_lower_install(statement: str) -> bool:
    """Tell whether SQL installs; capitals are found in any string, other spellings only where SQL is expected."""
    return not INSTALL.search(statement) and INSTALL.search(statement.upper()) is not None


def audit_text(text: str, path: str) -> list[Finding]:
    """Find what ties a file of any kind to one machine."""
    return [
        Finding(path=path, line=number, text=f"{what}: {match.group()}")
        for number, line in enumerate(text.splitlines(), start=1)
        for what, pattern in ONE_MACHINE.items()
        if (match := pattern.search(line))
    ]


def audit_name(path: str) -> list[Finding]:
    """Find fonts, minified files and scripts that are not our own, by their names."""
    name = Path(path)
    what = None
    if name.suffix in FONTS:
        what = "a font file"
    elif ".min." in name.name or "node_modules" in name.parts:
        what = "someone else's built file"
    elif name.suffix in {".js", ".mjs", ".ts", ".wasm"} and not path.startswith(OWN_ASSETS):
        what = f"a script outside {OWN_ASSETS}"
    return [] if what is None else [Finding(path=path, line=1, text=what)]


def tracked_files(root: Path) -> list[str]:
    """List the files that are, or would be, committed."""
    command = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return sorted({name for name in listed.split("\0") if name and (root / name).is_file()})


def audit_tree(root: Path) -> list[Finding]:
    """Audit every file of the project under ``root``."""
    found = []
    for path in tracked_files(root):
        found.extend(audit_name(path))
        try:
            text = (root / path).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # binary: judged by its name alone
        found.extend(audit_text(text, path))
        if path.startswith("src/") and path.endswith(".py"):
            found.extend(audit_code(text, path))
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Print what must go; 1 if anything must."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--root", type=Path, default=Path(__file__).resolve().parent.parent)
    found = audit_tree(options.parse_args(argv).root)
    for finding in found:
        print(finding)
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
