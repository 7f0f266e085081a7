"""Reads in process: Timewell's, through its public face, and what a program for this alone would do.

All are asked the same requests in the same order, each run going on where the last one stopped. What is timed begins with
a list of ``{"user_id": 7}`` and ends with the values of every entity as Python objects.
"""

from __future__ import annotations

import itertools

import lmdb
import msgspec
from child import Work
from serve_entities import KEY, Entities, Rows, asked_in_turn, bare_key, columns, keys_of

import timewell as tw

NEVER = 1 << 40


def timewell(*, place: str, requests: str, count: int, groups: int) -> Work:
    """Ask the store that a program opens, as the guide shows it."""
    store = tw.FeatureStore(place)
    names = columns(groups)
    return asked_in_turn(requests, count, lambda entities: store.get_online_features(names, entities).rows, names)


def timewell_unseen(*, place: str, requests: str, count: int, groups: int) -> Work:
    """Ask for every second entity under a key that was never seen: none of the usual case's short ways is open."""
    store = tw.FeatureStore(place)
    names = columns(groups)
    asked = [
        [{KEY: key if (number + at) % 2 else key - NEVER} for at, key in enumerate(keys)]
        for number, keys in enumerate(keys_of(requests))
    ]
    endless = itertools.cycle(asked)

    def run() -> None:
        for entities in itertools.islice(endless, count):
            store.get_online_features(names, entities)

    return Work(run=run, check=lambda _: {}, units=count)


def bare(*, raw: str, requests: str, count: int, groups: int) -> Work:
    """Get from LMDB and decode, in a loop; one transaction a request, the keys packed from the entities."""
    environment = lmdb.open(raw, readonly=True, max_dbs=0)
    unpack = msgspec.msgpack.Decoder(list).decode
    numbers = range(groups)

    def one(entities: Entities) -> Rows:
        with environment.begin() as txn:
            get = txn.get
            return [unpack(get(bare_key(0, entity[KEY]))) for entity in entities]

    def several(entities: Entities) -> Rows:
        with environment.begin() as txn:
            get = txn.get
            rows = []
            for entity in entities:
                key, row = entity[KEY], []
                for number in numbers:
                    row += unpack(get(bare_key(number, key)))
                rows.append(row)
            return rows

    return asked_in_turn(requests, count, one if groups == 1 else several, columns(groups))


def bare_with_keys(*, raw: str, requests: str, count: int, groups: int) -> Work:
    """Do as :func:`bare` does where the keys are packed beforehand: what LMDB and msgspec take by themselves."""
    environment = lmdb.open(raw, readonly=True, max_dbs=0)
    unpack = msgspec.msgpack.Decoder(list).decode
    keys = [[bare_key(number, key) for key in asked for number in range(groups)] for asked in keys_of(requests)]
    endless = itertools.cycle(keys)

    def run() -> None:
        for wanted in itertools.islice(endless, count):
            with environment.begin() as txn:
                get = txn.get
                [unpack(get(key)) for key in wanted]

    return Work(run=run, check=lambda _: {}, units=count)
