"""How a group's rows lie in an online build: which features, in which order, under which key."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import chain

import pyarrow as pa

from timewell import chance
from timewell.catalog.lookup import RegisteredGroup
from timewell.define.compiled import CompiledFeature
from timewell.define.dtypes import decimal_parts, element_of, is_float
from timewell.stores.bulk import encode_pairs, keys_of, rows_of, uncollected
from timewell.stores.codec import KeyEncoder, RowCodec, key_encoder
from timewell.stores.order import in_key_order
from timewell.stores.query import TIME_SUFFIX
from timewell.types import parse_instant, to_datetime

_HOT = "hot-"


def new_build_id(group: RegisteredGroup) -> str:
    """Return an id for a new online build; it tells whether servers are to keep the rows in memory."""
    return f"{group.compiled.name}/{group.compiled.version}/{_HOT if group.compiled.hot else ''}{chance.new_id()}"


def is_hot(build: str) -> bool:
    """Tell whether a build was made while one of its features was ``hot``: readers go by builds, not by definitions."""
    return build.rpartition("/")[2].startswith(_HOT)


@dataclass(frozen=True, slots=True, kw_only=True)
class RowLayout:
    """The features of an online build and how to write them."""

    group: RegisteredGroup
    features: tuple[CompiledFeature, ...]
    codec: RowCodec
    encode_key: KeyEncoder
    empties: tuple[object, ...]

    @classmethod
    def of(cls, group: RegisteredGroup, names: Sequence[str] | None = None) -> RowLayout:
        """Return the layout of a build: of these features, or of those that are to be online now."""
        features = group.compiled.online_features
        if names is not None:
            features = tuple(group.compiled.feature(name) for name in names)
        codec = RowCodec(
            names=[feature.name for feature in features],
            types=[group.dtypes[feature.name] for feature in features],
            latest=[place for place, feature in enumerate(features) if feature.is_latest],
        )
        empties = tuple(typed_value(feature.empty, group.dtypes[feature.name]) for feature in features)
        return cls(group=group, features=features, codec=codec, encode_key=entity_key_encoder(group), empties=empties)

    def pack(self, rows: pa.Table) -> Iterator[tuple[bytes, bytes]]:
        """Yield the (key, packed row) pairs of a snapshot in ascending order of keys; see :meth:`pack_in_parts`."""
        return chain.from_iterable(self.pack_in_parts(rows))

    def pack_in_parts(self, rows: pa.Table) -> Iterator[list[tuple[bytes, bytes]]]:
        """Yield the (key, packed row) pairs of a snapshot in ascending order of keys, some thousands at a time.

        Rows whose key has a null part are left out.
        """
        types, names = self.group.key_types, self.group.compiled.entity.key_names
        times = [feature.name + TIME_SUFFIX for feature in self.features if feature.is_latest]
        columns = [*(feature.name for feature in self.features), *times]
        for part in in_key_order(rows, types, names):
            with uncollected():
                pairs = list(encode_pairs(keys_of(part, types, names), rows_of(part.select(columns), self.codec)))
            if pairs:
                yield pairs


def entity_key_encoder(group: RegisteredGroup) -> KeyEncoder:
    """Return the encoder of a group's join keys."""
    return key_encoder(group.key_types, group.compiled.entity.key_names)


def typed_value(value: object, dtype: str) -> object:
    """Return an ``empty`` value in the feature's own type, as offline has it (0 becomes 0.0 in a float feature)."""
    if value is None:
        return None
    if isinstance(value, (list, tuple)):
        return [typed_value(part, element_of(dtype) or dtype) for part in value]
    if is_float(dtype):
        return float(str(value))
    if decimal := decimal_parts(dtype):
        return Decimal(str(value)).quantize(Decimal(1).scaleb(-decimal[1]))
    if isinstance(value, str) and dtype == "timestamp":
        return to_datetime(parse_instant(value))
    return date.fromisoformat(value) if isinstance(value, str) and dtype == "date" else value
