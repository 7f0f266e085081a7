"""Tokens: shown once, kept as a digest, narrow, ended by time or by hand, audited."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime, timedelta

import pytest

import timewell as tw
from timewell.errors import InvalidDuration, UnknownGroup, UnknownToken, UsageError
from timewell.run.tokens import FOLDER, TokenBook, TokenOrder, create_token, list_tokens, revoke_token

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def project(tmp_path):
    store = tw.FeatureStore.init(tmp_path / "shop", now=NOW)
    yield store.project
    store.close()


def make(project, **given):
    return create_token(project, TokenOrder(scopes=("features.read",), **given))


def find(project, text: str):
    """Look a token up as a server that has just started would."""
    return TokenBook(project).find(text)


def test_a_token_has_256_random_bits_and_only_their_digest_is_kept(project) -> None:
    texts = [make(project)[0] for _ in range(20)]
    assert len(set(texts)) == 20
    for text in texts:
        assert re.fullmatch(r"tw_[0-9a-f]{16}_[A-Za-z0-9_-]{43}", text)  # 43 signs of 6 bits hold 256
    kept = "".join(path.read_text() for path in (project.state / FOLDER).iterdir())
    for text in texts:
        secret = text.split("_", 2)[2]
        assert secret not in kept
        assert hashlib.sha256(secret.encode()).hexdigest() in kept
    for path in (project.state / FOLDER).iterdir():
        assert path.stat().st_mode & 0o077 == 0


def test_a_token_is_found_with_what_it_permits(project) -> None:
    text, record = create_token(project, TokenOrder(scopes=("catalog.read", "features.read", "catalog.read"), note="x"))
    assert find(project, text) == record
    assert (record.scopes, record.groups, record.note) == (("features.read", "catalog.read"), None, "x")


def test_nothing_but_the_token_itself_is_let_in(project) -> None:
    text, _ = make(project)
    other, _ = make(project)
    swapped = text[:20] + other[20:]
    for wrong in ("", "tw_", text[:-1], text + "A", text.upper(), swapped, f" {text}", text.replace("tw_", "TW_")):
        assert find(project, wrong) is None


def test_a_token_ends_at_exactly_its_expiry(project) -> None:
    text, _ = make(project, expires="90d")
    project.clock.set(NOW + timedelta(days=90) - timedelta(microseconds=1))
    assert find(project, text)
    project.clock.set(NOW + timedelta(days=90))
    assert find(project, text) is None


def test_a_revoked_token_is_refused_and_stays_in_the_list(project) -> None:
    text, record = make(project)
    assert revoke_token(project, record.id).state(project.clock.now_us()) == "revoked"
    assert find(project, text) is None
    first = list_tokens(project)
    project.clock.set(NOW + timedelta(days=1))
    revoke_token(project, record.id)
    assert list_tokens(project) == first


def test_a_running_server_sees_a_revocation_within_a_second(project, monkeypatch) -> None:
    now_s = 0.0
    monkeypatch.setattr("timewell.run.tokens.time.monotonic", lambda: now_s)
    text, record = make(project)
    book = TokenBook(project)
    assert book.find(text)
    revoke_token(project, record.id)
    now_s = 1.0
    assert book.find(text) is None


def test_a_running_server_knows_a_new_token_at_once(project, monkeypatch) -> None:
    monkeypatch.setattr("timewell.run.tokens.time.monotonic", lambda: 0.0)
    book = TokenBook(project)
    assert book.find(f"tw_{'0' * 16}_{'A' * 43}") is None
    for _ in range(3):
        text, record = make(project)
        assert book.find(text) == record


def test_making_and_revoking_are_audited_without_the_secret(project) -> None:
    text, record = make(project, note="risk service")
    revoke_token(project, record.id)
    rows = project.registry.audit(subject=record.id)
    assert [row.action for row in rows] == ["revoke token", "create token"]
    assert rows[0].detail["note"] == "risk service"
    assert text.split("_", 2)[2] not in str(rows)
    assert record.digest not in str(rows)


@pytest.mark.parametrize("scopes", [(), ("features.write",), ("features.read", "open")])
def test_a_token_that_permits_nothing_or_what_there_is_not_is_not_made(project, scopes) -> None:
    with pytest.raises(UsageError):
        create_token(project, TokenOrder(scopes=scopes))
    with pytest.raises(UnknownGroup):
        make(project, groups=("transactons",))
    with pytest.raises(InvalidDuration):
        make(project, expires="3 months")
    with pytest.raises(UnknownToken):
        revoke_token(project, "0" * 16)
    assert list_tokens(project) == []
    assert project.registry.audit() == []


@pytest.mark.parametrize("content", [b"", b"{}", b'{"id": 7}', b"\xff"])
def test_a_damaged_file_lets_nobody_in_and_spoils_no_other(project, content, caplog) -> None:
    text, record = make(project)
    other, _ = make(project)
    (project.state / FOLDER / f"{record.id}.json").write_bytes(content)
    assert find(project, text) is None
    assert find(project, other)
    assert record.id in caplog.text


def test_a_file_under_another_tokens_name_is_refused(project) -> None:
    text, record = make(project)
    folder = project.state / FOLDER
    (folder / f"{record.id}.json").rename(folder / f"{'0' * 16}.json")
    assert find(project, text) is None


def test_a_restored_backup_brings_no_revoked_token_back(project, tmp_path) -> None:
    store = tw.FeatureStore(project.root, now=NOW)
    text, record = make(store.project)
    store.backup(tmp_path / "shop.tar")
    revoke_token(store.project, record.id)
    kept, _ = make(store.project)
    store.restore(tmp_path / "shop.tar", yes=True)
    assert find(store.project, text) is None
    assert find(store.project, kept)
    store.close()
