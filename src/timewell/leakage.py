"""Leakage audits: prove that a training set knew nothing of the future, or find where a function of your own does.

``fs.audit_leakage(training_set)`` recomputes a training set's values from the source rows that were visible at each
row's instant. :func:`poison_audit` needs no feature store: it takes any function that builds a frame, changes the
future, and looks what moves.
"""

from __future__ import annotations

from timewell.build.leakage import audit_leakage
from timewell.build.leakage_report import FeatureProof, LeakageReport, Violation
from timewell.build.poison import PoisonOptions, poison_audit
from timewell.build.poison_report import Leak, Poisoned, PoisonReport

__all__ = [
    "FeatureProof",
    "Leak",
    "LeakageReport",
    "PoisonOptions",
    "PoisonReport",
    "Poisoned",
    "Violation",
    "audit_leakage",
    "poison_audit",
]
