"""Copies of projects to test with: the definitions and files of one, an embedded store, a clock that stands still.

Rule: no remote part of a project is named in its copy, so that a test can reach none.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from timewell import durable
from timewell.clock import FrozenClock, SystemClock
from timewell.config import FILE, read_config
from timewell.store import FeatureStore
from timewell.types import format_instant


def copied(root: Path, to: Path, *, now: object = None) -> FeatureStore:
    """Copy a project without its state, apply its definitions, and return the store of the copy.

    Parameters
    ----------
    to
        A directory that is not there yet.
    now
        Where its clock stands, and stays until a test moves it; the present by default.
    """
    config = read_config(root, None)
    to.mkdir(parents=True)
    for entry in root.iterdir():
        if entry.name in {FILE, config.state} or entry.name.startswith(".") or entry.resolve() in to.resolve().parents:
            continue
        if entry.is_dir():
            shutil.copytree(entry, to / entry.name)
        else:
            shutil.copy2(entry, to / entry.name)
    (to / config.definitions).mkdir(parents=True, exist_ok=True)
    settings = f'project = "{config.project}"\ndefinitions = "{config.definitions}"\n'
    settings += f"require_owner = {str(config.require_owner).lower()}\n"
    settings += f'assume_timezone = "{config.assume_timezone}"\n' if config.assume_timezone else ""
    durable.write_bytes(to / FILE, settings.encode())
    store = FeatureStore(to, now=FrozenClock(now or format_instant(SystemClock().now_us())))
    store.apply()
    return store
