"""Simulated teachers: who labels a pair of segments, and how reliably.

bpref.py, returns.py   compare true returns: B-Pref's six, and later noise models
values.py              compare what segments are worth to an expert: regret and its neighbors
rules.py               judge a property of the whole segment, or by any Python function
population.py          several annotators, one at a time or by majority
comparison.py          the parts that make any of them irrational
oracle.py, expert.py   values of states and actions, exact or a trained expert's

A teacher is any object with the two methods of `Teacher`. It may also have
`bind(horizon=..., reward_range=...)`, called once before it is asked, with the episode length in
steps and the bounds of the true reward of one step; `consult(oracle)`, called once if it is
registered with `oracle=True`; `observe_episode(true_return)`, called at the end of every training
episode; `answer(first, second, rng)`, which says more of each label than `label`; and, if it keeps
state, `state_dict()` and `load_state_dict(state)`.
"""

from typing import Any, NamedTuple, Protocol

import numpy as np

from pbrl.segments import Segments


class Teacher(Protocol):
    """Labels pairs by their ground-truth reward; `pbrl.check.teacher` checks one."""

    def label(self, first: Segments, second: Segments, rng: np.random.Generator) -> np.ndarray:
        """Labels [N]: 0 first preferred, 1 second, 0.5 tie, NaN skipped; noise comes from `rng`."""
        ...

    def probability(self, first: Segments, second: Segments) -> np.ndarray:
        """[N] in [0, 1]: P(second preferred | answered); a tie counts 0.5."""
        ...


class Answers(NamedTuple):
    """Labels, and what no learner sees of them: they are for the record of a run."""

    labels: np.ndarray
    "[N]: 0, 0.5, 1, or NaN where refused."
    probability: np.ndarray
    "[N]: P(second preferred | answered) of who answered."
    undecided: np.ndarray
    "[N] bool: its scores were equal, so that the label is a rule's and not a preference."
    annotator: np.ndarray
    "[N] int: who answered, 0 where there is one annotator."


def answer_of(teacher: Any, first: Segments, second: Segments, rng: np.random.Generator) -> Answers:
    """What any teacher answers: its own `answer`, or its labels with its `probability`.

    Without `answer`, pairs of P = 1/2 count as undecided; without `probability`, P is NaN.
    """
    if hasattr(teacher, "answer"):
        return teacher.answer(first, second, rng)
    p = np.full(len(first), np.nan)
    if hasattr(teacher, "probability"):  # before labels, which may change what it remembers
        p = np.asarray(teacher.probability(first, second), dtype=np.float64)
    labels = teacher.label(first, second, rng)
    return Answers(labels, p, p == 0.5, np.zeros(len(first), dtype=np.int64))
