"""The page on configuration names every key with its default and every environment variable, and nothing else."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from timewell.config import Config, read_config

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "reference" / "configuration.md").read_text(encoding="utf-8")
TABLES = {
    None: Config,
    **{
        field.name: field.type
        for field in msgspec.structs.fields(Config)
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct)
    },
}


def documented(table: str | None) -> dict[str, str]:
    """Return key and default of one table's section."""
    head = f"### `[{table}]`" if table else "## Keys"
    body = PAGE.split(head)[1].split("\n#")[0]
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \|", body, re.MULTILINE)
    return {key: default.strip("` ") for key, default in rows}


def written(default: object) -> str:
    if default is None:
        return "none"
    return json.dumps(list(default) if isinstance(default, tuple) else default)


@pytest.mark.parametrize("table", TABLES, ids=str)
def test_every_key_is_there_with_its_default(table: str | None) -> None:
    fields = [field for field in msgspec.structs.fields(TABLES[table]) if field.name not in TABLES]
    assert documented(table) == {field.name: written(field.default) for field in fields}


def test_every_environment_variable_is_there() -> None:
    read = set()
    for path in (ROOT / "src").rglob("*.py"):
        read |= set(re.findall(r'"(TIMEWELL_(?!TEST_)[A-Z_]+)"', path.read_text(encoding="utf-8")))
    told = set(re.findall(r"^\| `(TIMEWELL_[A-Z_]+)` \|", PAGE, re.MULTILINE))
    assert told == read


def test_the_example_is_a_configuration_with_its_profile(tmp_path: Path, monkeypatch) -> None:
    [example] = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    secret = tmp_path / "host-name"
    secret.write_text("features.shop.example\n")
    (tmp_path / "timewell.toml").write_text(example.replace("/run/secrets/host-name", str(secret)))
    monkeypatch.setenv("SHOP_STATE", "elsewhere")

    base, prod = read_config(tmp_path), read_config(tmp_path, "prod")

    assert (base.state, base.engine.memory_limit, base.engine.threads) == (".timewell", "4GB", None)
    assert (prod.state, prod.engine.memory_limit, prod.engine.threads) == ("elsewhere", "48GB", 16)
    assert prod.server.allowed_hosts == ("features.shop.example", "localhost")
    assert tomllib.loads(example)["project"] == prod.project


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[serve]\nport = 1", "there is no key 'serve'"),
        ("[server]\nprt = 1", r"there is no key 'prt' in \[server\].*Did you mean 'port'\?"),
        ("[server]\nport = 70000", "server.port: expected `int` <= 65535"),
        ("warn_share = 80.0", "warn_share: expected `float` <= 1"),
        ('assume_timezone = "Oslo"', "no time zone called 'Oslo'"),
        ('state = "${env:NOT_SET_HERE}"', "NOT_SET_HERE is not set"),
    ],
)
def test_a_mistake_is_named_with_its_key(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "timewell.toml").write_text(text)
    with pytest.raises(Exception, match=told) as refused:
        read_config(tmp_path)
    assert refused.value.code == "config"
    assert refused.value.hint
