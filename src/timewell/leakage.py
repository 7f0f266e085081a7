"""Leakage audits: prove that a training set knew nothing of the future, or find where a function of your own does.

``fs.audit_leakage(training_set)`` recomputes a training set's values from the source rows that were visible at each
row's instant, and with ``label=`` looks whether a feature tells more of the outcome than could be known. Two audits need
no feature store: :func:`audit_scores` scores the features of any frame, and :func:`poison_audit` takes any function that
builds a frame, changes the future, and looks what moves.
"""

from __future__ import annotations

from timewell.build.leakage import audit_leakage
from timewell.build.leakage_report import FeatureProof, LeakageReport, Violation
from timewell.build.poison import PoisonOptions, poison_audit
from timewell.build.poison_report import Leak, Poisoned, PoisonReport
from timewell.build.score_audit import ScoreOptions, audit_scores
from timewell.build.score_report import FeatureScore, ScoreReport

__all__ = [
    "FeatureProof",
    "FeatureScore",
    "Leak",
    "LeakageReport",
    "PoisonOptions",
    "PoisonReport",
    "Poisoned",
    "ScoreOptions",
    "ScoreReport",
    "Violation",
    "audit_leakage",
    "audit_scores",
    "poison_audit",
]
