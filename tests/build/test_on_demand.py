"""On-demand features in training data: computed from stored features, values of the request, and the row's instant."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from shutil import copytree
from textwrap import dedent

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import timewell as tw
from timewell.build import on_demand
from timewell.define import transform
from timewell.errors import (
    DefinitionError,
    DuplicateFeature,
    MissingRequestValue,
    NoShadow,
    NothingStored,
    StillUsed,
    TimewellError,
    TransformChanged,
    TransformFailed,
    TransformMismatch,
    TransformUnavailable,
    VersionConflict,
    WrongColumnType,
)

NOW = "2026-03-01T00:00:00Z"


@tw.transform(version="v1", returns="int64")
def country_to_id(country: str) -> int:
    lut = {"US": 1, "CA": 2, "GB": 3, "DE": 4}
    return lut.get(country, 0)


@tw.transform(version="v1")
def days_since_signup(signup_date: date | None, now: datetime) -> int | None:
    return None if signup_date is None else (now.date() - signup_date).days


@tw.transform(version="v1")
def share_of_limit(balance: float | None, amount: float | None) -> float | None:
    return None if not balance or amount is None else amount / balance


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.fixture
def fs(shop: Path, tmp_path: Path) -> tw.FeatureStore:
    """Return a store of its own of the project."""
    return tw.FeatureStore(copytree(shop, tmp_path / "shop"), now=NOW)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tw.FeatureStore.init(tmp_path_factory.mktemp("once") / "shop", now=NOW)
    users = {
        "user_id": [1, 2],
        "ts": [at("2026-01-01"), at("2026-02-01")],
        "signup": [date(2026, 1, 1), date(2026, 2, 1)],
    }
    accounts = {"user_id": [1, 1], "ts": [at("2026-01-01"), at("2026-02-10")], "amount": [100.0, 50.0]}
    store.register_source(tw.Source(name="users", kind="snapshots", frame=pa.table(users), event_time="ts"))
    store.register_source(tw.Source(name="accounts", kind="snapshots", frame=pa.table(accounts), event_time="ts"))
    store.register_group(
        tw.FeatureGroup(
            name="profile",
            entity="user_id",
            source="users",
            owner="growth@company",
            features=[
                tw.Feature(name="signup_date", aggregation=tw.latest("signup")),
                tw.Feature(name="days_since_signup", transform=days_since_signup),
            ],
        )
    )
    store.register_feature(
        {
            "name": "balance",
            "owner": "growth@company",
            "entity": "user_id",
            "source": "accounts",
            "aggregation": {"type": "latest", "column": "amount"},
            "ttl": "20d",
        }
    )
    store.close()
    return store.project.root


def spine(**more: list[object]) -> pa.Table:
    times = [at("2026-01-15"), at("2026-02-15"), at("2026-02-15"), at("2026-02-15T23:00:00")]
    return pa.table({"user_id": [1, 1, 2, 3], "event_ts": pa.array(times, pa.timestamp("us", tz="UTC")), **more})


def column(store: tw.FeatureStore, rows: pa.Table, name: str) -> list[object]:
    found: list[object] = store.get_historical_features(rows, features=[name]).to_arrow()[name].to_pylist()
    return found


def test_the_seeds_look_up_takes_the_spines_column_and_needs_no_source(fs: tw.FeatureStore) -> None:
    fs.register_feature({"name": "country_id", "owner": "growth@company", "transform": country_to_id})
    rows = spine(country=["US", "FR", None, "ドイツ"])
    assert column(fs, rows, "country_id") == [1, 0, 0, 0]


def test_now_is_the_instant_of_the_row_and_a_feature_has_its_value_there(fs: tw.FeatureStore) -> None:
    assert column(fs, spine(), "days_since_signup") == [14, 45, 14, None]


def test_inputs_are_values_after_the_rule_for_ttl_from_any_group(fs: tw.FeatureStore) -> None:
    fs.register_feature(
        {
            "name": "share_of_limit",
            "owner": "risk@company",
            "transform": share_of_limit,
            "inputs": {"amount": "request.price"},
        }
    )
    late = pa.table({"user_id": [1, 1, 1], "ts": [at("2026-01-20"), at("2026-01-21"), at("2026-02-15")]})
    late = late.append_column("price", pa.array([10.0, 10.0, 10.0]))
    assert column(fs, late, "share_of_limit") == [0.1, None, 0.2]  # dead at exactly 20 days, then a new balance


def test_a_missing_request_value_is_named(fs: tw.FeatureStore) -> None:
    fs.register_feature({"name": "country_id", "owner": "growth@company", "transform": country_to_id})
    with pytest.raises(MissingRequestValue, match="the spine has no 'country', which feature 'country_id'"):
        fs.get_historical_features(spine(contry=["US"] * 4), features=["country_id"])


def test_the_same_columns_in_a_file_written_in_parts_and_again_from_the_manifest(
    fs: tw.FeatureStore, tmp_path: Path
) -> None:
    fs.register_feature({"name": "country_id", "owner": "growth@company", "transform": country_to_id})
    rows, asked = spine(country=["US", "FR", None, "DE"]), ["days_since_signup", "country_id"]
    pq.write_table(rows, tmp_path / "spine.parquet")
    made = fs.get_historical_features(rows, features=asked)
    written = fs.get_historical_features(
        tmp_path / "spine.parquet", features=asked, to_parquet=tmp_path / "out.parquet"
    )
    again = fs.get_historical_features(rows, features=made.manifest)
    assert pq.read_table(tmp_path / "out.parquet").select(asked) == made.to_arrow().select(asked)
    assert again.to_arrow() == made.to_arrow()
    assert made.manifest.id == again.manifest.id == written.manifest.id
    assert [line.inputs for line in made.manifest.features] == [
        {"signup_date": "profile:signup_date@v1", "now": "now"},
        {"country": "request.country"},
    ]
    assert "by country_to_id@v1" in str(made.manifest)


def test_other_source_under_the_same_version_is_refused_also_with_bump(tmp_path: Path) -> None:
    store, file = tw.FeatureStore.init(tmp_path / "p", now=NOW), tmp_path / "p" / "features" / "geo.py"
    text = dedent("""\
        import timewell as tw

        LUT = {"US": 1}

        @tw.transform(version="v1", returns="int64")
        def country_to_id(country: str) -> int:
            return LUT.get(country, 0)

        country_id = tw.Feature(name="country_id", owner="a@b", transform=country_to_id)
        """)
    file.write_text(text)
    store.apply()
    rows = pa.table({"event_ts": [at("2026-02-15")], "country": ["CA"]})
    assert column(store, rows, "country_id") == [0]
    file.write_text(text.replace('{"US": 1}', '{"US": 1, "CA": 2}'))
    for bump in (False, True):
        with pytest.raises(TransformChanged, match="registered as v1 with other source"):
            store.apply(bump=bump)
    assert [finding.code for finding in store.plan().findings] == ["transform_changed"]


def test_both_changed_makes_a_version_and_the_plan_names_features_and_services(tmp_path: Path) -> None:
    store, file = tw.FeatureStore.init(tmp_path / "p", now=NOW), tmp_path / "p" / "features" / "geo.py"
    text = dedent("""\
        import timewell as tw

        @tw.transform(version="v1", returns="int64")
        def country_to_id(country: str) -> int:
            return {"US": 1}.get(country, 0)

        country_id = tw.Feature(name="country_id", owner="a@b", transform=country_to_id)
        risk = tw.FeatureService(name="risk_model", features=["country_id"])
        """)
    file.write_text(text)
    store.apply()
    file.write_text(text.replace("v1", "v2").replace('{"US": 1}', '{"US": 1, "CA": 2}'))
    with pytest.raises(VersionConflict, match=r"changed: features\.country_id\.transform"):
        store.apply()
    plan = store.plan(bump=True)
    assert [(change.name, change.action, change.becomes) for change in plan.changes][:1] == [
        ("country_id", "version_bump", "v2")
    ]
    assert plan.commands == ("timewell apply --bump", "timewell promote country_id")
    assert not plan.work
    assert {(each.kind, each.name) for each in plan.affected} >= {
        ("feature", "country_id"),
        ("service", "risk_model@v1"),
    }


def test_code_that_is_not_what_was_registered_computes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, file = tw.FeatureStore.init(tmp_path / "p", now=NOW), tmp_path / "p" / "features" / "geo.py"
    text = dedent("""\
        import timewell as tw

        @tw.transform(version="v1", returns="int64")
        def twice(x: int) -> int:
            return x * 2
        """)
    file.write_text(text)
    store.register_feature({"name": "twice", "owner": "a@b", "transform": "geo.py:twice"})
    rows = pa.table({"event_ts": [at("2026-02-15")], "x": [4]})
    assert column(store, rows, "twice") == [8]
    monkeypatch.setattr(transform, "_made", {})  # as in another process, which has only the files
    file.write_text(text.replace("x * 2", "x * 3"))
    with pytest.raises(TransformMismatch, match="registered with transform twice@v1"):
        column(store, rows, "twice")
    file.write_text(text.replace('version="v1"', 'version="v2"'))
    monkeypatch.setattr(transform, "_made", {})
    with pytest.raises(TransformUnavailable, match="no transform of this name and version"):
        column(store, rows, "twice")
    file.write_text(text.replace("def twice", "def two_times").replace('"v1"', '"v1", name="twice"'))
    assert column(store, rows, "twice") == [8]  # an earlier version is kept under another function name


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"ttl": "1d"}, "it takes no ttl"),
        ({"empty": 0}, "it takes no empty"),
        ({"tests": [{"type": "unique"}]}, "it takes no tests"),
        ({"inputs": {"contry": "country"}}, "has no input 'contry'. Did you mean 'country'"),
        ({"source": "users"}, "it takes no source"),
        ({"inputs": {"country": "days_since_signup"}}, "is computed on demand, too"),
    ],
)
def test_a_definition_that_cannot_be_is_refused(fs: tw.FeatureStore, fields: dict[str, object], problem: str) -> None:
    with pytest.raises(DefinitionError, match=problem):
        fs.register_feature({"name": "country_id", "owner": "a@b", "transform": country_to_id, **fields})


def test_an_input_of_another_type_is_refused_when_it_is_registered(fs: tw.FeatureStore) -> None:
    given = {"name": "country_id", "owner": "a@b", "transform": country_to_id, "inputs": {"country": "signup_date"}}
    with pytest.raises(WrongColumnType, match="found date, needs string, the type of the transform"):
        fs.register_feature(given)


def test_names_are_unique_in_the_project(fs: tw.FeatureStore) -> None:
    fs.register_feature({"name": "country_id", "owner": "a@b", "transform": country_to_id})
    with pytest.raises(DuplicateFeature):
        fs.register_group(
            tw.FeatureGroup(name="g", owner="a@b", features=[tw.Feature(name="country_id", transform=country_to_id)])
        )


def test_a_failing_row_is_shown(fs: tw.FeatureStore) -> None:
    @tw.transform(version="v1")
    def inverse(x: int) -> float:
        return 1 / x

    fs.register_feature({"name": "inverse", "owner": "a@b", "transform": inverse})
    with pytest.raises(TransformFailed, match=r"raised ZeroDivisionError: division by zero, given x=0"):
        fs.get_historical_features(spine(x=[1, 2, 0, 3]), features=["inverse"])


def test_nothing_of_it_is_stored(fs: tw.FeatureStore) -> None:
    with pytest.raises(NothingStored, match="'days_since_signup' is computed on demand"):
        fs.materialize_online(feature="days_since_signup")
    assert [row.aggregation for row in fs.list_features() if row.name == "days_since_signup"] == [
        "days_since_signup@v1(signup_date, now)"
    ]


GEO = dedent("""\
    import timewell as tw

    @tw.transform(version="v1", returns="int64")
    def country_to_id(country: str) -> int:
        return {"US": 1}.get(country, 0)

    country_id = tw.Feature(name="country_id", owner="a@b", transform=country_to_id)
    """)
GEO_2 = dedent("""\
    import timewell as tw

    @tw.transform(name="country_to_id", version="v1", returns="int64")
    def country_to_id_v1(country: str) -> int:
        return {"US": 1}.get(country, 0)

    @tw.transform(version="v2", returns="int64")
    def country_to_id(country: str) -> int:
        return {"US": 1, "CA": 2}.get(country, 0)

    country_id = tw.Feature(name="country_id", version="v2", owner="a@b", transform=country_to_id)
    """)


def test_a_version_that_stores_nothing_is_promoted_and_taken_back_at_once(tmp_path: Path) -> None:
    store, file = tw.FeatureStore.init(tmp_path / "p", now=NOW), tmp_path / "p" / "features" / "geo.py"
    rows = pa.table({"event_ts": [at("2026-02-15")], "country": ["CA"]})
    file.write_text(GEO)
    store.apply()
    file.write_text(GEO_2)
    store.apply()
    assert column(store, rows, "country_id") == [0]
    assert column(store, rows, "country_id@v2") == [2]
    (done,) = store.promote_shadow("country_id")
    assert (done.from_version, done.to_version) == ("v1", "v2")
    assert column(store, rows, "country_id") == [2]
    with pytest.raises(NoShadow, match="country_id"):
        store.promote_shadow("country_id")
    store.rollback("country_id")
    assert column(store, rows, "country_id") == [0]
    assert [line.kind for line in store.history("country_id")] == ["rollback", "promote"]


def test_the_update_epoch_is_the_oldest_of_the_inputs(fs: tw.FeatureStore) -> None:
    fs.register_feature({"name": "country_id", "owner": "growth@company", "transform": country_to_id})
    assert fs.get_last_update_epoch("days_since_signup") is None
    fs.materialize_offline(feature="signup_date", start="2026-02-26", end="2026-02-27")
    assert fs.get_last_update_epoch("days_since_signup") == fs.get_last_update_epoch("signup_date")
    assert fs.get_last_update_epoch("country_id") == int(at("2026-03-01").timestamp())


def test_a_version_that_an_input_is_pinned_to_is_still_used(fs: tw.FeatureStore) -> None:
    fs.register_feature({"name": "share_of_limit", "owner": "a@b", "transform": share_of_limit})
    fs.register_feature(
        {
            "name": "balance",
            "version": "v2",
            "owner": "growth@company",
            "entity": "user_id",
            "source": "accounts",
            "aggregation": {"type": "latest", "column": "amount"},
        }
    )
    fs.backfill("balance", start="2026-02-26", end="2026-02-27")
    fs.validate_shadow_vs_prod("balance")
    fs.promote_shadow("balance", force="a test")
    with pytest.raises(StillUsed, match="computed on demand from it: share_of_limit"):
        fs.retire("balance@v1", yes=True)


def test_the_audit_of_leakage_says_what_an_on_demand_column_is_made_of(fs: tw.FeatureStore) -> None:
    made = fs.get_historical_features(spine(), features=["signup_date", "days_since_signup"])
    report = fs.audit_leakage(made)
    assert report.unproven == {"days_since_signup": "it is computed on demand, from profile:signup_date@v1, now"}
    assert not report.violations


def test_an_explanation_says_how_each_column_would_be_computed(fs: tw.FeatureStore) -> None:
    fs.register_feature({"name": "country_id", "owner": "a@b", "transform": country_to_id})
    fs.register_feature({"name": "share_of_limit", "owner": "a@b", "transform": share_of_limit})
    rows = spine(country=["US"] * 4, amount=[1.0] * 4)
    told = fs.get_historical_features(
        rows, features=["country_id", "days_since_signup", "share_of_limit"], explain=True
    )
    assert [(each.feature, each.method) for each in told.on_demand] == [
        ("country_id", "join with a table of 4 rows"),
        ("days_since_signup", "function, called in batches"),
        ("share_of_limit", "function, called in batches"),  # `not balance` of a number is no comparison
    ]
    assert "days_since_signup@v1 of signup_date = profile:signup_date@v1, now = now" in str(told)
    assert told.to_dict()["on_demand"][0]["inputs"] == {"country": "request.country"}


TWICE = dedent("""\
    import timewell as tw

    @tw.transform(version="v1")
    def twice(x: int) -> int:
        return x * 2
    """)


def test_yaml_names_a_function_of_the_folder_or_of_a_package_beside_the_project_file(tmp_path: Path) -> None:
    store = tw.FeatureStore.init(tmp_path / "p", now=NOW)
    (tmp_path / "p" / "shop_of_test").mkdir()
    (tmp_path / "p" / "shop_of_test" / "numbers.py").write_text(TWICE.replace("twice", "twofold"))
    (tmp_path / "p" / "features" / "numbers.py").write_text(TWICE)
    (tmp_path / "p" / "features" / "all.yaml").write_text(
        dedent("""\
        features:
          - {name: twice, owner: a@b, transform: "numbers.py:twice"}
          - name: twofold
            owner: a@b
            transform: {function: "shop_of_test.numbers:twofold", version: v1}
            inputs: {x: request.y}
        """)
    )
    store.apply()
    rows = pa.table({"event_ts": [at("2026-02-15")], "x": [4], "y": [5]})
    made = store.get_historical_features(rows, features=["twice", "twofold"]).to_arrow()
    assert made.select(["twice", "twofold"]).to_pylist() == [{"twice": 8, "twofold": 10}]
    assert store.apply().outcomes[0].action == "unchanged"


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        ("../outside.py:twice", "there is no such file"),
        ("nowhere_to_be_found:twice", "ModuleNotFoundError"),
        ("os.path:join", "is no shared transform"),
        ("numbers.py:thrice", "it has no 'thrice'"),
        ("__main__:nothing_of_it", "no other program can import"),
        ("twice", "should match pattern"),
    ],
)
def test_a_function_that_cannot_be_found_is_told(fs: tw.FeatureStore, function: str, problem: str) -> None:
    (fs.project.root / "outside.py").write_text(TWICE)
    (fs.project.root / "features" / "numbers.py").write_text(TWICE)
    with pytest.raises(TimewellError, match=problem):
        fs.register_feature({"name": "twice", "owner": "a@b", "transform": function})


def test_what_yaml_says_of_a_function_must_be_so(fs: tw.FeatureStore) -> None:
    (fs.project.root / "features" / "numbers.py").write_text(TWICE)
    given = {"name": "twice", "owner": "a@b"}
    with pytest.raises(DefinitionError, match=r"the definition says version .v2. of numbers\.py:twice"):
        fs.register_feature({**given, "transform": {"function": "numbers.py:twice", "version": "v2"}})
    with pytest.raises(TransformChanged):
        fs.register_feature({**given, "transform": {"function": "numbers.py:twice", "hash": "0" * 32}})


def test_a_long_spine_is_computed_in_pieces(fs: tw.FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    fs.register_feature({"name": "country_id", "owner": "a@b", "transform": country_to_id})
    rows, asked = spine(country=["US", None, "CA", "FR"]), ["country_id", "days_since_signup"]
    whole = fs.get_historical_features(rows, features=asked).to_arrow()
    monkeypatch.setattr(on_demand, "PIECE_ROWS", 3)
    assert fs.get_historical_features(rows, features=asked).to_arrow() == whole
    assert fs.get_historical_features(rows.slice(0, 0), features=asked).to_arrow().num_rows == 0


def test_an_entity_may_be_named_for_people(fs: tw.FeatureStore) -> None:
    given = {"name": "country_id", "owner": "a@b", "transform": country_to_id}
    fs.register_feature(given)
    assert fs.register_feature({**given, "entity": "user_id"}).outcomes[0].action == "metadata"
    assert column(fs, spine(country=["US", "CA", "DE", ""]), "country_id") == [1, 2, 4, 0]


def test_a_plan_names_the_features_whose_inputs_a_change_is_about(fs: tw.FeatureStore) -> None:
    fs.register_feature({"name": "share_of_limit", "owner": "a@b", "transform": share_of_limit})
    (fs.project.root / "features" / "balance.yaml").write_text(
        dedent("""\
        features:
          - {name: balance, version: v2, owner: a@b, entity: user_id, source: accounts, aggregation: {type: latest, column: amount}}
        """)
    )
    affected = {(each.kind, each.name): each.effect for each in fs.plan().affected}
    assert "pinned to balance@v1, which it keeps" in affected["feature", "share_of_limit"]
