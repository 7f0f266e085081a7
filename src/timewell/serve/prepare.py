"""A request understood once: which builds to read, how a row of each becomes values, and in which order they go out.

Rule: what is prepared holds for one epoch; nothing here looks at the clock, a store or a value.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Final, cast

from timewell.catalog.layout import RowLayout, is_hot
from timewell.catalog.lookup import Catalog, RegisteredGroup, Resolved
from timewell.define.compiled import CompiledFeature
from timewell.errors import MissingKey, NeverMaterialized, NotOnline, UsageError
from timewell.serve.computed import ComputedGroup
from timewell.serve.on_demand import OnDemand, on_demand
from timewell.serve.response import Status, Statuses
from timewell.stores.codec import INT_TAG, SIGN_64, KeyEncoder

Entities = Sequence[Mapping[str, object]]
Values = Sequence[object]

Keys = Sequence[bytes | None]
EncodeKeys = Callable[[Entities], Keys]
Compute = Callable[[RowLayout], ComputedGroup]

_NEVER_US: Final = 1 << 62  # longer than any age
pack_int = struct.Struct(">BQ").pack


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One feature of a request: where its value lies in the row, and its own rules.

    Attributes
    ----------
    name
        As the answer calls it.
    column, time_column
        Places in the row; the second is -1 for a feature without a time of its own.
    """

    name: str
    column: int
    time_column: int
    ttl_us: int
    empty: object


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedGroup:
    """What is wanted of one group version, and the shortest way to it.

    Attributes
    ----------
    entity
        Which of the request's kinds of key it reads, by number.
    take
        Returns the wanted values of a decoded row, in order; ``None`` where the row is just these.
    time_column
        Where the event time of a ``latest`` feature lies in a row, if any is wanted. All of a row's are of the same
        newest source row and equal.
    int_key
        The join key's name, if it is a single whole number.
    computed
        Computes the rows on read; ``None`` where they lie in ``build``.
    hot
        Whether the rows of ``build`` are to be in memory.
    window_ttl_us, latest_ttl_us
        The shortest ttl of the wanted windows, and of the wanted ``latest`` features: while no age reaches them, no
        feature has to be looked at by itself.
    """

    name: str
    ref: str
    build: str
    entity: int
    schema_hash: str
    unpack: Callable[[bytes], list[object]]
    decode_many: Callable[[Sequence[bytes | None]], list[list[object] | None]]
    take: Callable[[Values], list[object]] | None
    time_column: int | None
    wanted: tuple[Wanted, ...]
    window_ttl_us: int
    latest_ttl_us: int
    first_feature: str
    int_key: str | None
    all_present: Statuses
    all_stale: Statuses
    computed: ComputedGroup | None
    hot: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A request with everything found out once: valid for one epoch.

    Attributes
    ----------
    columns
        Names of the answer's columns.
    refs
        ``group@version`` of each group, for accounts of what was read.
    encoders
        One for each kind of entity in the request.
    reorder
        Puts the groups' values, side by side, into the order asked for; ``None`` where they are in it.
    lone
        The group, where there is but one and its key is a whole number: see :mod:`timewell.serve.lone`.
    stored
        Whether all groups are read from the online store and nowhere else: see :mod:`timewell.serve.origins`.
    on_demand
        What is computed from the rows of the groups; their values are the answer itself where it is ``None``.
    """

    epoch: int
    columns: tuple[str, ...]
    service: str | None
    groups: tuple[PreparedGroup, ...]
    refs: tuple[str, ...]
    encoders: tuple[EncodeKeys, ...]
    reorder: Callable[[Values], list[object]] | None
    lone: PreparedGroup | None
    stored: bool
    all_present: Statuses
    on_demand: OnDemand | None = None


def prepare(
    catalog: Catalog, resolved: Sequence[Resolved], service: str | None = None, *, compute: Compute
) -> Prepared:
    """Find out what reading some features takes; ``compute`` makes what computes the rows of a layout on read.

    Raises
    ------
    NotOnline, NeverMaterialized
        Naming the feature.
    TransformMismatch, TransformUnavailable
        The function of an on-demand feature is not what was registered.
    """
    for item in resolved:
        if not item.feature.online:
            raise NotOnline(feature=item.feature.name)
    made, items = on_demand(catalog, resolved)
    prepared = _prepare_stored(catalog, items, service, compute)
    if made is None:
        return prepared
    return replace(
        prepared,
        columns=tuple(item.column for item in resolved),
        refs=tuple(dict.fromkeys((*prepared.refs, *made.refs))),
        lone=None,
        stored=prepared.stored and bool(prepared.groups),
        on_demand=made,
    )


def _prepare_stored(catalog: Catalog, resolved: Sequence[Resolved], service: str | None, compute: Compute) -> Prepared:
    """Find out what reading stored and computed features takes; there may be none."""
    parts: dict[tuple[tuple[str, str], bool], list[tuple[int, Resolved]]] = {}
    for column, item in enumerate(resolved):
        parts.setdefault((item.group.key, _is_computed(catalog, item)), []).append((column, item))
    encoders: dict[tuple[object, ...], tuple[int, EncodeKeys]] = {}
    groups, order = [], []
    for (_, computed), found in parts.items():
        items = [item for _, item in found]
        groups.append(_prepare_group(catalog, items, encoders, compute if computed else None))
        order += [column for column, _ in found]
    places = [order.index(column) for column in range(len(order))]
    is_lone = len(groups) == 1 and groups[0].int_key and not groups[0].computed and places == list(range(len(order)))
    return Prepared(
        epoch=catalog.epochs.epoch,
        columns=tuple(item.column for item in resolved),
        service=service,
        groups=tuple(groups),
        refs=tuple(dict.fromkeys(group.ref for group in groups)),
        encoders=tuple(encoder for _, encoder in encoders.values()),
        reorder=None if places == list(range(len(order))) else picker(places),
        lone=groups[0] if is_lone else None,
        stored=not any(group.computed or group.hot for group in groups),
        all_present=tuple(status for group in groups for status in group.all_present),
    )


def _is_computed(catalog: Catalog, item: Resolved) -> bool:
    """Tell whether a read computes a feature: as it is defined, or until it is stored where it was computed before."""
    if item.feature.computed:
        return True
    held = catalog.epochs.layouts.get(item.group.key, ())
    return item.feature.name not in held and item.feature.name in item.group.once_computed


def _layout_held(catalog: Catalog, items: Sequence[Resolved]) -> tuple[RowLayout, str]:
    """Return the layout and the id of the build that holds some features of a group."""
    group = items[0].group
    build = catalog.epochs.builds.get(group.key)
    held = catalog.epochs.layouts.get(group.key, ())
    absent = [item.feature.name for item in items if item.feature.name not in held]
    if build is None or absent:
        version = group.compiled.version
        pinned = "" if catalog.epochs.live.get(group.compiled.name) == version else f"@{version}"
        raise NeverMaterialized(feature=absent[0] + pinned)
    return RowLayout.of(group, held), build


def _prepare_group(
    catalog: Catalog,
    items: Sequence[Resolved],
    encoders: dict[tuple[object, ...], tuple[int, EncodeKeys]],
    compute: Compute | None,
) -> PreparedGroup:
    group, build = items[0].group, ""
    if compute is None:
        layout, build = _layout_held(catalog, items)
    else:
        layout = RowLayout.of(group, list(dict.fromkeys(item.feature.name for item in items)))
    wanted = _wanted(layout, items)
    places = [one.column for one in wanted]
    entity = group.compiled.entity
    kind = (entity.name, entity.key_names, tuple(group.key_types))
    latest = [one.ttl_us for one in wanted if one.time_column >= 0]
    return PreparedGroup(
        name=group.compiled.name,
        ref=group.compiled.ref,
        build=build,
        entity=encoders.setdefault(kind, (len(encoders), keys_encoder(group, layout.encode_key)))[0],
        schema_hash=layout.codec.schema_hash,
        unpack=layout.codec.unpack,
        decode_many=layout.codec.decode_many,
        take=None if places == list(range(layout.codec.width)) else picker(places),
        time_column=max(one.time_column for one in wanted) if latest else None,
        wanted=wanted,
        window_ttl_us=min((one.ttl_us for one in wanted if one.time_column < 0), default=_NEVER_US),
        latest_ttl_us=min(latest, default=_NEVER_US),
        first_feature=layout.features[0].name,
        int_key=entity.key_names[0] if tuple(group.key_types) == ("int64",) else None,
        all_present=each("present", wanted),
        all_stale=each("stale", wanted),
        computed=compute(layout) if compute else None,
        hot=is_hot(build),
    )


def _wanted(layout: RowLayout, items: Sequence[Resolved]) -> tuple[Wanted, ...]:
    places = {feature.name: place for place, feature in enumerate(layout.features)}
    latest = [feature.name for feature in layout.features if feature.is_latest]
    return tuple(
        Wanted(
            name=item.column,
            column=places[item.feature.name],
            time_column=len(layout.features) + latest.index(item.feature.name) if item.feature.is_latest else -1,
            ttl_us=_ttl(item.feature),
            empty=layout.empties[places[item.feature.name]],
        )
        for item in items
    )


def _ttl(feature: CompiledFeature) -> int:
    if feature.ttl_us is None:  # registering refuses it; a definition cannot get here without one
        raise UsageError(problem=f"feature {feature.name!r} is online without a ttl")
    return feature.ttl_us


def each(status: Status, wanted: Sequence[Wanted]) -> Statuses:
    """Return one status for all of a group's features."""
    return (status,) * len(wanted)


