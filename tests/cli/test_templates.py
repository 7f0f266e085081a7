"""Starting a project from a template."""

from __future__ import annotations

import pytest


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package folder with one template of our own."""
    folder = tmp_path / "package" / "templates" / "tiny"
    (folder / "features" / "__pycache__").mkdir(parents=True)
    (folder / "features" / "__pycache__" / "x.pyc").write_bytes(b"")
    (folder / "features" / "tiny.yaml").write_text("features: []\n")
    monkeypatch.setattr("timewell.templates.files", lambda name: tmp_path / "package" / "templates")
    monkeypatch.chdir(tmp_path)
    return folder


def test_a_template_is_copied_and_its_data_prepared_in_the_new_project(package, cli, tmp_path) -> None:
    (package / "prepare.py").write_text(
        "import os, pathlib\npathlib.Path('made.txt').write_text(os.environ['TIMEWELL_NOW'])\nprint('made 1 row')\n"
    )
    ran = cli("init", "shop", "--template", "tiny", "--now", "2026-03-01T00:00:00Z")
    assert ran.code == 0, ran.err
    assert "made 1 row" in ran.out
    assert (tmp_path / "shop" / "made.txt").read_text() == "2026-03-01T00:00:00Z"
    assert (tmp_path / "shop" / "features" / "tiny.yaml").is_file()
    assert not (tmp_path / "shop" / "features" / "__pycache__").exists()
    assert (tmp_path / "shop" / "timewell.toml").is_file()
    again = cli("init", "other", "--template", "tiny", "--json", "--now", "2026-03-01T00:00:00Z")
    assert again.document["files"] == ["features/tiny.yaml", "prepare.py"]


def test_a_failing_preparation_shows_what_it_said_and_how_to_run_it_again(package, cli) -> None:
    (package / "prepare.py").write_text("raise SystemExit('no room \\x1b[2J')\n")
    ran = cli("init", "shop", "--template", "tiny")
    assert ran.code == 3
    assert "no room" in ran.err
    assert "\x1b" not in ran.err
    assert "prepare.py" in ran.err.splitlines()[-1]


def test_a_file_that_is_there_is_never_overwritten(package, cli, tmp_path) -> None:
    (tmp_path / "shop" / "features").mkdir(parents=True)
    (tmp_path / "shop" / "features" / "tiny.yaml").write_text("mine")
    ran = cli("init", "shop", "--template", "tiny")
    assert ran.code == 2
    assert (tmp_path / "shop" / "features" / "tiny.yaml").read_text() == "mine"
    assert not (tmp_path / "shop" / "timewell.toml").exists()


def test_an_unknown_template_lists_those_there_are_and_makes_nothing(package, cli, tmp_path) -> None:
    ran = cli("init", "shop", "--template", "tinny")
    assert (ran.code, "Did you mean 'tiny'?" in ran.err) == (2, True)
    assert "Templates: tiny." in ran.err
    assert not (tmp_path / "shop").exists()
