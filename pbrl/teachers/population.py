"""Several annotators: one answers each question, or all of them vote.

Every annotator is a teacher of its own, with its own reward and its own noise, and draws from a
stream of its own. Who answered is in the record of the run and never reaches the learner.
"""

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Ge, Le, Len

from pbrl import registry
from pbrl.errors import ConfigError
from pbrl.segments import Segments
from pbrl.teachers import Answers, answer_of
from pbrl.teachers.comparison import Comparison

Annotator = Annotated[str | dict[str, Any], registry.Names("teacher")]
Annotators = Annotated[list[Annotator], Len(1, 1000)]
Shares = Annotated[list[Annotated[float, Ge(0), Le(1)]], Len(1, 1000)]


class Crowd:
    """The annotators of a population, each told what a run tells its teacher."""

    def __init__(self, annotators: Annotators, shares: Shares | None) -> None:
        self.members = [registry.make("teacher", one) for one in annotators]
        self.shares = np.array(shares or [1 / len(annotators)] * len(annotators))
        if len(self.shares) != len(self.members) or abs(self.shares.sum() - 1) > 1e-6:
            raise ConfigError(
                f"shares = {[float(x) for x in self.shares]} of {len(self.members)} annotators; "
                "expected one each, which sum to 1"
            )

    def tell(self, method: str, *given: Any, **named: Any) -> None:
        """Call a method of every annotator that has it."""
        for one in self.members:
            if hasattr(one, method):
                getattr(one, method)(*given, **named)

    def probabilities(self, first: Segments, second: Segments) -> np.ndarray:
        """P(second preferred | answered) of every annotator, [K, N]."""
        return np.stack([one.probability(first, second) for one in self.members])

    def willing(self, first: Segments, second: Segments) -> np.ndarray:
        """P(the pair is answered) of every annotator, [K, N]; 1 where one does not tell."""
        return np.stack(
            [
                one.willing(first, second) if hasattr(one, "willing") else np.ones(len(first))
                for one in self.members
            ]
        )

    def state_dict(self) -> dict[str, Any]:
        return {
            str(k): one.state_dict()
            for k, one in enumerate(self.members)
            if hasattr(one, "state_dict")
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for k, one_state in state.items():
            self.members[int(k)].load_state_dict(one_state)


@registry.teacher("population", oracle=True)
class Population:
    """Each question goes to one annotator, drawn by the shares; the learner cannot tell to whom.

    `shares` are those of the annotators, in their order, and sum to 1; null for equal ones.
    """

    def __init__(
        self,
        annotators: Annotators = ("oracle", "myopic", "stochastic"),  # type: ignore[assignment]
        shares: Shares | None = None,
    ) -> None:
        self._crowd = Crowd(annotators, shares)

    @property
    def antisymmetric(self) -> bool:
        """Whether swapping a pair always turns P into 1 - P."""
        return all(getattr(one, "antisymmetric", False) for one in self._crowd.members)

    def bind(self, *, horizon: int, reward_range: tuple[float, float]) -> None:
        self._crowd.tell("bind", horizon=horizon, reward_range=reward_range)

    def consult(self, oracle: Any) -> None:
        self._crowd.tell("consult", oracle)

    def observe_episode(self, true_return: float) -> None:
        self._crowd.tell("observe_episode", true_return)

    def label(self, first: Segments, second: Segments, rng: np.random.Generator) -> np.ndarray:
        """Labels [N] of whoever was asked."""
        return self.answer(first, second, rng).labels

    def answer(self, first: Segments, second: Segments, rng: np.random.Generator) -> Answers:
        """Labels with who gave each; a member's stream starts from a draw of its own."""
        crowd, n = self._crowd, len(first)
        streams = rng.integers(2**63, size=len(crowd.members))
        ends = np.cumsum(crowd.shares)
        who = np.minimum(np.searchsorted(ends, rng.random(n), side="right"), len(ends) - 1)
        found = Answers(np.empty(n), np.empty(n), np.empty(n, dtype=bool), who)
        for k, member in enumerate(crowd.members):
            own = np.random.Generator(np.random.PCG64(int(streams[k])))
            asked = np.flatnonzero(who == k)
            rows = torch.from_numpy(asked).to(first.device)
            one = answer_of(member, first[rows], second[rows], own)
            for mine, whole in zip(one[:3], found[:3], strict=True):
                whole[asked] = mine
        return found

    def probability(self, first: Segments, second: Segments) -> np.ndarray:
        """[N]: the mean over those who answer; over all where nobody does."""
        weight = self._crowd.shares[:, None] * self._crowd.willing(first, second)
        weight = np.where(weight.sum(0) > 0, weight, self._crowd.shares[:, None])
        return (weight * self._crowd.probabilities(first, second)).sum(0) / weight.sum(0)

    def willing(self, first: Segments, second: Segments) -> np.ndarray:
        """[N]: P(the pair is answered)."""
        return self._crowd.shares @ self._crowd.willing(first, second)

    def state_dict(self) -> dict[str, Any]:
        return self._crowd.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._crowd.load_state_dict(state)


@registry.teacher("majority", oracle=True)
@dataclass(kw_only=True, eq=False)
class Majority(Comparison):
    """What most annotators prefer, each counted by its share; the vote itself may be noisy too.

    A majority of transitive annotators can be intransitive (Condorcet), so that no reward explains
    it.
    """

    annotators: Annotators = ("oracle", "myopic", "stochastic")  # type: ignore[assignment]
    "Teachers by name, or {name: ..., key: value}."
    shares: Shares | None = None
    "Their shares, in the same order, which sum to 1; null for equal ones."

    def __post_init__(self) -> None:
        super().__post_init__()
        self._crowd = Crowd(self.annotators, self.shares)

    def bind(self, *, horizon: int, reward_range: tuple[float, float]) -> None:
        super().bind(horizon=horizon, reward_range=reward_range)
        self._crowd.tell("bind", horizon=horizon, reward_range=reward_range)

    def consult(self, oracle: Any) -> None:
        self._crowd.tell("consult", oracle)

    def observe_episode(self, true_return: float) -> None:
        super().observe_episode(true_return)
        self._crowd.tell("observe_episode", true_return)

    def scores(self, first: Segments, second: Segments) -> tuple[np.ndarray, np.ndarray]:
        """0, and the share for the second less the share for the first."""
        leanings = np.sign(self._crowd.probabilities(first, second) - 0.5)
        return np.zeros(len(first)), np.round(self._crowd.shares @ leanings, 9)

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"members": self._crowd.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self._crowd.load_state_dict(state["members"])


@registry.teacher("rock-paper-scissors")
def rock_paper_scissors() -> Majority:
    """Three sub-populations that each rank segments by angle, a third of a turn apart, and vote.

    Of three segments a third of a turn apart each beats the next with two votes to one: the only
    fair policy is to mix all three (SPO's intransitive teacher, in the plane).
    """
    return Majority(annotators=[{"name": "angle", "turn": k / 3} for k in range(3)])
