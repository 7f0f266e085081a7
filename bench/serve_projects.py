"""The stores that are asked: projects materialized through Timewell's public face, and the bare copy of their rows."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import lmdb
from rounds import say
from serve_entities import AS_OF, GROUPS, KEY, TIME, WIDTH, bare_key, columns, facts

import timewell as tw
from timewell.stores.codec import decode_key

OWNER = "bench@example.com"
RAW = "raw"  # directory of the bare copy
_FORMAT = 1
_READY = "ready"


def project(cache: Path, entities: int) -> Path:
    """Return a project on the embedded store whose features of all entities are online."""
    return made(cache / f"serving-{entities}-{_FORMAT}", cache, entities)


def made(place: Path, cache: Path, entities: int, *, settings: str = "") -> Path:
    """Return a project with more lines in its ``timewell.toml``; made unless it is there."""
    if not (place / _READY).is_file():
        say(f"making {place.name}: {len(GROUPS)} groups of {WIDTH} features for {entities:,} entities")
        shutil.rmtree(place, ignore_errors=True)
        tw.FeatureStore.init(place).close()
        with (place / "timewell.toml").open("a", encoding="utf-8") as file:
            file.write(f"\n{settings}")
        store = tw.FeatureStore(place)
        register(store, facts(cache, entities))
        store.materialize_online(as_of=AS_OF)
        store.close()
        (place / _READY).touch()
    with closing(tw.FeatureStore(place)) as store:
        store.upgrade()  # made by an earlier program, perhaps
    return place


def variant(place: Path, name: str, settings: str) -> Path:
    """Return a project of the same state with these settings alone; written anew each time."""
    other = place.with_name(f"{place.name}-{name}")
    shutil.rmtree(other, ignore_errors=True)
    other.mkdir()
    (other / "features").mkdir()
    (other / "timewell.toml").write_text(f'state = "{place / ".timewell"}"\n\n{settings}', encoding="utf-8")
    return other


def register(store: tw.FeatureStore, file: Path) -> None:
    """Register the events and a group over each ten columns of them."""
    store.register_source(tw.Source(name="facts", kind="events", path=str(file), event_time=TIME))
    for number, group in enumerate(GROUPS, start=1):
        names = columns(number)[-WIDTH:]
        features = tuple(tw.Feature(name=name, aggregation=tw.last(name, window="30d")) for name in names)
        store.register_group(
            tw.FeatureGroup(
                name=f"group_{group}",
                entity=KEY,
                source="facts",
                owner=OWNER,
                ttl="36500d",  # the events are of one day for good; what is measured must not expire
                online=True,
                features=features,
            )
        )


def bare_rows(place: Path) -> Iterator[tuple[bytes, bytes]]:
    """Yield the rows of all groups of a project as it stores them, under the bare keys, in their order."""
    store = tw.FeatureStore(place)
    builds = store.catalog().epochs.builds
    for number, group in enumerate(GROUPS):
        rows = store.project.online.scan(builds[f"group_{group}", "v1"])
        yield from ((bare_key(number, *decode_key(key, ["int64"])), row) for key, row in rows)
    store.close()


def bare_lmdb(place: Path) -> Path:
    """Return an LMDB environment with a project's rows; made unless it is there."""
    raw = place / RAW
    if not (raw / _READY).is_file():
        shutil.rmtree(raw, ignore_errors=True)
        environment = lmdb.open(str(raw), map_size=1 << 36, subdir=True)
        with environment.begin(write=True) as txn:
            txn.cursor().putmulti(bare_rows(place), append=True)
        environment.close()
        (raw / _READY).touch()
    return raw
