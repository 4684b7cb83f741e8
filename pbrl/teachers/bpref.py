"""The six teachers of B-Pref (Lee et al. 2021), each one step from the oracle, and their mixture.

Defaults are the values in the benchmark's launch scripts. There a draw, R1 = R2, goes to the first;
`draws` is what it gets here: first, tie, skip or coin. A noisy choice is a coin by its formula.
"""

from pbrl import registry
from pbrl.teachers.comparison import (
    Discount,
    Draws,
    InverseTemperature,
    Probability,
    Share,
)
from pbrl.teachers.returns import PartialReturn


@registry.teacher("oracle")
def oracle(draws: Draws = "first") -> PartialReturn:
    """Prefers the segment with the larger sum of true rewards, without error."""
    return PartialReturn(draws=draws)


@registry.teacher("stochastic")
def stochastic(beta: InverseTemperature = 1.0, draws: Draws = "coin") -> PartialReturn:
    """Prefers the second with probability logistic(beta (R2 - R1)), raw sums of true rewards."""
    return PartialReturn(beta=beta, draws=draws)


@registry.teacher("myopic")
def myopic(gamma: Discount = 0.9, draws: Draws = "first") -> PartialReturn:
    """Remembers the end of a segment: a reward k steps before it counts gamma^k."""
    return PartialReturn(recall=gamma, draws=draws)


@registry.teacher("mistake")
def mistake(eps: Probability = 0.1, draws: Draws = "first") -> PartialReturn:
    """The oracle with each label flipped with probability eps."""
    return PartialReturn(eps_mistake=eps, draws=draws)


@registry.teacher("skip")
def skip(
    eps: Share = 0.1, legacy_squared_eps: bool = False, draws: Draws = "first"
) -> PartialReturn:
    """The oracle, who refuses pairs that are both bad: max(R1, R2) <= eps (H/T) Ravg."""
    return PartialReturn(eps_skip=eps, legacy_squared_eps=legacy_squared_eps, draws=draws)


@registry.teacher("equal")
def equal(
    eps: Share = 0.1, legacy_squared_eps: bool = False, draws: Draws = "first"
) -> PartialReturn:
    """The oracle, who calls close pairs a tie: |R1 - R2| < eps (H/T) Ravg."""
    return PartialReturn(eps_equal=eps, legacy_squared_eps=legacy_squared_eps, draws=draws)


@registry.teacher("composed")
def composed(
    gamma: Discount = 1.0,
    beta: InverseTemperature | None = None,
    eps_mistake: Probability = 0.0,
    eps_skip: Share = 0.0,
    eps_equal: Share = 0.0,
    legacy_squared_eps: bool = False,
    draws: Draws | None = None,
) -> PartialReturn:
    """Any combination of the parts: skip, tie, myopia, noisy choice, mistake, in B-Pref's order.

    A draw goes to the first, or with beta is the coin that its choice is.
    """
    return PartialReturn(
        draws=draws or ("first" if beta is None else "coin"),
        recall=gamma,
        beta=beta,
        eps_mistake=eps_mistake,
        eps_skip=eps_skip,
        eps_equal=eps_equal,
        legacy_squared_eps=legacy_squared_eps,
    )
