"""A teacher who compares sums of true rewards, made irrational by small parts in a fixed order."""

from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Gt, Le
from scipy.special import expit

from pbrl.scores import masked_sum, myopic_sum
from pbrl.segments import Segments
from pbrl.teachers.threshold import RecentReturns

Discount = Annotated[float, Gt(0), Le(1)]
InverseTemperature = Annotated[float, Gt(0)]
Probability = Annotated[float, Ge(0), Le(1)]
Share = Annotated[float, Ge(0)]


class PartialReturn:
    """B-Pref's teacher model (Lee et al. 2021), with the order of operations of its released code.

    `gamma` discounts away the start of a segment; `beta` is the inverse temperature of the choice
    on raw sums, None for the noise-free limit, where a draw goes to the first; `eps_mistake` is the
    probability of a flipped label; `eps_skip` and `eps_equal` scale the thresholds under which a
    pair is refused or called a tie. `legacy_squared_eps` repeats a defect of the released PEBBLE
    code: from the second session on eps is squared, and the running average starts with a 0.
    """

    def __init__(
        self,
        *,
        gamma: Discount = 1.0,
        beta: InverseTemperature | None = None,
        eps_mistake: Probability = 0.0,
        eps_skip: Share = 0.0,
        eps_equal: Share = 0.0,
        legacy_squared_eps: bool = False,
    ) -> None:
        self.gamma, self.beta, self.eps_mistake = gamma, beta, eps_mistake
        self.eps_skip, self.eps_equal = eps_skip, eps_equal
        self.legacy_squared_eps = legacy_squared_eps
        self._recent = RecentReturns(artificial_zero=legacy_squared_eps)
        self._sessions = 0

    @property
    def antisymmetric(self) -> bool:
        """Whether swapping a pair always turns P into 1 - P; a draw has no mirror without noise."""
        return self.beta is not None

    def bind(self, *, horizon: int, reward_range: tuple[float, float]) -> None:
        """Give the scale of episodes; only the thresholds need it."""
        if self.eps_skip > 0 or self.eps_equal > 0:
            self._recent.bind(horizon=horizon, reward_range=reward_range)

    def observe_episode(self, true_return: float) -> None:
        """Tell the true return of a training episode that just ended."""
        self._recent.add(true_return)

    def label(self, first: Segments, second: Segments, rng: np.random.Generator) -> np.ndarray:
        """Labels [N]; the parts act in the order of B-Pref's code.

        All random numbers of all parts are always drawn, so that switching one part on does not
        change what another part draws.
        """
        choice, slip = rng.random((2, len(first)))
        skipped = self._skipped(first, second)
        tied = self._tied(first, second)
        labels = (choice < self._choice_probability(first, second)).astype(np.float64)
        labels = np.where(slip < self.eps_mistake, 1 - labels, labels)
        labels = np.where(tied, 0.5, labels)
        labels = np.where(skipped, np.nan, labels)
        self._sessions += 1
        return labels

    def probability(self, first: Segments, second: Segments) -> np.ndarray:
        """[N]: P(second preferred | answered), with mistakes; a tie counts 0.5.

        For a pair that is skipped now: what it would be if it were answered.
        """
        p = self._choice_probability(first, second)
        p = p * (1 - self.eps_mistake) + (1 - p) * self.eps_mistake
        return np.where(self._tied(first, second), 0.5, p)

    def _choice_probability(self, first: Segments, second: Segments) -> np.ndarray:
        gain = _myopic_return(second, self.gamma) - _myopic_return(first, self.gamma)
        return (gain > 0).astype(np.float64) if self.beta is None else expit(self.beta * gain)

    def _skipped(self, first: Segments, second: Segments) -> np.ndarray:
        """Both are bad: max(R1, R2) <= threshold, of undiscounted sums also for myopic teachers."""
        if self.eps_skip == 0:
            return np.zeros(len(first), dtype=bool)
        threshold = self._threshold(self.eps_skip, first.length)
        best = np.maximum(_return(first), _return(second)) - self._recent.low * first.length
        return (best <= threshold) & (threshold > 0)

    def _tied(self, first: Segments, second: Segments) -> np.ndarray:
        """Too close to call: |R1 - R2| < threshold, of undiscounted sums also for myopic ones."""
        if self.eps_equal == 0:
            return np.zeros(len(first), dtype=bool)
        threshold = self._threshold(self.eps_equal, first.length)
        return np.abs(_return(first) - _return(second)) < threshold

    def _threshold(self, eps: float, length: int) -> float:
        squared = self.legacy_squared_eps and self._sessions > 0
        return self._recent.threshold(eps**2 if squared else eps, length)

    def state_dict(self) -> dict[str, Any]:
        return {"recent": self._recent.state_dict(), "sessions": self._sessions}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._recent.load_state_dict(state["recent"])
        self._sessions = state["sessions"]


def _return(segments: Segments) -> np.ndarray:
    return masked_sum(segments.ground_truth.double(), segments.mask).cpu().numpy()


def _myopic_return(segments: Segments, gamma: float) -> np.ndarray:
    return myopic_sum(segments.ground_truth.double(), segments.mask, gamma).cpu().numpy()
