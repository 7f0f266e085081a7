"""``[[notify]]``: every mistake is named with its table and key before anything is sent."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from timewell.config import read_config
from timewell.config.notify import KINDS, Notifier
from timewell.errors import ConfigError

DOCS = Path(__file__).resolve().parents[2] / "docs"


def read(tmp_path, text: str):
    (tmp_path / "timewell.toml").write_text(text)
    return read_config(tmp_path)


def test_notifiers_are_read_in_order_with_their_secrets_by_reference(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HOOK", "https://hooks.example/T0/secret")
    config = read(
        tmp_path,
        '[[notify]]\ntype = "webhook"\nurl = "${env:HOOK}"\nformat = "slack"\nowners = ["risk@*"]\n'
        '[[notify]]\nname = "night"\ntype = "email"\nhost = "mail.example"\nsender = "t@x"\nto = ["ops@x"]\n'
        '[alerts]\noperator = "ops@x"\nrepeat = "2h"\n',
    )
    hook, mail = config.notify
    assert (hook.name, hook.url, hook.owners) == ("webhook", "https://hooks.example/T0/secret", ("risk@*",))
    assert (mail.name, mail.kind, mail.port, mail.security) == ("night", "email", 587, "starttls")
    assert (config.alerts.operator, config.alerts.repeat) == ("ops@x", "2h")


def test_a_profile_replaces_the_notifiers(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("TIMEWELL_PROFILE", "test")
    config = read(
        tmp_path,
        '[[notify]]\ntype = "webhook"\nurl = "https://hooks.example/"\n[[profile.test.notify]]\ntype = "log"\n',
    )
    assert [notifier.kind for notifier in config.notify] == ["log"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('notify = "x"', "notify: write each notifier as a table"),
        ("[[notify]]\nname = 'x'", r"notify\[0\]\.type: there is no type; types: log, file, webhook"),
        ("[[notify]]\ntype = 'webhok'", r"notify\[0\]\.type: there is no notifier of type 'webhok'"),
        ("[[notify]]\ntype = 'webhook'", r"notify\[0\]\.url: object missing required field"),
        ("[[notify]]\ntype = 'log'\n[[notify]]\ntype = 'file'\npth = 'x'", r"notify\[1\]: there is no key 'pth'"),
        ("[[notify]]\ntype = 'webhook'\nurl = 'hooks.example'", r"notify\[0\]\.url: it must begin with https"),
        ("[[notify]]\ntype = 'webhook'\nurl = 'https://u:hush@x.example/'", r"notify\[0\]\.url: .*no user name"),
        ("[[notify]]\ntype = 'webhook'\nurl = 'https://x/'\nallow = ['10.0.0.1/8']", r"notify\[0\]\.allow\[0\]:"),
        ("[[notify]]\ntype = 'webhook'\nurl = 'https://x/'\nformat = 'teams'", r"notify\[0\]\.format: invalid enum"),
        ("[[notify]]\ntype = 'log'\nseverities = ['loud']", r"notify\[0\]\.severities\[0\]: invalid enum value 'loud'"),
        ("[[notify]]\ntype = 'log'\ntimeout = 'soon'", r"notify\[0\]\.timeout: "),
        ("[[notify]]\ntype = 'command'\ncommand = []", r"notify\[0\]\.command: expected `array` of length >= 1"),
        ("[[notify]]\ntype = 'log'\n[[notify]]\ntype = 'log'", r"notify\[1\]\.name: there are two notifiers"),
        ("[alerts]\nrepeat = 'soon'", r"alerts\.repeat: "),
        ("[alerts]\nrepat = '4h'", r"no key 'repat' in \[alerts\].*Did you mean 'repeat'\?"),
    ],
)
def test_a_mistake_is_named_with_its_table_and_key(tmp_path, text, told) -> None:
    with pytest.raises(ConfigError, match=told) as refused:
        read(tmp_path, text)
    assert refused.value.hint
    assert "hush" not in f"{refused.value} {refused.value.hint}"


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_on_configuration_has_every_key_of_every_notifier(kind) -> None:
    page = (DOCS / "reference" / "configuration.md").read_text(encoding="utf-8")
    body = page.split("### `[[notify]]`")[1].split("\n## ")[0]
    common = {field.name for field in msgspec.structs.fields(Notifier)}
    own = {field.name for field in msgspec.structs.fields(KINDS[kind])} - common
    rows = re.findall(r"^\| `(\w+)` \| ([\w, ]+) \|", body, re.MULTILINE)
    assert {key for key, of in rows if kind in of.split(", ")} == own
    assert common | {"type"} <= {key for key, of in rows if of == "all"}
