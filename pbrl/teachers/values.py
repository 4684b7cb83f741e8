"""Teachers who judge by an expert's values: regret and its neighbors.

With L steps s_0, a_0, ..., s_L of a segment, the optimal values V, Q and A = Q - V of the true
reward, and their discount gamma:

    regret            sum_t gamma^t A(s_t, a_t)
    bootstrapped      sum_t gamma^t r_t + gamma^L V(s_L)
    mixture           w_return sum_t gamma^t r_t + w_end gamma^L V(s_L) - w_start V(s_0)
    advantage-greedy  number of steps whose action is (nearly) greedy

Where transitions are deterministic, the sum of advantages is
sum_t gamma^t r_t + gamma^L V(s_L) - V(s_0). A trained expert's V is better known than its Q of
actions it does not take, so there that is the form by default, as in CPL's teacher; with exact
values it is the sum, right for any dynamics.

Steps after the end of an episode earn nothing, and the value of the state it ended in is 0. One
discount serves rewards and values alike: an undiscounted sum beside discounted values, as in the
released code, makes optimal segments look worse than others by up to (1 - gamma) V a step.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Le
from torch import Tensor

from pbrl import registry
from pbrl.errors import CellError
from pbrl.scores import discounts, masked_sum
from pbrl.segments import Segments
from pbrl.teachers.comparison import Comparison, Discount, Number, Share
from pbrl.teachers.oracle import Oracle, advantages, end_values, start_values


@dataclass(kw_only=True, eq=False)
class Valuing(Comparison):
    """What teachers with an oracle share."""

    gamma: Discount | None = None
    "Discount within a segment; null for that of the expert's values, the consistent one."
    decimals: Annotated[int, Ge(0), Le(12)] | None = 2
    "Without beta, scores are compared after rounding to this many decimals; null for none (2)."
    expert: Literal["good", "medium", "poor"] = "good"
    "Whose values a trained oracle gives: a mistaken expert makes a mistaken teacher."

    def __post_init__(self) -> None:
        super().__post_init__()
        self._oracle: Oracle | None = None

    def consult(self, oracle: Oracle) -> None:
        """Give the values of the task; a trained oracle has several experts."""
        self._oracle = oracle.of(self.expert) if hasattr(oracle, "of") else oracle

    def scores(self, first: Segments, second: Segments) -> tuple[np.ndarray, np.ndarray]:
        a, b = super().scores(first, second)
        if self.beta is None and self.decimals is not None:
            return np.round(a, self.decimals), np.round(b, self.decimals)
        return a, b

    @property
    def oracle(self) -> Oracle:
        """The oracle; raises CellError before `consult`."""
        if self._oracle is None:
            raise CellError(
                "this teacher judges by an expert's values; call teacher.consult(oracle) before it "
                "is asked"
            )
        return self._oracle

    def discount(self) -> float:
        """Of a step within a segment."""
        return self.oracle.gamma if self.gamma is None else self.gamma

    def summed(self, values: Tensor, segments: Segments) -> np.ndarray:
        """sum_t gamma^t v_t over the steps that exist, [N]."""
        weighted = values.double() * discounts(segments.mask, self.discount())
        return masked_sum(weighted, segments.mask).cpu().numpy()

    def at_end(self, segments: Segments) -> np.ndarray:
        """gamma^L V(s_L), [N]."""
        steps = segments.mask.sum(-1).cpu().numpy()
        return self.discount() ** steps * end_values(self.oracle, segments).cpu().numpy()

    def at_start(self, segments: Segments) -> np.ndarray:
        """V(s_0), [N]."""
        return start_values(self.oracle, segments).cpu().numpy()


@registry.teacher("regret", oracle=True)
@dataclass(kw_only=True, eq=False)
class Regret(Valuing):
    """Prefers the segment with the smaller regret, sum of A* (Knox et al., arXiv 2206.02231)."""

    form: Literal["advantages", "outcome"] | None = None
    "Sum of A; or what happened, r and the change of V, with its luck. Null: A where it is exact."

    def score(self, segments: Segments) -> np.ndarray:
        exact = getattr(self.oracle, "exact", True)
        if self.form == "advantages" or (self.form is None and exact):
            return self.summed(advantages(self.oracle, segments), segments)
        reward = self.summed(segments.ground_truth, segments)
        return reward + self.at_end(segments) - self.at_start(segments)


@registry.teacher("bootstrapped", oracle=True)
@dataclass(kw_only=True, eq=False)
class Bootstrapped(Valuing):
    """Prefers the larger return with what is to come (Marklund & Van Roy, arXiv 2410.22690)."""

    def score(self, segments: Segments) -> np.ndarray:
        return self.summed(segments.ground_truth, segments) + self.at_end(segments)


@registry.teacher("mixture", oracle=True)
@dataclass(kw_only=True, eq=False)
class Mixture(Valuing):
    """Weighs return, end value and start value: between partial return and regret by default.

    (1, 0, 0) is the partial return, (1, 1, 1) regret, (1, 1, 0) the bootstrapped return, (0, 1, 1)
    the change of value; people of the delivery task were fitted by (.299, .284, .163).
    """

    w_return: Number = 1.0
    "Weight of the sum of rewards."
    w_end: Number = 0.5
    "Weight of the value of the state the segment ends in."
    w_start: Number = 0.5
    "Weight of the value of the state it starts in, which is taken off."

    def score(self, segments: Segments) -> np.ndarray:
        reward = self.summed(segments.ground_truth, segments)
        ends = self.w_end * self.at_end(segments) - self.w_start * self.at_start(segments)
        return self.w_return * reward + ends


@registry.teacher("advantage-greedy", oracle=True)
@dataclass(kw_only=True, eq=False)
class AdvantageGreedy(Valuing):
    """Counts the steps whose action is the expert's best: sees that one is wrong, not how wrong."""

    margin: Share = 1e-6
    "An action is the best when its advantage is at least -margin."

    def score(self, segments: Segments) -> np.ndarray:
        best = advantages(self.oracle, segments) >= -self.margin
        return self.summed(best, segments)
