"""Tabular cells: one learner under one teacher, many repetitions, resumed between repetitions.

Each repetition depends on (seed, its number) alone: its world, where worlds are drawn, its pairs,
the teacher's noise and what the learner draws have streams of their own. All learners and teachers
see the same pairs, and the pairs of a smaller budget are the first of a larger one.
"""

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from envs.registry import EnvSpec
from envs.tabular.solvers import Scale
from envs.tabular.world import World
from pbrl import registry
from pbrl.errors import CellError
from pbrl.run.seeds import stream_seed
from pbrl.run.signals import Interrupted, Party, Stop, beat, guarded
from pbrl.run.teacher import AskedTeacher
from pbrl.store.inputs import opened
from pbrl.tabular import measures, walks
from pbrl.tabular.learner import Learned, violation
from pbrl.tabular.worlds import solved
from pbrl.teachers.oracle import TabularOracle

if TYPE_CHECKING:
    from pbrl.store import Cell


def execute(cell: "Cell") -> dict[str, Any]:
    """Compute the repetitions of a tabular cell, one row `fit` each."""
    config = opened(cell.config)
    restored = cell.restore()
    done = restored[1] if restored else 0
    began = done
    due = time.monotonic() + config["execution"]["checkpoint_seconds"]
    study = Study(config)
    while done < config["repetitions"]:
        beat()
        if done > began and (Stop.signal is not None or time.monotonic() >= due):
            cell.checkpoint({}, step=done)
            due = time.monotonic() + config["execution"]["checkpoint_seconds"]
        if Stop.signal is not None:
            raise Interrupted(Stop.signal)
        cell.journal({"event": "fit", "repetition": done} | study.repetition(done))
        done += 1
    return {"notes": study.notes()}


class Study:
    """What the repetitions of a cell share: a world that is not drawn anew, and its learner."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config
        self.made = self._guarded(
            "world", "its construction", registry.make, "world", config["world"]
        )
        self.learner = registry.make("learner", config["learner"])
        self.fixed = None if hasattr(self.made, "sample") else self._place(self.made, "fixed")
        self.flat = 0

    def rng(self, name: str) -> np.random.Generator:
        return np.random.default_rng(stream_seed(self.config["seed"], f"tabular/{name}"))

    def _place(self, world: World, name: str) -> tuple[World, Scale]:
        """A world with its exact solution, for which the learner prepares itself."""
        scale = solved(world, self.config["world"]["name"])
        if hasattr(self.learner, "prepare"):
            hidden = world.without_reward()
            rng = self.rng(f"{name}/prepare")
            self._guarded("learner", "prepare", self.learner.prepare, hidden, rng)
        return world, scale

    def repetition(self, number: int) -> dict[str, Any]:
        """Draw pairs, have them labeled, learn, and measure."""
        config, name = self.config, str(number)
        if self.fixed is None:
            rng = self.rng(f"{name}/world")
            world, scale = self._place(
                self._guarded("world", "sample", self.made.sample, rng), name
            )
        else:
            world, scale = self.fixed
        teacher = asked_teacher(config, world, scale)
        length, absorbing = config["segment_length"], config["absorbing"]
        first, second = walks.draw(
            world, config["labels"], length, self.rng(f"{name}/pairs"), absorbing=absorbing
        )
        asked = (walks.segments(world, first), walks.segments(world, second))
        labels = teacher.ask(*asked, self.rng(f"{name}/labels")).labels
        answered = ~np.isnan(labels)
        pairs = walks.Pairs(first[answered], second[answered], labels[answered])
        hidden = world.without_reward()
        row: dict[str, Any] = {
            k: teacher.counts[k] for k in ("answered", "ties", "undecided", "noisy", "wrong")
        }
        learned = self.learn(hidden, pairs, self.rng(f"{name}/learn"))
        test = walks.draw(world, config["test_pairs"], length, self.rng(f"{name}/test"))
        chance = teacher.probability(*(walks.segments(world, side) for side in test))
        row |= measures.of_policy(scale, learned)
        row |= self._guarded("learner", "score", measures.of_model, learned, *test, chance)
        self.flat += row["scaled_return"] is None
        if config["folds"]:
            rng = self.rng(f"{name}/folds")
            row["folded_cross_entropy"] = self._guarded(
                "learner",
                "learn",
                measures.folded,
                self.learner,
                hidden,
                pairs,
                config["folds"],
                rng,
            )
        return row

    def learn(self, world: Any, pairs: walks.Pairs, rng: np.random.Generator) -> Learned:
        """What the learner makes of it, held to its contract."""
        learned = self._guarded("learner", "learn", self.learner.learn, world, pairs, rng)
        problem = violation(learned, world)
        if problem:
            raise CellError(f"learner {self.config['learner']['name']!r}: {problem}")
        return learned

    def _guarded(self, party: Party, doing: str, call: Any, *given: Any) -> Any:
        return guarded(party, self.config[party]["name"], doing, call, *given)

    def notes(self) -> list[str]:
        """What a reader must know of the numbers."""
        if not self.flat:
            return []
        return [
            f"in {self.flat} of {self.config['repetitions']} repetitions every policy is equally "
            "good: scaled return and near-optimal are left out there"
        ]


def asked_teacher(config: dict[str, Any], world: World, scale: Scale) -> AskedTeacher:
    """The teacher of a cell, who consults the exact values of the world."""
    spec = EnvSpec(
        config["world"]["name"], config["segment_length"], world.reward_range, None, "", ""
    )
    teacher = AskedTeacher(config["teacher"], spec, budget=config["labels"])
    teacher.consult(TabularOracle(scale.values, scale.action_values, gamma=world.gamma))
    return teacher
