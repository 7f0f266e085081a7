"""Features computed on demand: which stored features a request needs for them, and their values and statuses from those.

Rule: a function is given what it is given offline: values after the rules for ttl and empty, values of the request in
the input's type, and one instant for the whole request. It runs for one row at a time, and what it raises costs that
row its value, never the others theirs.

The status of such a feature is the worst of its stored inputs' (``default``, ``expired``, ``not_found``, ``stale``); else
it tells of its own value (``null``, ``present``). Where an input is a ``default``, or the function fails, so is the
feature: the caller's default for it stands in, and nothing is computed from made-up values.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple

from timewell.build.on_demand import Derived, derived, stored
from timewell.catalog.evaluate import checked, row_function
from timewell.catalog.lookup import Catalog, Resolved
from timewell.errors import NotOnline, TransformFailed
from timewell.serve.given import Column, Request, RequestInput, given_columns
from timewell.serve.response import Status, Statuses
from timewell.types import to_datetime

log = logging.getLogger("timewell.serve")
Rows = Sequence[Sequence[object]]

_WORST_FIRST: Final[tuple[Status, ...]] = ("default", "expired", "not_found", "stale")
_MOST_KEPT: Final = 1_024  # tuples of statuses; callers that find ever new ones must not fill the memory
_WIDENED: Final = {("int32", "float64"), ("int64", "float64")}  # pairs of types in which Python has two of its own


class _Input(NamedTuple):
    """Where one parameter's column is found.

    Attributes
    ----------
    stored, given
        Its place among the stored features' values, or the request's; both ``None`` for ``now``.
    as_float
        Whether whole numbers become floats.
    """

    stored: int | None = None
    given: int | None = None
    as_float: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Feature:
    """One on-demand feature of a request.

    Attributes
    ----------
    name
        As the answer calls it.
    ref
        ``group@version``, for accounts of what failed.
    call
        Takes the inputs in order; raises ``TransformFailed``.
    stored
        Places of its inputs among the stored features.
    """

    name: str
    ref: str
    call: Callable[[Sequence[object]], object]
    inputs: tuple[_Input, ...]
    stored: tuple[int, ...]


class Made(NamedTuple):
    """The rows of an answer, and the ``group@version`` of features whose function failed for some of them."""

    values: list[Sequence[object]]
    statuses: list[Statuses]
    failed: tuple[str, ...]


class OnDemand:
    """What a request computes, found out once; safe to share between threads.

    Parameters
    ----------
    made
        The on-demand features asked for, by column.
    items
        The stored features that are read, in the order of their values.
    asked
        Everything that was asked for, in the order of the answer.

    Attributes
    ----------
    refs
        ``group@version`` of the on-demand features.
    given
        The values wanted of the request.
    """

    def __init__(self, made: Mapping[str, Derived], items: Sequence[Resolved], asked: Sequence[Resolved]) -> None:
        places: dict[tuple[tuple[str, str], str], int] = {}
        for place, item in enumerate(items):
            places.setdefault((item.group.key, item.feature.name), place)
        wanted: dict[tuple[str, str], RequestInput] = {}
        self._features = tuple(_feature(name, each, places, wanted) for name, each in made.items())
        self.given = tuple(wanted.values())
        self.refs = tuple(dict.fromkeys(feature.ref for feature in self._features))
        columns, computed = {item.column: place for place, item in enumerate(items)}, list(made)
        self._order = [
            len(items) + computed.index(item.column) if item.column in made else columns[item.column] for item in asked
        ]
        self._sources = _sources(made.values())
        self._worst: dict[Statuses, tuple[Status | None, ...]] = {}
        self._told: set[str] = set()

    def columns(self, request: Request | None, rows: int) -> list[Column]:
        """Return the values of a request, checked; raises as :func:`timewell.serve.given.given_columns` does."""
        return given_columns(self.given, request, rows)

    def as_of(self, read_us: Mapping[str, int]) -> dict[str, int]:
        """Return the instant that each group's values are of: of one that stores nothing, the oldest of its inputs'."""
        found = dict(read_us)
        for group, inputs in self._sources.items():
            known = [read_us[name] for name in inputs if name in read_us]
            if known:
                found[group] = min(known)
        return found

    def rows(
        self, values: Rows, statuses: Sequence[Statuses], given: Sequence[Column], now_us: int,
        defaults: Mapping[str, object],
    ) -> Made:  # fmt: skip
        """Compute every row of an answer from the stored features' values and the request's."""
        worst = [self._worst_of(one) for one in statuses]
        columns: list[list[object]] = []
        states: list[list[Status]] = []
        failed: dict[str, None] = {}
        for place, feature in enumerate(self._features):
            found, mine, fails = self._computed(
                feature, values, [one[place] for one in worst], given, now_us, defaults.get(feature.name)
            )
            columns.append(found)
            states.append(mine)
            if fails:
                failed[feature.ref] = None
        order = self._order
        computed, told = zip(*columns, strict=True), zip(*states, strict=True)
        together = ([*row, *mine] for row, mine in zip(values, computed, strict=True))
        shared: dict[Statuses, Statuses] = {}  # rows with the same statuses share one tuple, as elsewhere
        both = ((*row, *mine) for row, mine in zip(statuses, told, strict=True))
        ordered = [shared.setdefault(one, one) for one in (tuple([row[place] for place in order]) for row in both)]
        return Made([[row[place] for place in order] for row in together], ordered, tuple(failed))

    def _computed(  # the parts of one column
        self,
        feature: _Feature,
        values: Rows,
        worst: Sequence[Status | None],
        given: Sequence[Column],
        now_us: int,
        default: object,
    ) -> tuple[list[object], list[Status], bool]:
        """Return one feature's values and statuses, and whether its function failed for some row."""
        found: list[object] = []
        states: list[Status] = []
        fails, call, now = False, feature.call, [to_datetime(now_us)] * len(values)
        columns = [
            now if one.stored is None and one.given is None
            else given[one.given] if one.given is not None
            else [row[one.stored] for row in values]  # type: ignore[index]  # one of the two is there
            for one in feature.inputs
        ]  # fmt: skip
        rows = zip(*columns, strict=True) if columns else [()] * len(values)
        for row, state in zip(rows, worst, strict=True):
            value, own = default, state
            if state != "default":
                try:
                    value = call(row)
                    own = state or ("null" if value is None else "present")
                except TransformFailed as problem:
                    fails, own = True, "default"
                    self._tell(feature, problem)
            found.append(value)
            states.append(own or "default")
        return found, states, fails

    def _tell(self, feature: _Feature, problem: TransformFailed) -> None:
        """Log the first failure of each function; what it was given may be about a person, so it is not told."""
        if feature.name not in self._told:
            self._told.add(feature.name)
            cause = type(problem.__cause__).__name__ if problem.__cause__ else "what it returned is of another type"
            log.warning(
                "transform %s@%s failed (%s): %s of that entity is a default; further failures are only counted",
                problem.facts["name"],
                problem.facts["version"],
                cause,
                feature.name,
            )
        log.debug("%s", problem)

    def _worst_of(self, statuses: Statuses) -> tuple[Status | None, ...]:
        """Return for each feature the worst status among its inputs, ``None`` where its own value tells."""
        found = self._worst.get(statuses)
        if found is None:
            found = tuple(_worst([statuses[place] for place in feature.stored]) for feature in self._features)
            if len(self._worst) >= _MOST_KEPT:
                self._worst = {}
            self._worst[statuses] = found
        return found


