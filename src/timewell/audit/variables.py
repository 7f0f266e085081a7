"""Which variable holds the labelled rows and which hold events, guessed by names and by the columns asked of them."""

from __future__ import annotations

import ast
from collections import Counter, defaultdict
from dataclasses import replace

from timewell.audit.roles import Roles, is_arrival, is_day, is_time, names_spine


def guess_variables(tree: ast.Module, roles: Roles) -> Roles:
    """Fill in, by the names in a module, what was not declared."""
    columns = _columns(tree)
    spine = roles.spine
    if spine is None:
        named = [name for name in columns if names_spine(name)]
        if named:
            spine = (named[0], _best(columns[named[0]]) or "label_ts")
    events = dict(roles.events)
    if not roles.events:
        for name, counted in columns.items():
            time = _best(counted)
            if time is not None and (spine is None or name != spine[0]):
                events[name] = time
    return replace(roles, spine=spine, events=events, guessed=True)


def _columns(tree: ast.Module) -> dict[str, Counter[str]]:
    """Count, for each variable, the columns that are asked of it or named as its keys in a merge."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and is_time(node.attr):
            found[node.value.id][node.attr] += 1
        elif isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
            for part in ast.walk(node.slice):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    found[node.value.id][part.value] += 1
        elif isinstance(node, ast.Call):
            _of_call(node, found)
    return found


def _of_call(node: ast.Call, found: dict[str, Counter[str]]) -> None:
    named = {word.arg: word.value for word in node.keywords}
    names = [part.id for part in node.args if isinstance(part, ast.Name)]
    if isinstance(node.func, ast.Attribute):
        owner = node.func.value
        if isinstance(owner, ast.Name):
            names = [owner.id, *names]
            if node.func.attr in ("sort_values", "set_index", "sort"):
                texts = [part for whole in (*node.args, *named.values()) for part in ast.walk(whole)]
                for part in texts:
                    if isinstance(part, ast.Constant) and isinstance(part.value, str):
                        found[owner.id][part.value] += 1
    for name, keyword in zip(names[-2:], ("left_on", "right_on"), strict=False):
        for part in ast.walk(named[keyword]) if keyword in named else ():
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                found[name][part.value] += 1


def _best(columns: Counter[str]) -> str | None:
    times = [name for name in columns if is_time(name) and not is_arrival(name)]
    return min(times, key=lambda name: (is_day(name), -columns[name])) if times else None
