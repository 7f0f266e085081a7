"""How far apart two samples of one distribution come to lie by chance, and whether a shift could be told from that.

Rule: nothing is drawn anew from outside: a fixed seed makes the same samples give the same answer.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from timewell.watch.skew.cells import Cells, Counts, Floats
from timewell.watch.skew.distances import Distance

DRAWS: Final = 1_000
BEYOND: Final = 0.995  # quantile of what chance gives: one comparison in 200 of like samples lies beyond it
_NORMAL: Final = 2.575829  # the same quantile of the standard normal distribution
_TRIALS: Final = 200
_SURE: Final = 0.8  # a shift must be seen so often, to say that there is none
_SEED: Final = 20_260_301
_MOST_DEALT: Final = 1_000_000  # from here on drawing with and without putting back is the same


def noise_floor(cells: Cells, distance: Distance) -> float:
    """Return the distance that two samples of one distribution, of these sizes, exceed in one of 200 cases.

    The values of both sides are put together and dealt out anew a thousand times: a permutation test, cell by cell. The
    quantile is the greater of the drawn one and of Cornish and Fisher's (1937), from mean, spread and skewness: the
    fifth greatest of a thousand alone was low enough for 17 false alarms in 2,000.
    """
    draw = np.random.default_rng(_SEED)
    pooled = cells.one + cells.other
    size, rest = int(cells.one.sum()), int(cells.other.sum())
    if size + rest > _MOST_DEALT:
        shares = pooled / pooled.sum()
        one, other = (draw.multinomial(count, shares, size=DRAWS) for count in (size, rest))
    else:
        one = draw.multivariate_hypergeometric(pooled, size, size=DRAWS, method="marginals")
        other = pooled - one
    drawn = distance(one, other, cells.places)
    spread = float(drawn.std())
    if spread == 0.0:
        return float(drawn.max())
    skewness = float(np.mean(((drawn - drawn.mean()) / spread) ** 3))
    smooth = float(drawn.mean()) + spread * (_NORMAL + (_NORMAL**2 - 1) * skewness / 6)
    return max(float(np.quantile(drawn, BEYOND, method="higher")), smooth)


def standard_error(cells: Cells, distance: Distance) -> float:
    """Return how much the distance of two samples of these sizes scatters, each drawn again from its own shares."""
    draw = np.random.default_rng(_SEED)
    one, other = (
        draw.multinomial(int(side.sum()), side / side.sum(), size=_TRIALS) for side in (cells.one, cells.other)
    )
    return float(distance(one, other, cells.places).std())


def would_be_seen(cells: Cells, distance: Distance, floor: float, shift: float) -> bool:
    """Whether a shift of so much of the mass would lie beyond the noise in four of five cases.

    The mass is taken from the fullest cell and spread over all others as they are filled: harder to see than one that
    goes to a single place.
    """
    draw = np.random.default_rng(_SEED)
    pooled: Counts = cells.one + cells.other
    shares = pooled / pooled.sum()
    moved = _shifted(shares, shift)
    one = draw.multinomial(int(cells.one.sum()), shares, size=_TRIALS)
    other = draw.multinomial(int(cells.other.sum()), moved, size=_TRIALS)
    return float(np.mean(distance(one, other, cells.places) > floor)) >= _SURE


def _shifted(shares: Floats, shift: float) -> Floats:
    fullest = int(np.argmax(shares))
    taken = min(shift, float(shares[fullest]))
    others = shares.copy()
    others[fullest] = 0.0
    total = others.sum()
    if total <= 0:  # one value only: the mass goes to what was empty so far
        others = np.ones_like(shares)
        others[fullest] = 0.0
        total = others.sum()
    moved = shares + taken * others / max(total, 1e-300)
    moved[fullest] = shares[fullest] - taken
    whole: Floats = moved / moved.sum()
    return whole
