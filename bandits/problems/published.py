"""Preference matrices printed in papers, kept as csv beside this file; arm 0 wins where one does.

Simulations shuffle the arms, so that ties broken by index favor nobody.
"""

from pathlib import Path

import numpy as np

from bandits.preferences import Problem, stationary
from bandits.registry import problem

FOLDER = Path(__file__).parent


def published_matrix(name: str) -> np.ndarray:
    """The preference matrix [K, K] of a csv file in this folder, given without ".csv".

    Raises ValueError, listing what there is, for another name.
    """
    known = sorted(file.stem for file in FOLDER.glob("*.csv"))
    if name not in known:
        raise ValueError(f"unknown published matrix {name!r}; expected one of {', '.join(known)}")
    return np.loadtxt(FOLDER / f"{name}.csv", delimiter=",", comments="#")


@problem("six-rankers")
def six_rankers() -> Problem:
    """Six retrieval functions compared by interleaving on ArXiv full-text search; K = 6.

    Yue & Joachims, Beat the Mean Bandit, 2011. Condorcet winner 0, smallest gap 0.04, one tie (arms
    3 and 5).
    """
    return stationary(published_matrix("six-rankers"))


@problem("cyclic")
def cyclic() -> Problem:
    """A Condorcet winner (0.6 against all) above a 0.9 cycle of three arms; K = 4.

    Komiyama et al., COLT 2015. The winner is everyone's most expensive opponent: RMED1's slope is
    9.1 times the lower bound, which RMED2FH attains.
    """
    return stationary(published_matrix("cyclic"))


@problem("mslr5")
def mslr5() -> Problem:
    """Five rankers of MSLR-WEB30K under informational clicks; K = 5.

    Table of Wu & Liu, Double Thompson Sampling for Dueling Bandits, 2016, three decimals. Condorcet
    winner 0, smallest gap 0.035.
    """
    return stationary(published_matrix("mslr5"))


@problem("mslr5-noncondorcet")
def mslr5_noncondorcet() -> Problem:
    """Five rankers of MSLR-WEB30K without a Condorcet winner; K = 5.

    Table of Wu & Liu, Double Thompson Sampling for Dueling Bandits, 2016, three decimals. Copeland
    winners 0, 1, 2 (each beats three arms in four); Borda winner 1.
    """
    return stationary(published_matrix("mslr5-noncondorcet"))
