"""Teachers who compare sums of true rewards, and the label noise of later work.

Sources: PEBBLE and B-Pref (plain sums), RIME (Cheng et al. 2024), the synthetic gatherer of
HumanCompatibleAI/imitation, the online oracle of multi-type-feedback (Metz et al. 2025).
"""

from dataclasses import dataclass

import numpy as np

from pbrl import registry
from pbrl.scores import discounts, masked_sum, myopic_sum
from pbrl.segments import Segments
from pbrl.teachers.comparison import Comparison, Discount, Probability, Share
from pbrl.teachers.threshold import RecentReturns


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
