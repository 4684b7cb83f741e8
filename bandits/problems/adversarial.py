"""Feedback that works against the learner: alternating preferences and corrupted answers.

The arms and their true preferences are those of a matrix printed in a paper (`published`).
"""

import numpy as np

from bandits.preferences import Problem, piecewise
from bandits.problems.published import published_matrix
from bandits.registry import problem


@problem("corrupted")
def corrupted(matrix: str = "six-rankers", budget: int = 1_000) -> Problem:
    """The first `budget` duels answer the wrong way round; regret is measured by the true matrix.

    P(i beats j) is that of j beating i until the budget is spent. Early corruption is the hardest
    to recover from for learners that commit. `budget` >= 1.
    """
    if budget < 1:
        raise ValueError(f"corrupted: budget = {budget}; expected at least 1 corrupted duel")
    p = published_matrix(matrix)
    return piecewise(np.stack([p.T, p]), [0, budget], truth=np.stack([p, p]))


@problem("alternating")
def alternating(
    matrix: str = "six-rankers", share: float = 0.75, every: int = 1_000, cycles: int = 1_000
) -> Problem:
    """An oblivious adversary: in each cycle of `every` duels the last 1 - share are reversed.

    Regret is measured by the average matrix share p + (1 - share) p^T, in which the winner stays
    the winner for 1/2 < share < 1. Feedback depends on time, so an elimination can go wrong. After
    `cycles` cycles the last matrix, the reversed one, holds on.
    """
    turn = round(share * every)
    if not 0.5 < share < 1 or turn == every or cycles < 1:
        raise ValueError(
            f"alternating: share = {share}, every = {every}, cycles = {cycles}; expected "
            "1/2 < share < 1, at least one duel of each kind per cycle, and at least 1 cycle"
        )
    p = published_matrix(matrix)
    average = (turn * p + (every - turn) * p.T) / every
    starts = (np.arange(cycles)[:, None] * every + [0, turn]).ravel()
    return piecewise(
        np.stack([p, p.T]),
        starts,
        order=np.tile([0, 1], cycles),
        truth=np.stack([average, average]),
    )
