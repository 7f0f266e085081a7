"""The verbs of the feature store that look for leaks: what :class:`timewell.FeatureStore` inherits."""

from __future__ import annotations

from timewell.build.leakage import SAMPLE_ROWS, audit_leakage
from timewell.build.leakage_report import LeakageReport
from timewell.stores.project import Project


class AuditVerbs:
    """One method per verb, no logic of its own."""

    project: Project

    def audit_leakage(
        self,
        training_set: object,
        label: str | None = None,
        *,
        manifest: object = None,
        sample: int | None = SAMPLE_ROWS,
        seed: int = 0,
    ) -> LeakageReport:
        """Prove that no value of a training set knew the future: recompute it from the rows visible at each instant.

        Parameters
        ----------
        training_set
            A training set, or a frame or Parquet file that was one.
        label
            Its column with the outcome: flag features that alone tell more of it than they do as known.
        manifest
            For a frame: the training set it came from, or that one's manifest, as object, dict or id.
        sample
            Recompute at most so many rows, evenly drawn with ``seed``; ``None`` for all. The report says how many.
        """
        return audit_leakage(self.project, training_set, label, manifest=manifest, sample=sample, seed=seed)
