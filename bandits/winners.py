"""Who wins a preference matrix: Condorcet, Copeland, Borda and von Neumann winners.

Throughout, p is float64 [K, K] of K >= 2 arms with p[i, j] = P(i beats j); "i beats j" means
p[i, j] > 1/2 + TIE. A Condorcet winner is the unique Copeland winner and the von Neumann winner;
the Borda winner may be another arm.
"""

import numpy as np

TIE = 1e-9
"""Probabilities this close to 1/2, and scores this close to each other, are tied.

Rounding moves p by about 1e-16, while telling p = 1/2 + TIE from 1/2 would take some 1/TIE^2 = 1e18
duels. Every comparison of true preferences goes by this: winners, regrets, bounds, judged answers.
"""


def beats(p: np.ndarray) -> np.ndarray:
    """Whether i beats j, bool of p's shape: p_ij > 1/2 + TIE."""
    return p > 0.5 + TIE


def loses(p: np.ndarray) -> np.ndarray:
    """Whether i loses to j, bool of p's shape: j beats i."""
    return beats(1 - p)


def condorcet_winner(p: np.ndarray) -> int | None:
    """The arm that beats every other arm, or None when there is none."""
    wins = beats(p).sum(axis=1)
    best = int(wins.argmax())
    return best if wins[best] == len(p) - 1 else None


def require_condorcet(p: np.ndarray, name: str = "the preference matrix") -> int:
    """The Condorcet winner of p.

    Raises ValueError, naming the best arms and whom they fail to beat, when there is none.
    """
    winner = condorcet_winner(p)
    if winner is not None:
        return winner
    best = copeland_winners(p)
    unbeaten = [j for j in np.flatnonzero(~beats(p[best[0]])).tolist() if j != best[0]]
    raise ValueError(
        f"{name} has no Condorcet winner: its Copeland winners are arms {best.tolist()}, and arm "
        f"{best[0]} does not beat arms {unbeaten}; use the copeland or borda regret and an "
        "algorithm for them, or another matrix"
    )


def copeland_scores(p: np.ndarray) -> np.ndarray:
    """Share of the other arms that each arm beats: [..., K] in [0, 1] of p [..., K, K]."""
    return beats(p).sum(axis=-1) / (p.shape[-1] - 1)


def copeland_winners(p: np.ndarray) -> np.ndarray:
    """All arms that beat the most others, increasing."""
    wins = beats(p).sum(axis=1)
    return np.flatnonzero(wins == wins.max())


def borda_scores(p: np.ndarray) -> np.ndarray:
    """Chance to beat a random other arm: [..., K] in [0, 1] of p [..., K, K]."""
    return (p.sum(axis=-1) - 0.5) / (p.shape[-1] - 1)


def borda_winners(p: np.ndarray) -> np.ndarray:
    """All arms with the largest Borda score (ties within TIE), increasing."""
    scores = borda_scores(p)
    return np.flatnonzero(scores >= scores.max() - TIE)


def von_neumann_winner(p: np.ndarray) -> np.ndarray:
    """A lottery pi [K] over arms that beats every arm with probability at least 1/2.

    It is a maximin strategy of the symmetric game p - 1/2, whose value is 0, found by linear
    programming; when there are several, one of them (Dudik et al., Contextual Dueling Bandits,
    2015).
    """
    from scipy.optimize import linprog  # half a second, and planning needs the rest of this file

    K = len(p)
    # Maximise v subject to pi^T (p - 1/2) >= v; the variables are (pi, v) and linprog minimises.
    result = linprog(
        c=np.r_[np.zeros(K), -1.0],
        A_ub=np.c_[-(p - 0.5).T, np.ones(K)],
        b_ub=np.zeros(K),
        A_eq=[[1.0] * K + [0.0]],
        b_eq=[1.0],
        bounds=[(0, 1)] * K + [(-1, 1)],
    )
    pi = result.x[:K].clip(0)
    return pi / pi.sum()
