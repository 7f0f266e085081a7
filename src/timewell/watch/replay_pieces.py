"""Some sampled vectors of one group version beside what their rows give: compared column by column, and counted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from timewell.build.fold import Cells, cells_of
from timewell.catalog.lookup import Catalog, RegisteredGroup
from timewell.define.compiled import CompiledFeature
from timewell.errors import TransformMismatch, TransformUnavailable
from timewell.stores.offline import EngineSession
from timewell.stores.query import INSTANT
from timewell.types import HOUR_US
from timewell.watch.causes import Found
from timewell.watch.replay_causes import Explainer, WrongVector
from timewell.watch.replay_on_demand import Asked, Beside, OnDemandReplay
from timewell.watch.replay_report import FeatureReplay, HourCount, Mismatch
from timewell.watch.served import Instants, Mask, ServedVector, differ, due_values, smape

Causes = dict[tuple[int, str], Found]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Piece:
    """Some vectors, as columns.

    Attributes
    ----------
    keys
        The join keys, and nothing else.
    as_of, now
        When the rows were looked at; the instant of each request.
    built
        Whether a build was read at all.
    served
        By feature: a struct of value and status.
    asked
        The same for functions.
    """

    keys: pa.Table
    as_of: Instants
    now: Instants
    built: Mask
    served: Mapping[str, pa.StructArray]
    asked: Asked

    def value(self, name: str, place: int) -> pa.ChunkedArray | None:
        """Return what was served of a feature, as a column of one row; ``None`` where it was not asked for."""
        one = self.served[name].slice(place, 1) if name in self.served else None
        if one is None or not pc.struct_field(one, "status").is_valid()[0].as_py():
            return None
        return pa.chunked_array([pc.struct_field(one, "value")])

    def probes(self, at: Instants) -> pa.Table:
        """Return the keys at some instants, as an engine is asked."""
        return self.keys.append_column(INSTANT, pa.array(at, pa.int64()))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    """One feature of a piece.

    Attributes
    ----------
    asked, answered, compared
        Where it was asked for, was no default, and can be compared as well.
    """

    name: str
    served: Cells
    status: Sequence[str | None]
    asked: Mask
    answered: Mask
    compared: Mask
    wanted: Cells
    exact: Cells

    @property
    def differs(self) -> Mask:
        """Where it is not what serving has to answer."""
        return differ(self.served, self.wanted) & self.compared

    def kind(self, place: int) -> str:
        """Return in which way it differs."""
        if not self.served.valid[place]:
            return "missing"
        return "mismatch" if self.wanted.valid[place] else "extra"


class VersionReplay:
    """One group version under replay.

    Parameters
    ----------
    features
        Those that are replayed.

    Attributes
    ----------
    found
        What was counted, by feature.
    mismatches
        Those that were looked into.
    vectors, first_us
        How many were replayed, and the instant of the first.
    skipped
        Features whose function is not the registered one, and what is wrong.
    """

    def __init__(
        self, session: EngineSession, catalog: Catalog, group: RegisteredGroup, features: Sequence[CompiledFeature]
    ) -> None:
        name, version = group.key
        self.found: dict[str, FeatureReplay] = {}
        self.skipped: dict[str, str] = {}
        self._on_demand: dict[str, OnDemandReplay] = {}
        for one in features:
            ref = f"{name}:{one.name}@{version}"
            try:
                if one.transform is not None:
                    self._on_demand[one.name] = OnDemandReplay(session, catalog, group, one)
                self.found[one.name] = FeatureReplay(feature=ref)
            except (TransformMismatch, TransformUnavailable) as problem:
                self.skipped[ref] = str(problem).rstrip(".")
        features = [one for one in features if one.transform is None]
        self.mismatches: list[Mismatch] = []
        self.vectors, self.first_us = 0, 1 << 62
        self._session, self._group, self._features = session, group, features
        self._explainer = Explainer(session, catalog, group, features)

    def add(self, rows: pa.Table) -> None:
        """Replay some sampled vectors."""
        piece = _piece_of(self._group, rows)
        self.vectors += len(piece.now)
        self.first_us = min(self.first_us, int(piece.now.min()))
        causes: Causes = {}
        for features, looked_at in _looks(self._group, self._features, piece):
            columns = [self._compared(one, looked_at) for one in self._columns(features, looked_at)]
            for column in columns:
                _count(self.found[column.name], column, looked_at)
            causes |= self._explain(looked_at, columns)
        for name, one in self._on_demand.items():
            if name in piece.served:
                self._computed(one, name, piece, causes)

    def _computed(self, one: OnDemandReplay, name: str, piece: _Piece, causes: Causes) -> None:
        """Replay a feature that was computed on demand."""
        remade = one.remade(piece.asked)
        column = _column_of(piece, name, remade.wanted, remade.exact)
        can_be = remade.made & (piece.built if one.has_stored else True)
        column = replace(column, compared=column.answered & can_be)
        _count(self.found[name], column, piece)
        for place in np.flatnonzero(column.differs).tolist():
            beside = {
                stored.name: Beside(value=value, found=causes.get((place, stored.name)))
                for stored in self._group.compiled.features
                if (value := piece.value(stored.name, place)) is not None
            }
            found = one.cause(piece.asked, place, column.served.one(place), beside)
            self._noted(name, column, place, piece, found)

    def _columns(self, features: Sequence[CompiledFeature], piece: _Piece) -> list[_Column]:
        """Recompute features: as of the builds, and as training data says for the instants of the requests."""
        made = due_values(self._session, self._group, features, piece.probes(piece.as_of), piece.now)
        exact = self._session.evaluate(self._group.query(features), piece.probes(piece.now))
        columns = []
        for feature in features:
            column = _column_of(piece, feature.name, cells_of(made[feature.name]), cells_of(exact[feature.name]))
            columns.append(replace(column, compared=column.answered & piece.built))
        return columns

    def _compared(self, column: _Column, piece: _Piece) -> _Column:
        """Return a column, looked at twice where a read computed the feature at one time and a build held it at another."""
        feature = self._group.compiled.feature(column.name)
        if feature.name not in self._group.once_computed or not column.differs.any():
            return column
        at = piece.as_of if feature.computed else _computed_at(self._group, piece)
        other = cells_of(due_values(self._session, self._group, [feature], piece.probes(at), piece.now)[feature.name])
        right = ~differ(column.served, other)
        return replace(column, compared=column.compared, wanted=_chosen(right, other, column.wanted))

    def _explain(self, piece: _Piece, columns: Sequence[_Column]) -> Causes:
        """Look for the causes of what differs; returns them by place and feature."""
        by_name = {column.name: column for column in columns}
        wrong: dict[int, list[str]] = {}
        for column in columns:
            for place in np.flatnonzero(column.differs).tolist():
                wrong.setdefault(place, []).append(column.name)
        if not wrong:
            return {}
        keys = piece.keys.take(list(wrong)).to_pylist()
        vectors, places = [], {}
        for (place, names), key in zip(wrong.items(), keys, strict=True):
            vector = _vector(piece, columns, place, tuple(key.values()))
            vectors.append(WrongVector(vector=vector, wrong=tuple(names)))
            places[id(vectors[-1])] = place
        told: Causes = {}
        for one in self._explainer.explain(vectors):
            place = places[id(one.of)]
            for name in one.of.wrong:
                counted, column = self.found[name], by_name[name]
                if not one.found:
                    counted.unexamined += 1
                elif found := one.found[name]:
                    told[place, name] = found
                    self._noted(name, column, place, piece, found)
                else:  # a float that is as near as its rows allow
                    counted.take_back(column.kind(place), one.of.vector.now_us // HOUR_US * HOUR_US)
        return told

    def _noted(self, name: str, column: _Column, place: int, piece: _Piece, found: Found) -> None:
        counted = self.found[name]
        counted.causes[found.cause] += 1
        [key] = piece.asked.entity.slice(place, 1).to_pylist()
        self.mismatches.append(
            Mismatch(
                feature=counted.feature,
                key=key or {},
                served_us=int(piece.now[place]),
                as_of_us=int(piece.as_of[place]),
                kind=column.kind(place),
                value=column.served.one(place),
                status=column.status[place] or "",
                expected=column.wanted.one(place),
                cause=found.cause,
                words=found.words,
                also=found.also,
            )
        )


def _column_of(piece: _Piece, name: str, wanted: Cells, exact: Cells) -> _Column:
    served = piece.served[name]
    status = pc.struct_field(served, "status")
    asked = np.asarray(status.is_valid().to_numpy(zero_copy_only=False), np.bool_)
    answered = pc.fill_null(pc.not_equal(status, "default"), False).to_numpy(zero_copy_only=False)
    return _Column(
        name=name,
        served=cells_of(pa.chunked_array([pc.struct_field(served, "value")])),
        status=status.to_pylist(),
        asked=asked,
        answered=np.asarray(answered, np.bool_),
        compared=asked,
        wanted=wanted,
        exact=exact,
    )


def _piece_of(group: RegisteredGroup, rows: pa.Table) -> _Piece:
    entity, served = rows["entity"].combine_chunks(), rows["features"].combine_chunks()
    names = {field.name for field in served.type}
    own = group.compiled.entity.key_names if group.compiled.features else ()
    asked = Asked(
        entity=entity,
        request=rows["request"].combine_chunks() if "request" in rows.column_names else None,
        as_of=_micros(rows["as_of"]),
        now=_micros(rows["sampled_at"]),
    )
    return _Piece(
        keys=pa.table({name: pc.struct_field(entity, name) for name in own}),
        as_of=asked.as_of,
        now=asked.now,
        built=np.asarray(rows["as_of"].is_valid().to_numpy(), np.bool_),
        served={
            one.name: pc.struct_field(served, one.name) for one in group.compiled.every_feature if one.name in names
        },
        asked=asked,
    )


def _micros(column: pa.ChunkedArray) -> Instants:
    return np.asarray(column.cast(pa.int64()).fill_null(0).to_numpy(), np.int64)


def _looks(
    group: RegisteredGroup, features: Sequence[CompiledFeature], piece: _Piece
) -> Iterator[tuple[list[CompiledFeature], _Piece]]:
    """Yield features that were looked at at the same instants, and the piece with these: builds, or the requests."""
    mine = [one for one in features if one.name in piece.served]
    if stored := [one for one in mine if not one.computed]:
        yield stored, piece
    if computed := [one for one in mine if one.computed]:
        yield computed, replace(piece, as_of=_computed_at(group, piece))


def _computed_at(group: RegisteredGroup, piece: _Piece) -> Instants:
    """Return when rows were looked at for values that a read computed."""
    compiled = group.compiled
    if compiled.accuracy == "exact" or compiled.every_us is None:
        return piece.now
    return (piece.now - compiled.available_after_us) // compiled.every_us * compiled.every_us


def _chosen(mask: Mask, yes: Cells, no: Cells) -> Cells:
    return Cells(values=np.where(mask, yes.values, no.values), valid=np.where(mask, yes.valid, no.valid))


def _count(found: FeatureReplay, column: _Column, piece: _Piece) -> None:
    bad = column.differs
    served, wanted = column.served.valid, column.wanted.valid
    found.not_served += int((column.asked & ~column.compared).sum())
    found.compared += int(column.compared.sum())
    found.match += int((column.compared & ~bad).sum())
    found.mismatch += int((bad & served & wanted).sum())
    found.missing += int((bad & ~served).sum())
    found.extra += int((bad & ~wanted).sum())
    lagging = differ(column.served, column.exact) & column.compared & ~bad
    found.lagging += int(lagging.sum())
    places = np.flatnonzero(column.compared)
    if not len(places):
        return
    mine = column.served.take(places)
    found.add_smape(smape(mine, column.wanted.take(places)), smape(mine, column.exact.take(places)))
    found.oldest_us = max(found.oldest_us, int((piece.now - piece.as_of)[places].max()))
    hours, inverse = np.unique(piece.now[places] // HOUR_US * HOUR_US, return_inverse=True)
    for number, hour in enumerate(hours.tolist()):
        counted, of_hour = found.hours.setdefault(hour, HourCount()), places[inverse == number]
        counted.compared += len(of_hour)
        counted.different += int(bad[of_hour].sum())
        counted.lagging += int(lagging[of_hour].sum())


def _vector(piece: _Piece, columns: Sequence[_Column], place: int, key: tuple[object, ...]) -> ServedVector:
    served = [column for column in columns if column.compared[place]]
    return ServedVector(
        key=key,
        as_of_us=int(piece.as_of[place]),
        now_us=int(piece.now[place]),
        values={column.name: column.served.one(place) for column in served},
        statuses={column.name: column.status[place] or "" for column in served},
    )
