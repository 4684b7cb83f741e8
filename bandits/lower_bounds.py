"""How slowly regret can grow: constants C such that regret is about C ln T.

Komiyama, Honda, Kashima & Nakagawa, Regret Lower Bound and Optimal Algorithm in Dueling Bandit
Problem, COLT 2015; Komiyama, Honda & Nakagawa, Copeland Dueling Bandit Problem, ICML 2016. To be
sure that arm i is not the winner, some arm j that beats i must be seen to do so, which takes
ln T / d(p_ij, 1/2) duels of that pair; the bound lets every i choose its cheapest j.
"""

import numpy as np
from scipy.special import rel_entr

from bandits.regret import arm_values, combined, rule_of, table
from bandits.winners import beats, loses, require_condorcet


def kl(x: np.ndarray | float, y: np.ndarray | float) -> np.ndarray:
    """d(x, y) = x ln(x/y) + (1-x) ln((1-x)/(1-y)), the divergence of two coins, with 0 ln 0 = 0."""
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    return rel_entr(x, y) + rel_entr(1 - x, 1 - y)


def lower_bound_constant(p: np.ndarray, regret: str = "average") -> float:
    """C2 = sum over i != a* of min over j with p_ij < 1/2 of regret(i, j)/d(p_ij, 1/2).

    No algorithm whose regret is o(T^a) for all a > 0 on every matrix has a smaller slope in ln T;
    RMED2FH attains it (COLT 2015). The weak regrets give 0: playing a* costs nothing.

    Raises ValueError for an unknown regret or without a Condorcet winner.
    """
    what, how = rule_of(regret)
    winner, (values, base) = require_condorcet(p), arm_values(p)
    cheapest = np.zeros(len(p))
    for i in range(len(p)):  # row by row, for a matrix may fill half the memory
        if i != winner:
            superiors = np.flatnonzero(loses(p[i]))
            cost = base[what] + combined(how, values[what, i], values[what, superiors])
            cheapest[i] = (cost / kl(p[i, superiors], 0.5)).min()
    return float(np.delete(cheapest, winner).sum())


def rmed1_constant(p: np.ndarray, regret: str = "average") -> float:
    """C1 = sum over i != a* of regret(i, a*)/d(p[i, a*], 1/2), the slope that RMED1 attains.

    C1 >= C2; they agree when the winner is everyone's cheapest opponent (COLT 2015).

    Raises ValueError for an unknown regret or without a Condorcet winner.
    """
    winner = require_condorcet(p)
    others = np.delete(np.arange(len(p)), winner)
    return float((table(p, regret)[others, winner] / kl(p[others, winner], 0.5)).sum())


def ecw_rmed_constant(p: np.ndarray) -> float:
    """The slope in ln T of ECW-RMED's Copeland regret: the program below, for the best winner.

    Every pair of a Copeland winner i1 with an arm it beats is drawn until that is certain, and
    every other arm i2 is seen to lose to so many arms that it cannot overtake i1 (ICML 2016, the
    relaxed problem that ECW-RMED solves). It is at least the lower bound of that paper. Pairs
    that tie count as neither won nor lost.
    """
    superiors = loses(p).sum(axis=1)
    winners = np.flatnonzero(superiors == superiors.min())
    return min(_ecw_rmed(p, superiors, int(i1)) for i1 in winners)


def _ecw_rmed(p: np.ndarray, superiors: np.ndarray, i1: int) -> float:
    K = len(p)
    regret = (np.add.outer(superiors, superiors) - 2 * superiors.min()) / (2 * (K - 1))
    tied = ~(beats(p) | loses(p))
    price = np.where(tied, np.inf, regret / np.where(tied, 1, kl(p, 0.5)))
    total = price[i1, beats(p[i1])].sum()
    for i2 in range(K):
        if i2 != i1:
            rivals = np.flatnonzero(loses(p[i2]) & (np.arange(K) != i1))
            needed = superiors[i2] - superiors[i1] + 1
            total += cheapest_cover(price[rivals, i2], len(rivals) - needed)
    return float(total)


def cheapest_cover(prices: np.ndarray, spare: int) -> float:
    """min price . y over y >= 0 whose entries, without any `spare` of them, still sum to 1 or more.

    The best y is equal on some h cheapest entries and 0 elsewhere. Negative `spare` costs nothing:
    i1 itself already keeps the arm from overtaking (ICML 2016).
    """
    if spare < 0:
        return 0.0
    sums = np.cumsum(np.sort(prices))
    return min(sums[h - 1] / (h - spare) for h in range(spare + 1, len(prices) + 1))
