"""The site: every page can be reached, every link leads somewhere, and nothing is loaded from outside."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
LOADING = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "audio": "src"}
LOADING_LINKS = {"stylesheet", "preload", "modulepreload", "preconnect", "dns-prefetch", "icon"}


def pages_of(entry: object) -> list[str]:
    """List the pages named in a part of the navigation."""
    if isinstance(entry, str):
        return [entry]
    parts = entry.values() if isinstance(entry, dict) else entry
    return [page for part in parts for page in pages_of(part)]


def test_every_page_is_reached_once_by_the_navigation() -> None:
    configuration = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    listed = [page for page in pages_of(configuration["nav"]) if not page.startswith("http")]
    existing = [path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")]
    assert sorted(listed) == sorted(existing)


class Loads(HTMLParser):
    """Collect the addresses that a browser would fetch by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        loads = tag in LOADING or (tag == "link" and LOADING_LINKS & set((given.get("rel") or "").split()))
        if loads:
            self.addresses.append(given.get(LOADING.get(tag, "href")) or "")


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """Build the site as ``./run docs`` does."""
    target = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(target)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return target


def test_no_page_loads_anything_from_outside(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert pages
    for page in pages:
        reader = Loads()
        reader.feed(page.read_text(encoding="utf-8"))
        outside = [address for address in reader.addresses if re.match(r"(?:[a-z]+:)?//", address)]
        assert outside == [], page.relative_to(site)


def test_every_page_is_built(site: Path) -> None:
    for page in (ROOT / "docs").rglob("*.md"):
        inside = page.relative_to(ROOT / "docs").with_suffix("")
        folder = inside.parent if inside.name == "index" else inside
        assert (site / folder / "index.html").is_file(), inside
