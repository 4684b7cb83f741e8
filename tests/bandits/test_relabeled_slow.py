"""Slow: laws of regret do not depend on the names of arms; contextual methods on their problem."""

import numpy as np
import pytest

from bandits.algorithms import create
from bandits.preferences import Problem, relabel, stationary
from bandits.problems.contextual import hypercube
from bandits.problems.published import six_rankers
from bandits.problems.utilities import linked
from bandits.simulate import simulate

pytestmark = pytest.mark.slow

NAMES = [
    "anaconda", "metaswift", "dex3-p", "dex3-s", "merge-dts", "sliding-window", "discounted",
    "knockout", "seq-elim", "opt-max", "borda-elimination",
]  # fmt: skip
CONTEXTUAL = ["max-in-p", "colstim", "max-pair-ucb", "vacdb", "sta-d", "fgts-cdb"]


def with_features() -> Problem:
    x = np.random.default_rng(0).standard_normal((6, 3))
    return stationary(linked(x @ np.array([1.0, 0.5, -0.5]), "logit"), x)


@pytest.mark.parametrize("name", NAMES + CONTEXTUAL)
def test_relabeled_arms_change_no_law_of_regret(name: str) -> None:
    # The same arms unshuffled and in reverse order: mean regrets within four standard errors.
    problem, T = (with_features(), 1_000) if name in CONTEXTUAL else (six_rankers(), 20_000)
    x = None if problem.features is None else problem.features[::-1].copy()
    order = np.arange(problem.K)[::-1].copy()
    found = [
        simulate(
            p, create(name), horizon=T, repetitions=200, seed=7, checkpoints=[T], shuffle=False
        ).regret["average"]
        for p in (problem, stationary(relabel(problem.matrices[0], order), x))
    ]
    error = np.hypot(*(r.std(ddof=1) / np.sqrt(len(r)) for r in found))
    assert abs(found[0].mean() - found[1].mean()) <= 4 * error


@pytest.mark.parametrize("name", ["max-in-p", "colstim", "max-pair-ucb", "vacdb", "fgts-cdb"])
def test_contextual_regret_is_a_fifth_of_uniform_in_the_setting_of_di_et_al(name: str) -> None:
    # d = 5, K = 32, T = 4000, |theta| = 1; utility regret over five instances. Sta'D
    # is left out: with its constants it still explores by then.
    found: list[float] = []
    uniform: list[float] = []
    for seed in range(5):
        problem = hypercube(instance=seed)
        for results, player in ((found, name), (uniform, "uniform")):
            run = simulate(problem, create(player), horizon=4_000, repetitions=4, seed=seed)
            results.append(run.regret["utility_average"][:, -1].mean())
    assert np.mean(found) < 0.2 * np.mean(uniform)
