"""Random operations on an online store, compared with plain dictionaries after each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from timewell.errors import BuildMissing, Superseded
from timewell.stores.codec import encode_key
from timewell.stores.online import OnlineStore, ReadKeys
from timewell.testing.online_children import mark_of

BUILDS = ("a/v1/1", "a/v1/2", "b/v1/1")
# few keys, so that operations meet; the long ones differ in their last byte
_PARTS = ["", "a", "b", "\0", "x" * 500 + "1", "x" * 500 + "2"]
_KEYS = [key for part in _PARTS if (key := encode_key([part], ["string"]))]

_builds = st.sampled_from(BUILDS)
_pairs = st.lists(st.tuples(st.sampled_from(_KEYS), st.binary(max_size=8)), max_size=6)
_keys = st.lists(st.sampled_from(_KEYS), max_size=4)
_as_ofs = st.integers(0, 3)
_epochs = st.integers(0, 2)


@dataclass
class _Model:
    order: tuple[int, int]
    rows: dict[bytes, bytes] = field(default_factory=dict)
    seq: int = 0


class OnlineMachine(RuleBasedStateMachine):
    """Drives a store and the model side by side."""

    def __init__(self, open_store: Callable[[Path], OnlineStore], place: Path) -> None:
        super().__init__()
        self._open = open_store
        self._place = Path(mkdtemp(dir=place))
        self.model: dict[str, _Model] = {}

    @initialize()
    def start(self) -> None:
        """Open an empty store."""
        self.store = self._open(self._place)

    @rule(build=_builds, pairs=_pairs, as_of=_as_ofs, epoch=_epochs)
    def load(self, build: str, pairs: list[tuple[bytes, bytes]], as_of: int, epoch: int) -> None:
        """Write a build."""
        offered = mark_of(as_of, lease_epoch=epoch)
        held = self.model.get(build)
        if held and held.order > (as_of, epoch):
            with pytest.raises(Superseded):
                self.store.load(build, pairs, offered)
            return
        report = self.store.load(build, pairs, offered)
        self.model[build] = _Model(order=(as_of, epoch), rows=dict(pairs), seq=held.seq if held else 0)
        self._moved(build, report.mark.refresh_seq)

    @rule(build=_builds, pairs=_pairs, deletes=_keys, as_of=_as_ofs, epoch=_epochs)
    def refresh(
        self, build: str, pairs: list[tuple[bytes, bytes]], deletes: list[bytes], as_of: int, epoch: int
    ) -> None:
        """Change a build."""
        offered = mark_of(as_of, lease_epoch=epoch)
        held = self.model.get(build)
        if held is None or held.order > (as_of, epoch):
            with pytest.raises(Superseded if held else BuildMissing):
                self.store.refresh(build, pairs, deletes, offered)
            return
        report = self.store.refresh(build, pairs, deletes, offered)
        assert report.deleted == len(held.rows.keys() & set(deletes))
        held.rows = {key: row for key, row in held.rows.items() if key not in deletes} | dict(pairs)
        held.order = (as_of, epoch)
        self._moved(build, report.mark.refresh_seq)

    @rule(build=_builds, keys=_keys)
    def erase(self, build: str, keys: list[bytes]) -> None:
        """Forget keys."""
        held = self.model.get(build)
        assert self.store.erase(build, keys) == (len(held.rows.keys() & set(keys)) if held else 0)
        if held:
            held.rows = {key: row for key, row in held.rows.items() if key not in keys}
            mark = self.store.mark(build)
            assert mark is not None
            self._moved(build, mark.refresh_seq)

    @rule(build=_builds)
    def drop(self, build: str) -> None:
        """Remove a build."""
        self.store.drop(build)
        self.model.pop(build, None)

    @rule()
    def reopen(self) -> None:
        """Close the store and open another on the same place."""
        self.store.close()
        self.store = self._open(self._place)

    def _moved(self, build: str, seq: int) -> None:
        assert seq > self.model[build].seq
        self.model[build].seq = seq

    @invariant()
    def equal(self) -> None:
        """Both hold the same builds, marks and rows."""
        if not hasattr(self, "store"):
            return
        assert self.store.builds() == sorted(self.model)
        for build, (mark, rows) in zip(BUILDS, self.store.read([ReadKeys(b, _KEYS) for b in BUILDS]), strict=True):
            held = self.model.get(build)
            if held is None:
                assert mark is None
                assert not any(rows)
                continue
            assert mark is not None
            assert (mark.as_of_us, mark.lease_epoch) == held.order
            assert (mark.rows, mark.refresh_seq) == (len(held.rows), held.seq)
            assert rows == [held.rows.get(key) for key in _KEYS]
            assert dict(self.store.scan(build)) == held.rows

    def teardown(self) -> None:
        """Close the store."""
        if hasattr(self, "store"):
            self.store.close()


def check_against_dictionary(open_store: Callable[[Path], OnlineStore], place: Path, *, examples: int) -> None:
    """Run the machine; raises ``AssertionError`` with the shortest sequence of operations that diverges."""
    place.mkdir(parents=True, exist_ok=True)
    run_state_machine_as_test(
        lambda: OnlineMachine(open_store, place),  # type: ignore[arg-type]  # any callable will do
        settings=settings(
            max_examples=examples,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
