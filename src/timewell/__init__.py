"""Timewell: a feature store that can be operated.

Public names load on first use, so that ``import timewell`` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from timewell import leakage as leakage
    from timewell.audit.python import audit_python as audit_python
    from timewell.audit.sql import audit_sql as audit_sql
    from timewell.build.explain import Explanation as Explanation
    from timewell.build.fitted import Fitted as Fitted
    from timewell.build.manifest import Manifest as Manifest
    from timewell.build.trainingset import TrainingFile as TrainingFile
    from timewell.build.trainingset import TrainingSet as TrainingSet
    from timewell.define.aggregation import Aggregation as Aggregation
    from timewell.define.aggregation import count as count
    from timewell.define.aggregation import count_distinct as count_distinct
    from timewell.define.aggregation import first as first
    from timewell.define.aggregation import last as last
    from timewell.define.aggregation import last_n as last_n
    from timewell.define.aggregation import latest as latest
    from timewell.define.aggregation import max as max
    from timewell.define.aggregation import mean as mean
    from timewell.define.aggregation import min as min
    from timewell.define.aggregation import stddev as stddev
    from timewell.define.aggregation import sum as sum
    from timewell.define.aggregation import variance as variance
    from timewell.define.contract import Contract as Contract
    from timewell.define.entity import Entity as Entity
    from timewell.define.feature import Feature as Feature
    from timewell.define.feature import FeatureGroup as FeatureGroup
    from timewell.define.feature import FeatureService as FeatureService
    from timewell.define.source import Source as Source
    from timewell.define.transform import lookup as lookup
    from timewell.define.transform import transform as transform
    from timewell.define.transform import transform_of as transform_of
    from timewell.errors import TimewellError as TimewellError
    from timewell.serve.response import OnlineFeatures as OnlineFeatures
    from timewell.store import FeatureStore as FeatureStore
    from timewell.watch.skew.compare import NotEnoughData as NotEnoughData
    from timewell.watch.skew.compare import distribution_diff as distribution_diff
    from timewell.watch.skew.difference import DistributionDiff as DistributionDiff
    from timewell.watch.skew.sketch import Sketch as Sketch

_AGGREGATES = ("Aggregation", "latest", "sum", "count", "mean", "min", "max", "stddev", "variance", "count_distinct")
_HOMES = {
    **dict.fromkeys((*_AGGREGATES, "first", "last", "last_n"), "timewell.define.aggregation"),
    "Contract": "timewell.define.contract",
    "DistributionDiff": "timewell.watch.skew.difference",
    "audit_python": "timewell.audit.python",
    "audit_sql": "timewell.audit.sql",
    "Entity": "timewell.define.entity",
    "Explanation": "timewell.build.explain",
    "Feature": "timewell.define.feature",
    "FeatureGroup": "timewell.define.feature",
    "FeatureService": "timewell.define.feature",
    "FeatureStore": "timewell.store",
    "Fitted": "timewell.build.fitted",
    "Manifest": "timewell.build.manifest",
    "NotEnoughData": "timewell.watch.skew.compare",
    "OnlineFeatures": "timewell.serve.response",
    "Sketch": "timewell.watch.skew.sketch",
    "Source": "timewell.define.source",
    "TimewellError": "timewell.errors",
    "TrainingFile": "timewell.build.trainingset",
    "TrainingSet": "timewell.build.trainingset",
    "distribution_diff": "timewell.watch.skew.compare",
    "lookup": "timewell.define.transform",
    "transform": "timewell.define.transform",
    "transform_of": "timewell.define.transform",
}
_MODULES = ("leakage",)
__version__ = "0.1.0"
__all__ = sorted([*_HOMES, *_MODULES, "__version__"])  # noqa: PLE0605  # a list of the names below, made from one table


def __getattr__(name: str) -> object:
    """Load a public name on first use."""
    if name in _MODULES:
        return import_module(f"timewell.{name}")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'timewell' has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
