"""A teacher as a run asks it: within its budget, and blamed for what it gets wrong."""

from typing import TYPE_CHECKING, Any

import numpy as np

from pbrl import registry
from pbrl.errors import CellError, shown
from pbrl.run.signals import guarded
from pbrl.scores import masked_sum
from pbrl.segments import Segments
from pbrl.teachers import Answers, answer_of
from pbrl.teachers.oracle import Oracle

if TYPE_CHECKING:
    from envs.registry import EnvSpec

COUNTS = ("asked", "answered", "skipped", "ties", "wrong", "undecided", "noisy")


class AskedTeacher:
    """Counts what was asked and answered, in total and since the last session row.

    wrong: clear labels against the true return. undecided: pairs of equal scores, whose label is
    the rule of the teacher's `draws`. noisy: clear labels that the annotator who gave them found
    less likely than their opposite.
    """

    def __init__(self, config: dict[str, Any], spec: "EnvSpec", *, budget: int) -> None:
        self.name = config["name"]
        self.budget = budget
        self.counts = dict.fromkeys(COUNTS, 0)
        self.session = dict.fromkeys(COUNTS, 0)
        self._teacher = self._guarded("its construction", registry.make, "teacher", config)
        if hasattr(self._teacher, "bind"):
            scale = {"horizon": spec.horizon, "reward_range": spec.reward_range}
            self._guarded("bind", self._teacher.bind, **scale)

    def consult(self, oracle: Oracle) -> None:
        """Give the teacher the values of the task, if it judges by them."""
        if hasattr(self._teacher, "consult"):
            self._guarded("consult", self._teacher.consult, oracle)

    def probability(self, first: Segments, second: Segments) -> np.ndarray:
        """P(second preferred | answered), float64 [N]: for the record, no learner sees it."""
        found = self._guarded("probability", self._teacher.probability, first, second)
        return np.asarray(found, np.float64)

    def observe_episode(self, true_return: float) -> None:
        """Tell the teacher the return of a training episode, if it wants to know."""
        if hasattr(self._teacher, "observe_episode"):
            self._guarded("observe_episode", self._teacher.observe_episode, true_return)

    def ask(self, first: Segments, second: Segments, rng: np.random.Generator) -> Answers:
        """Labels, float64 [N], and what the run records; every pair spends budget, skipped or not.

        The teacher gets copies on the CPU, so that nothing it does reaches what is learned from.
        Raises CellError for malformed pairs or labels, errors of the teacher, and a spent budget.
        """
        _check_pairs(first, second)
        asked, left = len(first), self.budget - self.counts["asked"]
        if asked > left:
            raise CellError(
                f"run.ask: {asked} pairs asked, but {left} of {self.budget} labels are left (pairs "
                "that a teacher skips count too); ask fewer, or raise labels in the suite"
            )
        copies = [
            side._map(lambda tensor: tensor.detach().cpu().clone()) for side in (first, second)
        ]
        returns = [masked_sum(s.ground_truth.double(), s.mask).cpu().numpy() for s in copies]
        answers = self._guarded("label", self._answers, *copies, rng)
        labels, p = answers.labels, answers.probability
        answered = ~np.isnan(labels)
        clear = answered & (labels != 0.5) & (returns[0] != returns[1])
        new = {
            "asked": asked,
            "answered": int(answered.sum()),
            "skipped": int((~answered).sum()),
            "ties": int((labels == 0.5).sum()),
            "wrong": int(((labels == 1) != (returns[1] > returns[0]))[clear].sum()),
            "undecided": int(answers.undecided.sum()),
            "noisy": int((((labels == 1) & (p < 0.5)) | ((labels == 0) & (p > 0.5))).sum()),
        }
        for total in (self.counts, self.session):
            total |= {key: total[key] + n for key, n in new.items()}
        return answers

    def _answers(self, first: Segments, second: Segments, rng: np.random.Generator) -> Answers:
        found = answer_of(self._teacher, first, second, rng)
        p = np.asarray(found.probability, dtype=np.float64)
        if p.shape != (len(first),) or ((p < 0) | (p > 1)).any():
            raise CellError(f"probability returned {shown(p, limit=80)}; expected [N] in [0, 1]")
        return found._replace(labels=as_labels(found.labels, len(first)), probability=p)

    def _guarded(self, doing: str, call: Any, *given: Any, **named: Any) -> Any:
        return guarded("teacher", self.name, doing, call, *given, **named)

    def end_session(self) -> dict[str, int]:
        """What was asked since the last session row; counts anew from here."""
        session, self.session = self.session, dict.fromkeys(COUNTS, 0)
        return session

    def state_dict(self) -> dict[str, Any]:
        saves = hasattr(self._teacher, "state_dict")
        own = self._guarded("state_dict", self._teacher.state_dict) if saves else {}
        return {"teacher": own, "counts": self.counts, "session": self.session}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if hasattr(self._teacher, "load_state_dict"):
            self._guarded("load_state_dict", self._teacher.load_state_dict, state["teacher"])
        self.counts, self.session = state["counts"], state["session"]


def as_labels(labels: Any, n: int) -> np.ndarray:
    """What a teacher's `label` returned, as float64 [n]; CellError when it is anything else."""
    expected = f"{n} labels, each 0, 0.5, 1 or NaN"
    try:
        found = np.asarray(labels)
        if found.dtype.kind not in "biuf":
            raise TypeError(f"an array of dtype {found.dtype}")
    except (TypeError, ValueError, RuntimeError) as error:  # of another device, ragged, with grad
        shown = f"{type(labels).__name__} ({error})"
        raise CellError(f"label returned {shown:.200}; expected {expected}") from None
    found = found.astype(np.float64)
    if found.shape != (n,):
        raise CellError(f"label returned shape {list(found.shape)}; expected [{n}]: {expected}")
    wrong = found[~(np.isnan(found) | np.isin(found, (0, 0.5, 1)))]
    if len(wrong):
        raise CellError(f"label returned {wrong[0]:g}; expected {expected}")
    return found


def _check_pairs(first: Any, second: Any) -> None:
    """The segments a method asks about; a mistake here is the method's and not the teacher's."""
    if not (isinstance(first, Segments) and isinstance(second, Segments)):
        kinds = f"{type(first).__name__} and {type(second).__name__}"
        raise CellError(f"run.ask: found {kinds}; expected two batches of Segments")
    if first.mask.shape != second.mask.shape or first.mask.ndim != 2:
        shapes = f"{list(first.mask.shape)} and {list(second.mask.shape)}"
        raise CellError(f"run.ask: segments of shapes {shapes}; expected two equal [N, T]")
    if first.reward is None or second.reward is None:
        raise CellError(
            "run.ask: segments without their true reward; a teacher needs it: ask about what "
            "Episodes.sample returns, not about `without_reward()`"
        )
