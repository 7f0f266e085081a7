"""A shop on a stream: rows come hour by hour, builds are refreshed, vectors served and sampled; faults are planted."""

from __future__ import annotations

import copy
import random
import shutil
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

import timewell as tw
from timewell.catalog.layout import RowLayout, entity_key_encoder
from timewell.stores.codec import decode_key
from timewell.watch.replay import ReplayOrder, replay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from timewell.clock import FrozenClock
    from timewell.watch.replay_report import ReplayReport

START = datetime(2026, 3, 1, tzinfo=UTC)
FEATURES = ("paid_3d", "payments_1d", "mean_2d", "last_amount", "last_shop", "shops_3d")
SHOPS = ("north", "south", "east", "west", None)
Row = tuple[int, datetime, float | None, str | None]


def group(version: str = "v1", *, days: int = 0, **changes: Any) -> tw.FeatureGroup:
    """Six features of payments; with ``days`` their windows are so much longer."""
    return tw.FeatureGroup(
        name="paying",
        version=version,
        entity="user_id",
        source="payments",
        owner="risk@shop",
        online=True,
        **{"ttl": "5d", **changes},
        features=[
            tw.Feature(name="paid_3d", aggregation=tw.sum("amount", window=f"{3 + days}d")),
            tw.Feature(name="payments_1d", aggregation=tw.count(window=f"{1 + days}d")),
            tw.Feature(name="mean_2d", aggregation=tw.mean("amount", window=f"{2 + days}d")),
            tw.Feature(name="last_amount", aggregation=tw.latest("amount")),
            tw.Feature(name="last_shop", aggregation=tw.last("shop", window=f"{3 + days}d")),
            tw.Feature(name="shops_3d", aggregation=tw.count_distinct("shop", window=f"{3 + days}d")),
        ],
    )


class Shop:
    """A project that samples all that it serves; its clock stands at the end of the hours that were lived."""

    def __init__(self, folder: Path, *, users: int = 200, seed: int = 0, tied: bool = False) -> None:
        tw.FeatureStore.init(folder).close()
        with (folder / "timewell.toml").open("a") as file:
            file.write("\n[profile.sampling.serving]\nsample_rate = 1.0\nsample_most = 1000000\n")
        (folder / "rows").mkdir()
        self.fs = tw.FeatureStore(folder, profile="sampling", now=START)
        self.users, self.random, self.tied = users, random.Random(seed), tied
        self.hours = -24 * 6
        self.live_hours(24 * 6)
        source = tw.Source(name="payments", path="rows/*.parquet", event_time="at")
        self.fs.register_source(source)
        self.fs.register_group(group())

    def copied(self, folder: Path) -> Shop:
        """Return a shop like this one in another folder, which goes on by itself."""
        self.fs.close()
        shutil.copytree(self.fs.project.root, folder, symlinks=True)
        other = copy.copy(self)
        other.random = copy.deepcopy(self.random)
        other.fs = tw.FeatureStore(folder, profile="sampling", now=self.now)
        return other

    @property
    def clock(self) -> FrozenClock:
        """The project's clock."""
        return cast("FrozenClock", self.fs.project.clock)

    @property
    def now(self) -> datetime:
        """The end of what was lived."""
        return START + timedelta(hours=self.hours)

    def some_rows(self, start: datetime, minutes: int, count: int) -> list[Row]:
        """Return payments of random users in the minutes from an instant on."""
        drawn = self.random
        rows: list[Row] = []
        for _ in range(count):
            at = start + timedelta(seconds=drawn.randrange(1, minutes * 60), microseconds=drawn.randrange(1_000_000))
            amount = None if drawn.random() < 0.1 else round(drawn.uniform(1, 100), 2)
            rows.append((drawn.randrange(self.users), at, amount, drawn.choice(SHOPS)))
            if self.tied and drawn.random() < 0.5:  # another payment of the very instant
                rows.append((rows[-1][0], at, round(drawn.uniform(1, 100), 2), drawn.choice(SHOPS[:4])))
        return rows

    def append(self, rows: Sequence[Row]) -> None:
        """Write rows to the source as a new file."""
        user, at, amount, shop = zip(*rows, strict=True)
        table = pa.table(
            {
                "user_id": pa.array(user, pa.int64()),
                "at": pa.array(at, pa.timestamp("us", tz="UTC")),
                "amount": pa.array(amount, pa.float64()),
                "shop": pa.array(shop, pa.string()),
            }
        )
        pq.write_table(table, self.fs.project.root / "rows" / f"{self.random.getrandbits(64):016x}.parquet")

    def live_hours(self, hours: int, *, a_user: float = 0.15) -> None:
        """Let hours pass in which users pay."""
        self.append(self.some_rows(self.now, hours * 60, int(self.users * hours * a_user)))
        self.hours += hours
        self.clock.set(self.now)

    def refresh(self) -> None:
        """Bring the builds to the present."""
        self.fs.materialize_online()

    def serve(self, users: Iterable[int], features: Sequence[str] = FEATURES, *, after: str = "0s") -> None:
        """Serve each user's vector, some time after the present."""
        self.clock.set(self.now + timedelta(seconds=float(after.removesuffix("s"))))
        for user in users:
            self.fs.get_online_features(list(features), [{"user_id": user}])

    def rewrite(self, users: Iterable[int], change: Callable[[int, list[object]], Mapping[str, object]]) -> None:
        """Change the stored rows of some users; ``change`` takes a user and the values, and returns the new ones."""
        layout = RowLayout.of(self.fs.catalog().live("paying"))
        chosen = set(users)
        changed = {}
        for key, row in self.stored().items():
            (user,) = decode_key(key, ("int64",))
            if user in chosen:
                values = layout.codec.decode(row)
                given = change(cast("int", user), list(values))
                names = [feature.name for feature in layout.features]
                new = [given.get(name, value) for name, value in zip(names, values, strict=False)]
                changed[key] = layout.codec.encode(new, cast("list[int | None]", values[len(names) :]))
        self.put(changed)

    def stored(self, version: str | None = None) -> dict[bytes, bytes]:
        """Return the packed rows of the build that is served."""
        return dict(self.fs.project.online.scan(self.build(version)))

    def build(self, version: str | None = None) -> str:
        """Return the id of a version's build."""
        epochs = self.fs.catalog().epochs
        return epochs.builds["paying", version or epochs.live["paying"]]

    def put(self, rows: Mapping[bytes, bytes], gone: Sequence[bytes] = ()) -> None:
        """Write rows into the build under the mark that it has."""
        store = self.fs.project.online
        mark = store.mark(self.build())
        assert mark is not None
        store.refresh(self.build(), list(rows.items()), list(gone), mark)

    def key(self, user: int) -> bytes:
        """Return a user's key as it is stored."""
        found = entity_key_encoder(self.fs.catalog().live("paying"))([user])
        assert found is not None
        return found

    def replayed(self, **order: Any) -> ReplayReport:
        """Replay all that was served."""
        self.fs.replay(limit=1)  # writes what waits
        return replay(self.fs.project, ReplayOrder(**{"limit": None, "examples": 1_000_000, **order}))
