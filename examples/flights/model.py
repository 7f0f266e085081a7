"""A quick model of late arrivals, to see what a training set is worth.

The one rule: a model is scored on flights scheduled after all that it learned from.
"""

from __future__ import annotations

import os

# Trees by several threads on a busy machine wait for each other: 37 s in place of 1 s was measured.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

LABEL = "late"
TIME = "sched_dep_ts"
TRAIN_SHARE = 0.7


class Model:
    """Gradient-boosted trees fitted on the earlier flights of a frame.

    Parameters
    ----------
    frame
        Flights with their label, features and scheduled departure.
    features
        Columns to learn from; the hour of the day and the distance are added.
    """

    def __init__(self, frame: pd.DataFrame, features: list[str]) -> None:
        self._features = features
        earlier = frame[~later(frame)]
        self._trees = HistGradientBoostingClassifier(max_iter=100, random_state=0)
        self._trees.fit(self._inputs(earlier), earlier[LABEL])

    def score(self, frame: pd.DataFrame) -> float:
        """Return the area under the ROC curve on the later flights: 0.5 is a coin, 1.0 knows everything."""
        tested = frame[later(frame)]
        return float(roc_auc_score(tested[LABEL], self._trees.predict_proba(self._inputs(tested))[:, 1]))

    def _inputs(self, frame: pd.DataFrame) -> npt.NDArray[np.float64]:
        columns = [frame[name].to_numpy(dtype=np.float64, na_value=np.nan) for name in self._features]
        hour = frame[TIME].dt.hour.to_numpy(dtype=np.float64)
        return np.column_stack([*columns, hour, frame["distance"].to_numpy(dtype=np.float64)])


def later(frame: pd.DataFrame) -> pd.Series:
    """Tell the last three tenths of the flights, by schedule."""
    return frame[TIME] >= frame[TIME].quantile(TRAIN_SHARE)