def on_demand(catalog: Catalog, resolved: Sequence[Resolved]) -> tuple[OnDemand | None, Sequence[Resolved]]:
    """Return what a request computes, if anything, and which stored features it reads; loads the functions.

    Raises
    ------
    TransformMismatch, TransformUnavailable
        The code at hand is not what was registered: nothing is served with it.
    NotOnline
        An input is offline only.
    """
    if not any(item.feature.transform for item in resolved):
        return None, resolved
    made = derived(resolved, catalog)
    for column, each in made.items():
        for _, needed in each.inputs:
            if needed is not None and not needed.feature.online:
                name = needed.feature.name
                hint = f"{column} is computed from it. {NotOnline.fix.format(feature=name)}"
                raise NotOnline(feature=name, hint=hint)
    asked = [item for item in resolved if item.feature.transform is None]
    known = {(item.group.key, item.feature.name) for item in asked}
    inputs = {(item.group.key, item.feature.name): item for item in stored(resolved, made)[len(asked) :]}
    items = [*asked, *(item for key, item in inputs.items() if key not in known)]
    return OnDemand(made, items, resolved), items


def _feature(
    name: str,
    made: Derived,
    places: Mapping[tuple[tuple[str, str], str], int],
    wanted: dict[tuple[str, str], RequestInput],
) -> _Feature:
    inputs = []
    for one, needed in made.inputs:
        if needed is not None:
            dtype = needed.group.dtypes[needed.feature.name]
            place = places[needed.group.key, needed.feature.name]
            inputs.append(_Input(stored=place, as_float=(dtype, one.dtype) in _WIDENED))
        elif one.kind == "request":
            key = (one.reference, one.dtype)
            wanted.setdefault(key, RequestInput(name=one.reference, dtype=one.dtype, feature=made.item.feature.name))
            inputs.append(_Input(given=list(wanted).index(key)))
        else:
            inputs.append(_Input())
    call = row_function(made.transform)
    floats = [place for place, one in enumerate(inputs) if one.as_float]
    return _Feature(
        name=name,
        ref=made.item.group.compiled.ref,
        call=partial(_with_floats, made, call, floats) if floats else call,
        inputs=tuple(inputs),
        stored=tuple(one.stored for one in inputs if one.stored is not None),
    )


def _with_floats(
    made: Derived, call: Callable[[Sequence[object]], object], places: Sequence[int], row: Sequence[object]
) -> object:
    """Call a function whose inputs are whole numbers where it takes floats; one with too many digits is refused."""
    given = list(row)
    try:
        for place in places:
            given[place] = checked(given[place], "float64")
    except ValueError as problem:
        used = made.transform
        raise TransformFailed(name=used.name, version=used.version, problem=str(problem), given="it") from problem
    return call(given)


def _sources(made: Iterable[Derived]) -> dict[str, tuple[str, ...]]:
    """Return the groups that the inputs of each group are of, of those that store nothing."""
    found: dict[str, dict[str, None]] = {}
    for each in made:
        if not each.item.group.compiled.features:
            mine = found.setdefault(each.item.group.compiled.name, {})
            mine.update({needed.group.compiled.name: None for _, needed in each.inputs if needed is not None})
    return {group: tuple(inputs) for group, inputs in found.items()}


def _worst(statuses: Sequence[Status]) -> Status | None:
    return next((status for status in _WORST_FIRST if status in statuses), None)
