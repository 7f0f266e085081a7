"""The opened parts of one project: settings, clock, and each back end when first needed."""

from __future__ import annotations

import getpass
import logging
import os
from functools import cached_property
from hashlib import blake2b
from pathlib import Path

from timewell import chance, durable
from timewell.clock import Clock, open_clock
from timewell.config import FILE, TEMPLATE, Config, find_root, read_config
from timewell.errors import ProjectExists, StateCorrupt
from timewell.stores.offline import EngineSettings, OfflineEngine
from timewell.stores.online import OnlineStore
from timewell.stores.open import open_backend
from timewell.stores.registry import Registry, RegistryBackend, RegistryState
from timewell.stores.tables import OfflineTables
from timewell.types import SECOND_US, parse_duration

log = logging.getLogger("timewell")
ACTOR_ENVIRONMENT = "TIMEWELL_ACTOR"


class Project:
    """What every verb works on.

    Parameters
    ----------
    root
        Directory that holds ``timewell.toml``.
    profile
        Name of a profile in it.
    now
        Freezes the clock at an instant.
    """

    def __init__(self, root: Path, *, profile: str | None = None, now: object = None) -> None:
        self.root = root.resolve()
        self.profile = profile
        self.config: Config = read_config(self.root, profile)
        self.clock: Clock = open_clock(now)

    @classmethod
    def create(cls, root: Path, *, now: object = None) -> Project:
        """Make a new project; raises ``ProjectExists`` rather than touch one that is there."""
        if (root / FILE).exists():
            raise ProjectExists(path=str(root))
        name = root.resolve().name
        (root / Config().definitions).mkdir(parents=True, exist_ok=True)
        durable.write_bytes(root / FILE, TEMPLATE.format(name=name).encode())
        project = cls(root, now=now)
        _ = project.registry
        return project

    @classmethod
    def find(cls, path: Path | None, *, profile: str | None = None, now: object = None) -> Project:
        """Open the project at a directory, or the nearest one at or above the current directory."""
        root = path if path is not None and (path / FILE).is_file() else find_root((path or Path.cwd()).resolve())
        return cls(root, profile=profile, now=now)

    @property
    def state(self) -> Path:
        """Directory of everything Timewell writes."""
        return self.root / self.config.state

    @property
    def actor(self) -> str:
        """Who acts, for the audit log: ``$TIMEWELL_ACTOR`` or the login name."""
        return os.environ.get(ACTOR_ENVIRONMENT) or _login_name()

    @cached_property
    def registry(self) -> Registry:
        """The registry, made on first use, its format checked."""
        self.registry_state.create_or_check()
        return self._registry

    @cached_property
    def _registry(self) -> RegistryBackend:
        self._refuse_half_restored()
        self.state.mkdir(parents=True, exist_ok=True)
        url = self.config.registry.url or f"sqlite:///{self.state / 'registry.db'}"
        opened: RegistryBackend = open_backend("sql", url=url)
        return opened

    def _refuse_half_restored(self) -> None:
        """Refuse to make an empty registry where a restore was just about to put another."""
        unfinished = sorted(self.state.parent.glob(f"{self.state.name}.restoring-*"))
        if unfinished and not self.state.exists():
            problem = f"a restore was cut short, its files lie in {unfinished[-1].name}"
            hint = f"Finish it: mv {unfinished[-1]} {self.state}"
            raise StateCorrupt(file=str(self.state), problem=problem, hint=hint)

    @property
    def registry_state(self) -> RegistryState:
        """The registry as a whole: to upgrade it or copy it, whatever its format."""
        return self._registry.state

    @cached_property
    def engine(self) -> OfflineEngine:
        """The offline engine."""
        opened: OfflineEngine = open_backend(self.config.engine.backend)
        return opened

    @property
    def engine_settings(self) -> EngineSettings:
        """How much of the machine the engine may use."""
        temporary = self.state / "tmp"
        temporary.mkdir(parents=True, exist_ok=True)
        engine = self.config.engine
        return EngineSettings(memory_limit=engine.memory_limit, threads=engine.threads, temp_directory=str(temporary))

    @cached_property
    def online(self) -> OnlineStore:
        """The online store."""
        online = self.config.online
        settings: dict[str, object] = {"url": online.url, "prefix": online.prefix}
        if online.timeout is not None:
            settings["timeout_s"] = parse_duration(online.timeout) / SECOND_US
        opened: OnlineStore = open_backend(
            online.backend,
            offered={
                "path": lambda: self.state / "online",
                "prefix": lambda: self.config.project,
                "owner": lambda: blake2b(self.secret, digest_size=16, person=b"online owner").hexdigest(),
            },
            **{name: value for name, value in settings.items() if value is not None},
        )
        return opened

    @cached_property
    def tables(self) -> OfflineTables:
        """The offline tables."""
        opened: OfflineTables = open_backend("files", root=self.state / "offline")
        return opened

    def new_holder(self) -> str:
        """Return a name for one claim of this process: two threads must not take each other's lease for their own."""
        return f"{os.uname().nodename}:{os.getpid()}:{chance.new_id()}"

    def is_gone(self, holder: str) -> bool:
        """Whether a holder of a lease was a process of this machine that is not running any more."""
        host, _, rest = holder.partition(":")
        pid = rest.partition(":")[0]
        return host == os.uname().nodename and pid.isdigit() and not _is_running(int(pid))

    @cached_property
    def secret(self) -> bytes:
        """32 random bytes of this project, made once: digests of keys cannot be guessed without them."""
        file = self.state / "secret"
        if not file.is_file():
            durable.write_bytes_once(file, chance.new_secret())
        return file.read_bytes()

    def close(self) -> None:
        """Release what is open; the project may be used again."""
        self.__dict__.pop("secret", None)
        for name in ("registry", "_registry", "online"):
            part = self.__dict__.pop(name, None)
            if part is not None:
                part.close()


def _login_name() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        return str(os.getuid())


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it runs, as another user
        return True
    return True
