"""Teachers who compare sums of true rewards, and the label noise of later work.

Sources: PEBBLE and B-Pref (plain sums), RIME (Cheng et al. 2024), the synthetic gatherer of
HumanCompatibleAI/imitation, the online oracle of multi-type-feedback (Metz et al. 2025).
"""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Le
from scipy.special import ndtr

from pbrl import registry
from pbrl.errors import ConfigError
from pbrl.scores import discounts, masked_sum, myopic_sum
from pbrl.segments import Segments
from pbrl.teachers.comparison import Comparison, Discount, Probability, Share
from pbrl.teachers.threshold import RecentReturns

Width = Annotated[float, Ge(0), Le(1000)]  # beyond, all draws are uniform up to rounding


@registry.teacher("partial-return")
@dataclass(kw_only=True, eq=False)
class PartialReturn(Comparison):
    """Prefers the segment with the larger sum of rewards, the assumption most methods learn by.

    The reward may be this annotator's own: the true one less what effort costs.
    """

    gamma: Discount = 1.0
    "A reward t steps after the segment's start counts gamma^t."
    recall: Discount = 1.0
    "A reward k steps before the segment's end counts recall^k (B-Pref's myopic teacher)."
    effort: Share = 0.0
    "Reward that this annotator takes off per squared action, |a|²."
    legacy_squared_eps: bool = False
    "Repeat a defect of B-Pref: from the second session on, eps of skip and equal are squared."

    def __post_init__(self) -> None:
        super().__post_init__()
        self._recent = RecentReturns(artificial_zero=self.legacy_squared_eps)

    def score(self, segments: Segments) -> np.ndarray:
        reward = segments.ground_truth.double()
        if self.effort:
            reward = reward - self.effort * segments.act.double().square().sum(-1)
        if self.gamma < 1:
            reward = reward * discounts(segments.mask, self.gamma)
        if self.recall < 1:
            return myopic_sum(reward, segments.mask, self.recall).cpu().numpy()
        return masked_sum(reward, segments.mask).cpu().numpy()

    def _threshold(self, eps: float, length: int) -> float:
        squared = self.legacy_squared_eps and self._sessions > 0
        return super()._threshold(eps**2 if squared else eps, length)


@registry.teacher("rime")
def rime(eps: Probability = 0.3) -> PartialReturn:
    """Labels flipped as often as where RIME was tried: the mistaken oracle at high rates."""
    return PartialReturn(eps_mistake=eps, draws="first")


@registry.teacher("imitation")
def imitation(temperature: Share = 1.0, gamma: Discount = 1.0) -> PartialReturn:
    """The gatherer of imitation: P(second) = logistic((R2 - R1) / temperature), 0 for no noise.

    Rewards are discounted from the start of the segment. Its clip of the exponent at 50 moves no
    probability by over 2e-22 and is left out.
    """
    return PartialReturn(gamma=gamma, beta=1 / temperature if temperature > 0 else None)


@registry.teacher("noisy-returns")
def noisy_returns(noise: Share = 0.1, gamma: Discount = 0.99) -> PartialReturn:
    """Multi-type-feedback's online oracle: N(0, noise |R|) is added to each discounted return R.

    P(second) = Phi((R2 - R1) / (noise sqrt(R1² + R2²))). That the discount runs from the start of
    the segment is our reading.
    """
    return PartialReturn(gamma=gamma, score_noise=noise)


@registry.teacher("range-noise")
def range_noise(noise: Width = 0.1, gamma: Discount = 0.99) -> "RangeNoise":
    """Multi-type-feedback's offline noise, as wide as a share of the range of all returns.

    Good and poor segments are confused alike. The range here is that of segments of this length by
    the bounds of the environment's reward (there: of the data set).
    """
    return RangeNoise(gamma=gamma, noise=noise)


@dataclass(kw_only=True, eq=False)
class RangeNoise(PartialReturn):
    """Compares draws of N(R, s²), truncated to the range of returns, s = noise times its width.

    P(second) is E[F(second's draw)] with F the distribution of the first's, by quadrature, both
    ways round. That the noise is truncated to the range is our
    reading of the released code's description.
    """

    noise: Width = 0.1

    def bind(self, *, horizon: int, reward_range: tuple[float, float]) -> None:
        super().bind(horizon=horizon, reward_range=reward_range)
        if not np.isfinite(reward_range).all():
            raise ConfigError(
                f"range-noise needs bounds of the reward; found reward range {tuple(reward_range)}"
            )
        self._bounds = min(reward_range[0], 0.0), max(reward_range[1], 0.0)

    def _choice(self, first: Segments, second: Segments) -> tuple[np.ndarray, np.ndarray]:
        if self.noise == 0 or self._bounds == (0, 0):
            return super()._choice(first, second)
        weights = self.gamma ** np.arange(first.length)
        low, high = (bound * weights.sum() for bound in self._bounds)
        width = self.noise * (high - low)
        a, b = ((side.clip(low, high) - low) / width for side in self.scores(first, second))
        top = (high - low) / width
        p = 0.5 * (1 + _wins(b, a, top) - _wins(a, b, top))
        return p.clip(0, 1), np.zeros(len(first), dtype=bool)


NODES, WEIGHTS = np.polynomial.legendre.leggauss(48)
REACH = 8.5  # standard deviations beyond which a normal is nothing


def _wins(mean: np.ndarray, other: np.ndarray, top: float) -> np.ndarray:
    """P(a draw around `mean` is above one around `other`), unit normals truncated to [0, top]."""
    low, high = np.maximum(0, mean - REACH), np.minimum(top, mean + REACH)
    whole, whole_other = (ndtr(top - at) - ndtr(-at) for at in (mean, other))
    below_other = ndtr(-other)
    found = np.zeros(len(mean))
    for node, weight in zip((NODES + 1) / 2, WEIGHTS / 2, strict=True):
        drawn = low + node * (high - low)
        density = np.exp(-((drawn - mean) ** 2) / 2) / np.sqrt(2 * np.pi) / whole
        under = (ndtr(drawn - other) - below_other) / whole_other
        found += weight * (high - low) * density * under
    return found
