"""The verbs about contracts: what :class:`timewell.FeatureStore` inherits."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from timewell.backfill.staging import Progress
from timewell.run.contracts import ComparedContract, FeatureContract, check_contracts, contracts, export_contracts
from timewell.run.proof.prove import contract_test
from timewell.run.proof.report import ProofReport
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

    def contract_test(
        self, features: str | Iterable[str] | None = None, *, progress: Progress | None = None
    ) -> ProofReport:
        """Prove on generated rows, in a scratch copy, that features (all live ones by default) are the same on both sides."""
        return contract_test(self.project, features, progress=progress)
