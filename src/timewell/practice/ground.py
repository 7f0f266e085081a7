"""The practice ground: a project in a temporary directory whose clock stands until it is moved.

Rule: nothing that is practiced leaves it. It has its own state and no notifier but a file of its own, whatever the project says
that it was copied from.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Final, Self

import yaml

from timewell import durable
from timewell.clock import FrozenClock
from timewell.config import FILE, TEMPLATE
from timewell.practice.prepare import prepare
from timewell.store import FeatureStore
from timewell.stores.project import Project
from timewell.templates import copy_template
from timewell.types import format_instant, parse_duration
from timewell.watch.alerting import Evaluation
from timewell.watch.round import watch

NOW: Final = "2026-03-01T00:00:00Z"
TOLD: Final = "told.jsonl"
PROFILE: Final = "practice"  # of its own: one that the environment names is another project's
USERS: Final = 150

Change = Callable[[dict[str, Any]], None]
"""Changes what a file of definitions says, as YAML has it."""


class Ground:
    """A project to practice on; a context manager, after which nothing is left of it.

    Parameters
    ----------
    now
        Where its clock stands.

    Attributes
    ----------
    fs
        Its feature store.
    clock
        Moves by :meth:`wait` alone.
    """

    def __init__(self, now: object = NOW) -> None:
        self.clock = FrozenClock(now)
        self._folder = TemporaryDirectory(prefix="timewell-practice-")
        self.root = Path(self._folder.name) / "practice"
        self.root.mkdir()
        settings = f'[alerts]\noperator = "ml-ops@company.example"\n\n[[notify]]\ntype = "file"\npath = "{TOLD}"\n\n[profile.{PROFILE}]\n'
        durable.write_bytes(self.root / FILE, f"{TEMPLATE.format(name='practice')}\n{settings}".encode())
        self.fs = FeatureStore(self.root, profile=PROFILE, now=self.clock)

    @classmethod
    def of_template(cls, name: str = "risk") -> Self:
        """Make one from a template, with data that end where its clock stands."""
        ground = cls()
        copy_template(name, ground.root)
        prepare(ground.root, now=NOW, arguments=[str(USERS)])
        return ground

    @classmethod
    def copied(cls, project: Project, folders: tuple[str, ...] = ("data",)) -> Self:
        """Make one from a project's definitions and some folders of files; its clock stands where the project's is now."""
        ground = cls(format_instant(project.clock.now_us()))
        copies = {project.config.definitions: ground.fs.project.config.definitions, **dict.fromkeys(folders, "")}
        for folder, to in copies.items():
            if (project.root / folder).is_dir():
                shutil.copytree(project.root / folder, ground.root / (to or folder), dirs_exist_ok=True)
        return ground

    def configure(self, text: str) -> None:
        """Add to its ``timewell.toml``; what is open goes on with the settings before."""
        file = self.root / FILE
        durable.write_bytes(file, file.read_bytes() + text.encode())

    def reopen(self) -> None:
        """Open its feature store anew, as a server does that is started again: with the settings as they are now."""
        self.fs.close()
        self.fs = FeatureStore(self.root, profile=PROFILE, now=self.clock)

    def wait(self, duration: str | int) -> None:
        """Let time pass: a duration, or microseconds."""
        self.clock.move(duration if isinstance(duration, int) else parse_duration(duration))

    def watch(self, without: Collection[str] = ()) -> Evaluation:
        """Measure everything and evaluate the alerts, once; ``without`` names rules that are switched off."""
        return watch(self.fs.project, without=without)

    def copy(self) -> Self:
        """Make another that is where this one is: files, state and clock."""
        other = type(self)(format_instant(self.clock.now_us()))
        self.fs.close()
        other.fs.close()
        shutil.rmtree(other.root)
        shutil.copytree(self.root, other.root, symlinks=True)  # a build points at its generation by one
        return other

    def told(self) -> list[Mapping[str, Any]]:
        """Return the messages that were sent, oldest first."""
        file = self.root / TOLD
        return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.is_file() else []

    def define(self, change: Change) -> None:
        """Rewrite the definitions: a function changes what the YAML files of the project say."""
        for file in sorted((self.root / self.fs.project.config.definitions).glob("*.y*ml")):
            said = yaml.safe_load(file.read_text(encoding="utf-8"))
            change(said)
            durable.write_bytes(file, yaml.safe_dump(said, sort_keys=False).encode())

    def close(self) -> None:
        """Delete it."""
        self.fs.close()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
