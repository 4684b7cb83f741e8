"""How methods that stop with an answer fared: duels needed, and whether the answer is right.

They are knockout, seq-elim, opt-max, borda-elimination and their like: such a method duels
different arms while it searches and repeats its answer ever after.
"""

from dataclasses import dataclass

import numpy as np

from bandits.simulate import Result
from bandits.winners import TIE, borda_scores


@dataclass(frozen=True)
class Identification:
    """One entry per repetition, [R]."""

    samples: np.ndarray
    """Duels of different arms, int64: all that the answer took, or the horizon without answer."""
    answered: np.ndarray
    """Whether there was an answer at the horizon, bool."""
    correct: np.ndarray
    """Whether it was right, bool; False without answer."""


def identification(
    result: Result, p: np.ndarray, *, epsilon: float = 0.0, borda: bool = False
) -> Identification:
    """What a result of `simulate` with the preference matrix p [K, K] says of the answers.

    An answer is right when no arm beats it with probability above 1/2 + epsilon (an epsilon-maximum
    of Falahatgar et al. 2017) or, with `borda`, when its Borda score is within epsilon of the best.
    Raises ValueError when p has another number of arms than the result.
    """
    K = result.plays.shape[1]
    if p.shape != (K, K):
        raise ValueError(f"p has shape {p.shape}, but the result is of {K} arms; give their matrix")
    lost = p.max(axis=0) - 0.5
    if borda:
        scores = borda_scores(p)
        lost = scores.max() - scores
    answer = result.winner[:, -1]
    answered = answer >= 0
    itself = np.trace(result.plays, axis1=1, axis2=2)
    correct = answered & (lost[answer] <= epsilon + TIE)
    return Identification(result.plays.sum(axis=(1, 2)) - itself, answered, correct)
