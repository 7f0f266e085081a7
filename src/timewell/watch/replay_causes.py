"""The causes of the wrong values among replayed vectors, found from the raw rows of their entities.

Rule: what is held is the rows of a few entities at a time; what is not looked into for want of time is said.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Final

import pyarrow as pa

from timewell.build.snapshot import exact_query
from timewell.build.witness import Witnesses
from timewell.catalog.lookup import Catalog, RegisteredGroup
from timewell.define.compiled import CompiledFeature
from timewell.define.dtypes import is_float
from timewell.errors import TimewellError
from timewell.stores.arrow import to_arrow_type
from timewell.stores.offline import EngineSession
from timewell.stores.query import GroupQuery
from timewell.watch.causes import Found, Suspects, settle, suspects
from timewell.watch.served import ServedVector
from timewell.watch.worlds import Alternatives, Scene

log = logging.getLogger("timewell.watch")
MOST_EXAMINED: Final = 1_000  # vectors of one group version: some seconds
_AT_ONCE: Final = 200
_DISAGREE: Final = "its rows give it, the engine does not"


@dataclass(frozen=True, slots=True, kw_only=True)
class WrongVector:
    """A vector, and which of its values the engine does not give."""

    vector: ServedVector
    wrong: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """What was found out about the wrong values of a vector.

    Attributes
    ----------
    found
        By feature; empty for a vector that was not looked into. ``None``: a float as near as its rows allow.
    """

    of: WrongVector
    found: dict[str, Found | None]


class Explainer:
    """Looks for causes in one group version.

    Parameters
    ----------
    session
        Where the rows are read.
    catalog
        Its other versions of the group are among the causes.
    group
        The version that served.
    features
        Those that are replayed.
    """

    def __init__(
        self, session: EngineSession, catalog: Catalog, group: RegisteredGroup, features: Sequence[CompiledFeature]
    ) -> None:
        self._session, self._catalog, self._group = session, catalog, group
        self._features = {one.name: one for one in features}
        self._left = MOST_EXAMINED

    def explain(self, vectors: Sequence[WrongVector]) -> Iterator[Explained]:
        """Yield what was found out about each vector; vectors of one build are decided together."""
        examined, passed_over = vectors[: self._left], vectors[self._left :]
        self._left -= len(examined)
        judged: list[tuple[WrongVector, Suspects, set[str]]] = []
        pending = iter(examined)
        while part := list(islice(pending, _AT_ONCE)):
            judged += self._judge(part)
        of_build: dict[int, list[int]] = {}
        for number, (one, _, _) in enumerate(judged):
            of_build.setdefault(one.vector.as_of_us, []).append(number)
        for numbers in of_build.values():
            for number, found in zip(numbers, settle([judged[number][1] for number in numbers]), strict=True):
                one, _, agreed = judged[number]
                yield Explained(of=one, found={name: self._said(name, found, agreed) for name in one.wrong})
        yield from (Explained(of=one, found={}) for one in passed_over)

    def _said(self, name: str, found: dict[str, Found], agreed: set[str]) -> Found | None:
        if name not in agreed:
            return found[name]
        if is_float(self._group.dtypes[name]):
            return None
        return Found(cause="unknown", words=_DISAGREE)

    def _judge(self, vectors: Sequence[WrongVector]) -> Iterator[tuple[WrongVector, Suspects, set[str]]]:
        """Yield the suspects of each vector, and the features that its rows give as they were served."""
        truth, others = self._rows_of(vectors)
        for one in vectors:
            scene = Scene(one.vector, self._features, truth)
            agreed = {name for name in one.wrong if name not in scene.wrong}
            scene.wrong = [name for name in one.wrong if name not in agreed]
            yield one, suspects(scene, others), agreed

    def _rows_of(self, vectors: Sequence[WrongVector]) -> tuple[Witnesses, Alternatives]:
        keys = list(dict.fromkeys(one.vector.key for one in vectors))
        table = self._session.witnesses(self._query, self._keys(keys))
        versions = {ref: rows for ref, query in self._others.items() if (rows := self._read(query, keys)) is not None}
        return Witnesses(self._query, table, "known"), Alternatives(versions=versions)

    def _read(self, query: GroupQuery, keys: Sequence[tuple[object, ...]]) -> Witnesses | None:
        try:
            return Witnesses(query, self._session.witnesses(query, self._keys(keys)), "known")
        except TimewellError as problem:  # an old version's source may be gone
            log.debug("rows of %s were not read: %s", query.group.ref, problem.code)
            return None

    def _keys(self, keys: Sequence[tuple[object, ...]]) -> pa.Table:
        names, types = self._group.compiled.entity.key_names, self._group.key_types
        columns = zip(*keys, strict=True)
        return pa.table(
            {
                name: pa.array(column, to_arrow_type(dtype))
                for name, dtype, column in zip(names, types, columns, strict=True)
            }
        )

    @cached_property
    def _query(self) -> GroupQuery:
        return exact_query(self._group, list(self._features.values()))

    @cached_property
    def _others(self) -> dict[str, GroupQuery]:
        """The other versions with the same keys and a feature of the same name."""
        found = {}
        for (name, version), group in self._catalog.groups.items():
            mine = [one for one in group.compiled.features if one.name in self._features]
            same_keys = group.compiled.entity.key_names == self._group.compiled.entity.key_names
            if name == self._group.compiled.name and group is not self._group and mine and same_keys:
                found[version] = exact_query(group, mine)
        return found
