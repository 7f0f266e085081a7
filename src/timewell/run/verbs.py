"""The verbs of the feature store that act by themselves: what :class:`timewell.FeatureStore` inherits."""

from __future__ import annotations

from timewell.run.contract_verbs import ContractVerbs
from timewell.run.refresher import Turn, refresh
from timewell.run.refreshing import RefreshingReport, refreshing


class RunVerbs(ContractVerbs):
    """One method per verb, no logic of its own."""

    def refresh(self) -> Turn:
        """Do what is due now, once: refresh online builds, continue offline tables, sweep, evaluate alerts.

        What goes wrong in one job does not keep the others from being done; it is in the outcome.
        """
        return refresh(self.project)

    def refreshing(self) -> RefreshingReport:
        """Report who refreshes, what is due when, and how the last runs ended."""
        return refreshing(self.project)
