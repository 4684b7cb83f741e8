"""A teacher who compares two segments, made irrational by small parts in a fixed order.

What is compared is the subclass's `score`; the parts are the same for all. Every part draws from a
row of random numbers of its own, and all rows are always drawn, so that switching one part on never
changes what another draws.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Gt, Le
from scipy.special import expit, ndtr

from pbrl.errors import CellError
from pbrl.scores import masked_sum
from pbrl.segments import Segments
from pbrl.teachers import Answers
from pbrl.teachers.threshold import RecentReturns

Discount = Annotated[float, Gt(0), Le(1)]
InverseTemperature = Annotated[float, Gt(0)]
Probability = Annotated[float, Ge(0), Le(1)]
Share = Annotated[float, Ge(0)]
Number = Annotated[float, Ge(-1e6), Le(1e6)]
Draws = Literal["first", "tie", "skip", "coin"]

ROWS = 6  # of random numbers: choice, at random?, then which, mistake, stage mistake, stage skip
# Nodes and weights of the two quadratures of `softened`: of a normal, and of a logistic density.
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(64)
NORMAL = NODES, WEIGHTS / WEIGHTS.sum()
STEP = 0.25
GRID = np.arange(-40, 40, STEP)
LOGISTIC = GRID, STEP * expit(GRID) * expit(-GRID)


@dataclass(kw_only=True, eq=False)
class Comparison:
    """Prefers the segment of larger score. Its parts act in the order of B-Pref's released code.

    A choice by the scores, an answer at random, mistakes; then ties and, last, refusals override
    what was chosen, so a tie is never flipped.
    """

    draws: Draws | None = None
    "What a pair of equal scores gets; null for a tie, or with beta for the coin a choice then is."
    beta: InverseTemperature | None = None
    "Inverse temperature of the choice, P(second) = logistic(beta difference); null for no noise."
    score_noise: Share = 0.0
    "Standard deviation of normal noise on each score, as a share of its size."
    eps_uniform: Probability = 0.0
    "Share of questions answered at random: P becomes (1 - eps) P + eps / 2."
    eps_mistake: Probability = 0.0
    "Probability of a flipped label."
    eps_skip: Share = 0.0
    "A pair is refused when max(R1, R2) <= eps (H/T) Ravg, of undiscounted true returns."
    eps_equal: Share = 0.0
    "A pair is a tie when |R1 - R2| < eps (H/T) Ravg."
    stage_mistake: Probability = 0.0
    "Probability of a flipped label per difference of the stages, in whole episodes (STAIR)."
    stage_skip: Probability = 0.0
    "Probability of a refusal per difference of the stages, in whole episodes (STAIR)."

    def __post_init__(self) -> None:
        self._recent = RecentReturns()
        self._sessions = 0

    # --- what is compared -----------------------------------------------------------------------

    def score(self, segments: Segments) -> np.ndarray:
        """What a segment is worth, [N]."""
        raise NotImplementedError

    def scores(self, first: Segments, second: Segments) -> tuple[np.ndarray, np.ndarray]:
        """What both segments of each pair are worth, [N] each."""
        return self.score(first), self.score(second)

    @property
    def on_draws(self) -> Draws:
        """What a pair of equal scores gets."""
        return self.draws or ("tie" if self.beta is None else "coin")

    @property
    def antisymmetric(self) -> bool:
        """Whether swapping a pair always turns P into 1 - P; "first" has no mirror."""
        return self.on_draws != "first"

    # --- what a run tells -----------------------------------------------------------------------

    def bind(self, *, horizon: int, reward_range: tuple[float, float]) -> None:
        """Give the scale of episodes; only the thresholds need it."""
        if self.eps_skip > 0 or self.eps_equal > 0:
            self._recent.bind(horizon=horizon, reward_range=reward_range)

    def observe_episode(self, true_return: float) -> None:
        """Tell the true return of a training episode that just ended."""
        self._recent.add(true_return)

    # --- labels ---------------------------------------------------------------------------------

    def label(self, first: Segments, second: Segments, rng: np.random.Generator) -> np.ndarray:
        """Labels [N]: 0 first preferred, 1 second, 0.5 a tie, NaN refused."""
        return self.answer(first, second, rng).labels

    def answer(self, first: Segments, second: Segments, rng: np.random.Generator) -> Answers:
        """Labels, each with its probability and whether it was a draw."""
        choice, at_random, either, slip, stage_slip, refusal = rng.random((ROWS, len(first)))
        chance, draw = self._choice(first, second)
        tied, refused = self._ties(first, second, draw), self._refusals(first, second, draw)
        apart = self._stage_difference(first, second)
        labels = (choice < chance).astype(np.float64)
        labels = np.where(at_random < self.eps_uniform, either < 0.5, labels)
        labels = np.where(slip < self.eps_mistake, 1 - labels, labels)
        labels = np.where(stage_slip < self.stage_mistake * apart, 1 - labels, labels)
        labels = np.where(tied, 0.5, labels)
        labels = np.where(refused | (refusal < self.stage_skip * apart), np.nan, labels)
        p = self._with_errors(chance, apart, tied)
        self._sessions += 1
        return Answers(labels, p, draw, np.zeros(len(first), dtype=np.int64))

    def probability(self, first: Segments, second: Segments) -> np.ndarray:
        """[N]: P(second preferred | answered), with every kind of error; a tie counts 0.5.

        For a pair that is refused now: what it would be if it were answered.
        """
        chance, draw = self._choice(first, second)
        apart = self._stage_difference(first, second)
        return self._with_errors(chance, apart, self._ties(first, second, draw))

    def willing(self, first: Segments, second: Segments) -> np.ndarray:
        """[N]: P(the pair is answered)."""
        draw = self._choice(first, second)[1] if self.on_draws == "skip" else np.zeros(len(first))
        sure = self._refusals(first, second, draw.astype(bool))
        return ~sure * (1 - self.stage_skip * self._stage_difference(first, second))

    def _choice(self, first: Segments, second: Segments) -> tuple[np.ndarray, np.ndarray]:
        """P(second is chosen) by the scores alone, and which pairs are a draw, [N] each."""
        a, b = self.scores(first, second)
        gain = b - a
        draw = gain == 0
        on_draw = 0.0 if self.on_draws == "first" else 0.5
        if self.score_noise == 0:
            chance = (gain > 0).astype(np.float64) if self.beta is None else expit(self.beta * gain)
            return np.where(draw, on_draw, chance), draw
        spread = self.score_noise * np.hypot(a, b)
        draw &= spread == 0
        if self.beta is None:
            with np.errstate(divide="ignore", invalid="ignore"):
                chance = ndtr(gain / spread)
        else:
            chance = softened(self.beta * gain, self.beta * spread)
        return np.where(draw, on_draw, chance), draw

    def _with_errors(self, p: np.ndarray, apart: np.ndarray, tied: np.ndarray) -> np.ndarray:
        p = p * (1 - self.eps_uniform) + 0.5 * self.eps_uniform
        for flipped in (self.eps_mistake, self.stage_mistake * apart):
            p = p * (1 - flipped) + (1 - p) * flipped
        return np.where(tied, 0.5, p)

    def _ties(self, first: Segments, second: Segments, draw: np.ndarray) -> np.ndarray:
        """Draws, if they are ties; and pairs too close to call: |R1 - R2| < threshold."""
        tied = draw if self.on_draws == "tie" else np.zeros_like(draw)
        if self.eps_equal == 0:
            return tied
        threshold = self._threshold(self.eps_equal, first.length)
        return tied | (np.abs(true_return(first) - true_return(second)) < threshold)

    def _refusals(self, first: Segments, second: Segments, draw: np.ndarray) -> np.ndarray:
        """Draws, if they are refused; and pairs that are both bad: max(R1, R2) <= threshold."""
        refused = draw if self.on_draws == "skip" else np.zeros_like(draw)
        if self.eps_skip == 0:
            return refused
        threshold = self._threshold(self.eps_skip, first.length)
        best = np.maximum(true_return(first), true_return(second))
        best -= self._recent.low * first.length
        return refused | ((best <= threshold) & (threshold > 0))

    def _threshold(self, eps: float, length: int) -> float:
        return self._recent.threshold(eps, length)

    def _stage_difference(self, first: Segments, second: Segments) -> np.ndarray:
        """How far apart in the task the segments are, [N] in [0, 1]."""
        if self.stage_mistake == 0 and self.stage_skip == 0:
            return np.zeros(len(first))
        return np.abs(_stage(first) - _stage(second)).clip(0, 1)

    def state_dict(self) -> dict[str, Any]:
        return {"recent": self._recent.state_dict(), "sessions": self._sessions}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._recent.load_state_dict(state["recent"])
        self._sessions = state["sessions"]


def softened(margin: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """E[logistic(margin + spread z)] of a standard normal z, [N], to 1e-9.

    With L logistic it is P(margin + spread z + L > 0). A narrow normal is integrated over z; a wide
    one, over which the logistic is a step that nodes in z would miss, over L.
    """
    found = np.empty_like(margin)
    narrow = spread < 2
    m, s = margin[narrow], spread[narrow]
    found[narrow] = sum(w * expit(m + s * z) for z, w in zip(*NORMAL, strict=True))
    m, s = margin[~narrow], spread[~narrow]
    found[~narrow] = sum(w * ndtr((m + x) / s) for x, w in zip(*LOGISTIC, strict=True))
    return found


def true_return(segments: Segments) -> np.ndarray:
    """The undiscounted sum of true rewards, [N]."""
    return masked_sum(segments.ground_truth.double(), segments.mask).cpu().numpy()


def _stage(segments: Segments) -> np.ndarray:
    """Mean over its steps of how much of the task lies behind, [N] in [0, 1]."""
    if segments.stage is None:
        raise CellError(
            "a teacher with stage_mistake or stage_skip needs segments with their stage; ask about "
            "what Episodes.sample returns"
        )
    steps = segments.mask.sum(-1).clamp(min=1)
    return (masked_sum(segments.stage.double(), segments.mask) / steps).cpu().numpy()
