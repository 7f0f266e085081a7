"""A plugin for pytest: a project's features as test items, and a copy of the project as a fixture.

Rule: nothing of Timewell but this file is imported until ``--timewell``, its ini option or the fixture is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from timewell.run.proof.report import CaseResult, ProofReport
    from timewell.store import FeatureStore

FILE = "timewell.toml"
MARK = "timewell"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what says which project is meant."""
    group = parser.getgroup("timewell")
    text = "Collect the features of the Timewell project in this directory: one test for each of their cases."
    group.addoption("--timewell", metavar="PATH", default=None, help=text)
    parser.addini("timewell", text, default="")
    parser.addini("timewell_now", "Where the clock of the copied project stands; the present by default.", default="")


def pytest_configure(config: pytest.Config) -> None:
    """Have the project collected beside what was asked for."""
    config.addinivalue_line("markers", f"{MARK}: a feature's case, collected with --timewell")
    root = _root(config)
    if root is None:
        return
    file = root / FILE
    if not file.is_file():
        raise pytest.UsageError(f"--timewell: there is no {FILE} in {root}")
    if not any(_inside(file, Path(argument.partition("::")[0])) for argument in config.args):
        config.args.append(str(file))


def _root(config: pytest.Config) -> Path | None:
    """Return the project's directory that was named, if one was."""
    if given := config.getoption("--timewell"):
        return (config.invocation_params.dir / str(given)).resolve()
    said = str(config.getini("timewell"))
    return (config.rootpath / said).resolve() if said else None


def _inside(file: Path, asked: Path) -> bool:
    whole = asked.resolve()
    return whole == file or whole in file.parents


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect the project that was named."""
    root = _root(parent.config) if file_path.name == FILE else None
    if root is None or file_path.resolve() != root / FILE:
        return None
    made: pytest.Collector = ProjectFile.from_parent(parent, path=file_path)
    return made


class ProjectFile(pytest.File):
    """A project: its features are tried together, once, when the first of their cases is run."""

    def collect(self) -> Iterator[pytest.Item]:
        """Yield an item for each case of each feature."""
        from timewell.run.proof.prove import planned  # noqa: PLC0415

        for feature, case in planned(self.store.project):
            yield CaseItem.from_parent(self, name=f"{feature}[{case}]", feature=feature, case=case)

    @cached_property
    def store(self) -> FeatureStore:
        """A copy of the project, its definitions applied."""
        from tempfile import TemporaryDirectory  # noqa: PLC0415

        folder = TemporaryDirectory(prefix="timewell-pytest-")
        store = _copied(self.config, self.path.parent, Path(folder.name) / "project")
        self.config.add_cleanup(folder.cleanup)
        self.config.add_cleanup(store.close)
        return store

    @cached_property
    def report(self) -> ProofReport:
        """How every feature did."""
        return self.store.contract_test()


class CaseItem(pytest.Item):
    """One case of one feature."""

    def __init__(self, *, feature: str, case: str, **more: Any) -> None:  # noqa: ANN401  # pytest's own
        super().__init__(**more)
        self._feature, self._case = feature, case
        self.add_marker(MARK)

    def runtest(self) -> None:
        """Fail where offline and online differ."""
        found = self._result()
        if found.verdict == "skipped":
            pytest.skip(found.detail)
        if found.verdict == "failed":
            raise CaseFailed(found.detail)

    def _result(self) -> CaseResult:
        assert isinstance(self.parent, ProjectFile)
        mine = [one for one in self.parent.report.results if one.feature == self._feature]
        found = [one for one in mine if one.case == self._case] or [one for one in mine if one.case == "all"]
        if not found:
            pytest.skip("the case could not be made")
        return found[0]

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:  # noqa: ANN401
        """Say what differs, without a traceback of Timewell's own."""
        if isinstance(excinfo.value, CaseFailed):
            return f"{self._feature}, {self._case}: {excinfo.value}"
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Say where it comes from."""
        return self.path, None, f"{self._feature}: {self._case}"


class CaseFailed(Exception):
    """Offline and online differ."""


def _copied(config: pytest.Config, root: Path, to: Path) -> FeatureStore:
    from timewell.testing.projects import copied  # noqa: PLC0415

    return copied(root, to, now=config.getini("timewell_now") or None)


@pytest.fixture
def timewell_project(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FeatureStore]:
    """Return the feature store of a copy of the project, its definitions applied and its clock frozen.

    The project of ``--timewell`` or of the ini option, else the one at or above pytest's root.
    """
    from timewell.config import find_root  # noqa: PLC0415

    root = _root(request.config) or find_root(request.config.rootpath)
    store = _copied(request.config, root, tmp_path / "timewell_project")
    yield store
    store.close()
