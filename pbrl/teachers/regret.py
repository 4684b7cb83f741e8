"""A teacher who compares how well the actions were chosen, not how much reward followed."""

from collections.abc import Callable

import numpy as np
from scipy.special import expit
from torch import Tensor

from pbrl.errors import ConfigError
from pbrl.scores import masked_sum
from pbrl.segments import Segments


class Regret:
    """Prefers the segment with the smaller regret, -sum A*(s, a) (Knox et al., arXiv 2206.02231).

    `advantage(segments)` returns A* [N, T] <= 0 of the true reward, so this teacher is built by
    code that knows the environment and has no name in a suite. `beta` is the inverse temperature;
    None is the noise-free teacher, who calls sums equal after rounding to 2 decimals a tie (as the
    released code does, so that float noise breaks no tie).
    """

    antisymmetric = True

    def __init__(
        self, advantage: Callable[[Segments], Tensor], *, beta: float | None = 1.0
    ) -> None:
        if beta is not None and beta <= 0:
            raise ConfigError(f"teacher: beta = {beta}; expected a positive number or None")
        self.advantage, self.beta = advantage, beta

    def label(self, first: Segments, second: Segments, rng: np.random.Generator) -> np.ndarray:
        """Labels [N]; a noisy choice never ties."""
        choice = rng.random(len(first))
        p = self.probability(first, second)
        return p if self.beta is None else (choice < p).astype(np.float64)

    def probability(self, first: Segments, second: Segments) -> np.ndarray:
        """[N]: logistic(beta (regret(first) - regret(second))), or its noise-free limit."""
        scores = [
            masked_sum(self.advantage(side).double(), side.mask).cpu().numpy()
            for side in (first, second)
        ]
        if self.beta is None:
            first_score, second_score = np.round(scores, 2)
            return 0.5 + 0.5 * np.sign(second_score - first_score)
        return expit(self.beta * (scores[1] - scores[0]))
