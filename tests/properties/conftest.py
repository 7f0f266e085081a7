"""Ways through the offline engine: one form for every entity, or thresholds so low that forms meet in small worlds.

``taken`` tells which branches a test really went through: a property that holds where nothing was tried holds nothing.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from timewell.backends.duckdb import choose, evaluate, hash_join, linear, session, tiles
from timewell.backends.duckdb.evaluate import Evaluation
from timewell.backends.duckdb.rows import RowShape
from timewell.define.dtypes import is_float
from timewell.intervals import positions
from timewell.intervals.cover import Cover
from timewell.intervals.positions import Positions
from timewell.stores.offline import EngineSession, EngineSettings, OfflineEngine, PlanMethod
from timewell.stores.open import open_backend
from timewell.stores.query import SourceCatalog

METHODS: dict[str, PlanMethod] = {"join": "join", "linear": "linear", "mixed": "auto"}


class Way:
    """The DuckDB engine, its sessions told which form to take."""

    def __init__(self, name: str) -> None:
        self._engine: OfflineEngine = open_backend("duckdb")
        self.name, self.version = self._engine.name, self._engine.version
        self._settings = EngineSettings(method=METHODS[name], threads=1)

    def session(self, catalog: SourceCatalog, settings: EngineSettings | None = None) -> EngineSession:
        return self._engine.session(catalog, settings or self._settings)


@pytest.fixture
def way(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int], Any]:
    """An engine that goes one way: ``with way("mixed", seed) as engine``; the seed draws the thresholds."""

    @contextmanager
    def going(name: str, seed: int) -> Iterator[Way]:
        draw = random.Random(seed).choice
        lowered = {
            (evaluate, "_ROWS_A_PASS"): draw((evaluate._ROWS_A_PASS, 3, 12)),
            (tiles, "_CELLS_A_PASS"): draw((tiles._CELLS_A_PASS, 1, 12)),
            (positions, "_ROOM"): draw((positions._ROOM, 1)),
            (choose, "MANY_PROBES"): draw((1, 2, 3)),
            (choose, "PAIRS_A_ROW"): draw((0.1, 0.5, 1)),
            (choose, "FEW_PAIRS"): draw((1, 4)),
        }
        with monkeypatch.context() as patch:
            for place, value in lowered.items():
                patch.setattr(*place, value)
            yield Way(name)

    return going


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count how often each branch of the engine was taken."""
    seen: Counter[str] = Counter()
    for owner, name, look in (
        (evaluate, "choose", _choice),
        (hash_join, "latest_of_ties_sql", lambda *_: "latest: ties settled"),
        (linear, "latest", lambda *_: "linear: latest"),
        (linear, "windows", lambda *_: "linear: windows"),
        (linear, "_ranges", lambda found, *_: f"linear: {'several portions' if len(found) > 1 else 'one portion'}"),
        (Evaluation, "_rows", lambda found, *_: f"rows: {'put aside' if found == 'FROM kept' else 'read inline'}"),
        (Evaluation, "_replaced", _replaced),
        (session, "grid_of", lambda found, *_: None if found else "tiles: declined for the features"),
        (session, "everybody", _everybody),
        (tiles, "_slot_names", lambda found, *_: f"tiles: {'plain slots' if found == ['enter'] else 'cut slots'}"),
        (tiles, "_ranges", lambda found, *_: "tiles: several portions" if len(found) > 1 else None),
    ):
        _watch(monkeypatch, seen, owner, name, look)
    _watch_made(monkeypatch, seen, Cover, _cover)
    _watch_made(monkeypatch, seen, Positions, _positions)
    return seen


def _watch(
    monkeypatch: pytest.MonkeyPatch, seen: Counter[str], owner: object, name: str, look: Callable[..., str | None]
) -> None:
    real = getattr(owner, name)

    def watched(*args: Any, **named: Any) -> Any:
        found = real(*args, **named)
        if told := look(found, *args):
            seen[told] += 1
        return found

    monkeypatch.setattr(owner, name, watched)


def _watch_made(
    monkeypatch: pytest.MonkeyPatch, seen: Counter[str], owner: Any, look: Callable[[Any], str | None]
) -> None:
    real = owner.of

    def watched(_: type, *args: Any) -> Any:
        made = real(*args)
        if told := look(made):
            seen[told] += 1
        return made

    monkeypatch.setattr(owner, "of", classmethod(watched))


def _choice(choice: choose.Choice, runner: object, part: str, *_: object) -> str | None:
    forms = {step.method.removeprefix("hash ") for step in choice.steps if step.probes}
    return f"{part}: {forms.pop() if len(forms) == 1 else 'hot and other keys in one query'}" if forms else None


def _replaced(found: RowShape, _: object, given: RowShape) -> str | None:
    if not given.superseding or given.settled:
        return None
    return f"superseding: {'some rows replaced' if found.superseding else 'no row replaced'}"


def _everybody(found: object, _: object, shape: RowShape, *__: object) -> str:
    floats = any(map(is_float, shape.columns.values()))
    return "tiles: declined for the floats" if found is None else f"tiles: answered{' on floats' if floats else ''}"


def _cover(made: Cover) -> str | None:
    counting = bool((made.enter < made.leave).sum() > 1)
    return f"cover: {'runs' if made.runs else 'no runs'}" if counting else None


def _positions(made: Positions) -> str:
    return f"positions: {'ranks' if made.instants is not None else 'distances'}"
