"""The verbs about contracts: what :class:`timewell.FeatureStore` inherits."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from timewell.run.contracts import ComparedContract, FeatureContract, check_contracts, contracts, export_contracts
from timewell.watch.verbs import WatchVerbs


class ContractVerbs(WatchVerbs):
    """One method per verb, no logic of its own."""

    def contracts(self, features: str | Iterable[str] | None = None) -> list[FeatureContract]:
        """Return what features (all live ones by default) promise; of one without a contract its type."""
        return contracts(self.project, features)

    def export_contracts(self, to: str | Path, features: str | Iterable[str] | None = None) -> list[Path]:
        """Write one YAML file for each feature's contract into a folder."""
        return export_contracts(self.project, Path(to), features)

    def check_contracts(self, *paths: str | Path) -> list[ComparedContract]:
        """Hold contract files, or folders of them, against what is registered; what is broken is in the answer."""
        return check_contracts(self.project, [Path(path) for path in paths])
