"""Every verb keeps the common promises; a new verb that does not, fails here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing

import pytest

from timewell.cli import main
from timewell.cli.app import make_command
from timewell.practice.card import Card, Check
from timewell.practice.walkthrough import Walkthrough
from timewell.store import FeatureStore
from timewell.watch.alerting import evaluate
from timewell.watch.signal import Signal, Subject


def leaves(command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], object]]:
    """Walk to every verb below a command."""
    below = getattr(command, "commands", None)
    if below is None:
        yield path, command
        return
    for name, inner in below.items():
        yield from leaves(inner, (*path, name))


VERBS = dict(leaves(make_command()))

# how each verb is typed in the project of conftest.py
TYPED = {
    "init": ("init", "another"),
    "schema": ("schema",),
    "plan": ("plan",),
    "apply": ("apply",),
    "register": ("register", "features", "--dry-run"),
    "list": ("list",),
    "show": ("show", "order_amount_7d"),
    "search": ("search", "order", "amount"),
    "test": ("test",),
    "contract show": ("contract", "show"),
    "contract export": ("contract", "export", "--to", "kept"),
    "contract check": ("contract", "check", "kept"),
    "contract test": ("contract", "test", "routes"),
    "deprecate": ("deprecate", "order_amount_7d@v1", "--reason", "for a test"),
    "retire": ("retire", "routes@v1", "--undo"),
    "materialize offline": ("materialize", "offline", "routes", "--start", "2025-12-30", "--end", "2025-12-31"),
    "materialize online": ("materialize", "online", "routes", "--since", "2025-12-30"),
    "backfill": ("backfill", "order_amount_7d", "--days", "2", "--dry-run"),
    "validate": ("validate", "order_amount_7d", "--checks", "count,p50"),
    "promote": ("promote", "order_amount_7d", "--force", "a test"),
    "rollback": ("rollback", "order_amount_7d"),
    "history": ("history",),
    "abandon": ("abandon", "order_amount_7d", "--yes"),
    "export": ("export", "parquet", "order_amount_7d", "--to", "exported"),
    "gc": ("gc", "--wait", "1m"),
    "sweep": ("sweep", "--dry-run"),
    "train": ("train", "spine.parquet", "--features", "order_amount_7d", "--out", "train.parquet", "--manifest"),
    "audit": ("audit", "features"),
    "get": ("get", "order_amount_7d", "--entity", "user_id=7"),
    "serve": ("serve",),
    "latency": ("latency", "--since", "10m"),
    "freshness": ("freshness", "order_amount_7d"),
    "replay": ("replay", "--since", "1h"),
    "why": ("why", "order_amount_7d", "user_id=7"),
    "refresher": ("refresher", "--once"),
    "schedule": ("schedule", "--for", "cron"),
    "token create": ("token", "create", "--scope", "features.read,catalog.read", "--expires", "90d"),
    "token list": ("token", "list"),
    "token revoke": ("token", "revoke", "TOKEN"),
    "tiers": ("tiers",),
    "watch": ("watch",),
    "nightly": ("nightly", "--top", "3"),
    "skew": ("skew",),
    "alerts list": ("alerts", "list"),
    "alerts ack": ("alerts", "ack", "routes@v1:freshness"),
    "alerts silence": ("alerts", "silence", "routes@v1", "--for", "2h", "--reason", "a test", "--by", "ana"),
    "alerts unsilence": ("alerts", "unsilence", "routes@v1"),
    "notify test": ("notify", "test"),
    "runbook": ("runbook", "order_amount_7d@v1:freshness"),
    "monitoring": ("monitoring", "--out", "ops"),
    "doctor": ("doctor",),
    "forget": ("forget", "user_id", "user_id=7", "--yes"),
    "backup": ("backup", "shop.tar"),
    "restore": ("restore", "shop.tar", "--yes"),
    "upgrade": ("upgrade",),
    "reset": ("reset", "--yes"),
    "audit-log": ("audit-log",),
    "walkthrough": ("walkthrough",),
    "drill": ("drill", "all"),
    "version": ("version",),
}


def break_a_promise(group: str) -> None:
    """Let an alert be open in the project of the current directory."""
    with closing(FeatureStore()) as fs:
        subject = Subject(project=fs.project.config.project, group=group, version="v1")
        late = Signal(rule="freshness", subject=subject, value=1.2, state="breached", at_us=0)
        evaluate(fs.project, [late])


def test_every_verb_is_typed_here() -> None:
    assert {" ".join(path) for path in VERBS} == set(TYPED)


@pytest.mark.parametrize("name", sorted(TYPED))
@pytest.mark.parametrize("after", [True, False], ids=["json-after", "json-before"])
def test_every_verb_prints_one_json_document_and_nothing_else(name, after, shop, cli, monkeypatch) -> None:
    def serve(store, *, announce, **_) -> None:
        announce("http://127.0.0.1:1")

    passed = Card(title="1. a step", checks=(Check(what="it holds", passed=True),), took_s=0.1)
    monkeypatch.setattr("timewell.server.serve", serve)
    monkeypatch.setattr("timewell.practice.walkthrough.walkthrough", lambda *_, **__: Walkthrough(steps=(passed,)))
    monkeypatch.setattr("timewell.practice.drill.run_drills", lambda *_, **__: [passed])
    if name == "export":
        assert main(["materialize", "offline", "order_amount_7d", "--start", "2025-12-30", "--end", "2025-12-31"]) == 0
    if name in {"validate", "promote", "rollback", "abandon"}:
        assert main(["backfill", "order_amount_7d", "--days", "2"]) == 0
    if name == "rollback":
        assert main(["promote", "order_amount_7d", "--force", "a test"]) == 0
    if name == "restore":
        assert main(["backup", "shop.tar"]) == 0
    if name == "alerts ack":
        break_a_promise("routes")
    typed = list(TYPED[name])
    if name == "contract check":
        cli("contract", "export", "--to", "kept")
    if name == "token revoke":
        typed[-1] = cli("token", "create", "--scope", "features.read", "--json").document["id"]
    ran = cli(*typed, "--json") if after else cli("--json", *typed)
    assert ran.code == 0, ran.out
    assert ran.document
    assert ran.err == ""


@pytest.mark.parametrize("path", sorted(VERBS), ids=" ".join)
def test_every_verb_says_what_it_does_in_a_sentence_with_an_example(path) -> None:
    sentence, _, example = (VERBS[path].help or "").partition("\n\n")
    assert sentence.endswith(".")
    assert example.startswith("Example: timewell ")
    if path != ("register",):
        assert example.startswith(f"Example: timewell {' '.join(path)}")


@pytest.mark.parametrize("path", sorted(VERBS), ids=" ".join)
def test_every_parameter_is_explained_in_a_sentence(path) -> None:
    parameters = VERBS[path].params
    assert {"--json", "--project", "--profile", "--now", "--log-format"} <= {o for p in parameters for o in p.opts}
    assert [part.name for part in parameters if not (part.help or "").endswith(".")] == []


def test_the_verbs_stand_in_panels_in_the_order_of_first_use(cli, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    said = cli("--help").out
    commands = said[said.index("Commands: define") :]
    words = (" init ", " apply ", "Commands: build", " materialize ", " train ", "Commands: serve", " get ")
    places = [commands.index(word) for word in (*words, "Commands: care", " doctor ", "│ version ")]
    assert places == sorted(places)


def test_without_a_verb_the_help_is_printed_and_the_exit_code_is_that_of_a_mistake(cli) -> None:
    ran = cli()
    assert ran.code == 2
    assert "Commands: define" in ran.out


def test_the_version_can_be_asked_for_as_an_option(cli) -> None:
    ran = cli("--version")
    assert (ran.code, ran.out.split()[0]) == (0, "timewell")


def test_a_later_option_wins_over_an_earlier_one(shop, cli, tmp_path) -> None:
    assert cli("--project", tmp_path / "nowhere", "list", "--project", shop).code == 0
    assert cli("--project", shop, "materialize", "--json", "online").document["groups"]


def test_the_schema_accepts_the_definitions_of_the_project(cli) -> None:
    document = cli("schema").document
    assert json.loads(cli("schema", "--json").out) == document
    assert set(document["properties"]) >= {"sources", "groups", "features", "services", "entities"}
