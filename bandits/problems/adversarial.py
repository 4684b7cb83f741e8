"""Feedback that works against the learner: alternating preferences and corrupted answers.

The arms and their true preferences are those of a matrix printed in a paper (`published`).
"""

from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Interval

from bandits.preferences import Problem, piecewise
from bandits.problems.published import published_matrix
from bandits.registry import problem


@problem("corrupted")
def corrupted(
    matrix: Literal["six-rankers", "cyclic", "mslr5", "mslr5-noncondorcet"] = "six-rankers",
    budget: Annotated[int, Ge(1)] = 1_000,
) -> Problem:
    """The first `budget` duels answer the wrong way round; regret is measured by the true matrix.

    P(i beats j) is that of j beating i until the budget is spent. Early corruption is the hardest
    to recover from for learners that commit.
    """
    p = published_matrix(matrix)
    return piecewise(np.stack([p.T, p]), [0, budget], truth=np.stack([p, p]))


@problem("alternating")
def alternating(
    matrix: Literal["six-rankers", "cyclic", "mslr5", "mslr5-noncondorcet"] = "six-rankers",
    share: Annotated[float, Interval(gt=0.5, lt=1)] = 0.75,
    every: Annotated[int, Ge(2)] = 1_000,
    cycles: Annotated[int, Ge(1)] = 1_000,
) -> Problem:
    """An oblivious adversary: in each cycle of `every` duels the last 1 - share are reversed.

    Regret is measured by the average matrix share p + (1 - share) p^T, in which the winner stays
    the winner for 1/2 < share < 1. Feedback depends on time, so an elimination can go wrong. After
    `cycles` cycles the last matrix, the reversed one, holds on.
    """
    turn = round(share * every)
    if turn == every:
        raise ValueError(
            f"alternating: share = {share} of every = {every} duels leaves none reversed; raise "
            "every or lower share"
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
