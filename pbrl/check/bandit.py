"""What a dueling-bandit algorithm promises: valid pairs, replayable, blind to labels of arms."""

from typing import Any

import numpy as np

from pbrl import registry
from pbrl.check.global_random import global_randomness


def check(name: str) -> list[str]:
    """Valid pairs, replayable, nothing kept between repetitions, blind to the arms' labels."""
    from bandits.preferences import relabel, stationary
    from bandits.simulate import simulate

    factory = registry.with_defaults("bandit", name)
    ranks = np.arange(5)
    p = 0.5 + 0.1 * np.sign(ranks[None, :] - ranks[:, None])
    features, order = np.eye(5), np.array([3, 0, 4, 2, 1])
    plain, turned = stationary(p, features), stationary(relabel(p, order), features[order])
    size: dict[str, Any] = {"horizon": 2000, "seed": 0, "shuffle": False}
    try:
        with global_randomness() as used:
            one = simulate(plain, factory(), repetitions=40, **size)
        again = simulate(plain, factory(), repetitions=40, **size)
        last = simulate(plain, factory(), repetitions=1, first_repetition=39, **size)
        other = simulate(turned, factory(), repetitions=40, **size | {"seed": 1})
    except Exception as error:
        return [f"2,000 duels among 5 arms raise {type(error).__name__}: {error}"]
    found = [
        f"draws from global randomness of {library}; use the rng it is given" for library in used
    ]
    regret = one.regret["average"]
    if not np.array_equal(regret, again.regret["average"]):
        found.append("two simulations of one seed differ; expected every draw from rng")
    if not np.array_equal(regret[-1], last.regret["average"][0]):
        found.append("a repetition depends on those before it; set all state in start(K, T, rng)")
    ends = np.stack([regret[:, -1], other.regret["average"][:, -1]])
    deviation = np.sqrt(ends.var(axis=1, ddof=1).sum() / ends.shape[1])
    if abs(ends[0].mean() - ends[1].mean()) > 6 * deviation + 1e-9:  # 6 standard errors: p < 1e-8
        found.append(
            f"average regret is {ends[0].mean():.1f}, and {ends[1].mean():.1f} with the arms "
            "renumbered; expected the same: do not prefer arms by their number"
        )
    return found