def picker(places: Sequence[int]) -> Callable[[Values], list[object]]:
    """Return a function that takes the values at some places, in that order.

    Examples
    --------
    >>> picker([0, 1])([7, 8, 9]), picker([2, 0])([7, 8, 9]), picker([2])([7, 8, 9])
    ([7, 8], [9, 7], [9])
    """
    if list(places) == list(range(len(places))):
        return itemgetter(slice(len(places)))
    if len(places) == 1:
        place = places[0]
        return lambda row: [row[place]]
    take = itemgetter(*places)
    return lambda row: list(take(row))


# --- keys ------------------------------------------------------------------------------------------------------------


def keys_encoder(group: RegisteredGroup, encode: KeyEncoder) -> EncodeKeys:
    """Return a function that encodes the keys of a request's entities; one with a null part is ``None``.

    It raises ``MissingKey``, ``InvalidKey`` or ``UsageError``, naming the key.
    """
    names, entity = group.compiled.entity.key_names, group.compiled.entity.name

    def encode_each(entities: Entities) -> Keys:
        if not isinstance(entities, (list, tuple)):
            raise _no_list(entities)
        keys: list[bytes | None] = []
        for one in entities:
            try:
                keys.append(encode([one[name] for name in names]))
            except TypeError:
                raise _no_list(one) from None
            except KeyError as missing:
                known = sorted(one)
                raise MissingKey(table="the request", asked=missing.args[0], entity=entity, known=known) from None
        return keys

    if tuple(group.key_types) != ("int64",):
        return encode_each
    (name,) = names

    def encode_ints(entities: Entities) -> Keys:
        """Encode whole numbers without a call for each; anything else finds its words above."""
        try:
            numbers = [one[name] for one in entities]
            if set(map(type, numbers)) <= {int}:
                return [pack_int(INT_TAG, number + SIGN_64) for number in cast("list[int]", numbers)]
        except (KeyError, TypeError, struct.error):
            pass
        return encode_each(entities)

    return encode_ints


def check_entities(entities: Entities) -> None:
    """Refuse entities that are no list of mappings, for requests that read no key of them.

    Raises
    ------
    UsageError
    """
    if not isinstance(entities, (list, tuple)):
        raise _no_list(entities)
    for one in entities:
        if not isinstance(one, Mapping):
            raise _no_list(one)


def _no_list(found: object) -> UsageError:
    hint = "Write one mapping of join key to value for each vector wanted: entities=[{'user_id': 7}]."
    return UsageError(problem=f"entities is no list of mappings: it is, or holds, a {type(found).__name__}", hint=hint)
