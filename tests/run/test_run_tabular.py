"""Tabular cells: rows, repetition by repetition; what is refused when planned; whose fault."""

from collections.abc import Callable

import numpy as np
import pytest

from envs.tabular import grids
from envs.tabular.world import World
from pbrl import registry, store, suite
from pbrl.check.method import MemoryCell
from pbrl.errors import CellError, ConfigError
from pbrl.report import names
from pbrl.run import tabular
from pbrl.tabular.learner import RECORDED, Learned
from pbrl.tabular.partial_return import PartialReturn

SMALL = {"world": "loop-mdp", "learner": "partial-return", "labels": 40, "test_pairs": 50}


def configs(**block) -> list[dict]:
    block = {"kind": "tabular", **SMALL, "repetitions": 3, **block}
    return suite.cells({"name": "t", "seeds": 2, "blocks": [block]})


def rows(**block) -> list[dict]:
    (config,) = configs(**block)
    cell = MemoryCell(config)
    tabular.execute(cell)  # type: ignore[arg-type]
    return cell.rows


def test_a_row_for_each_repetition_holds_every_measure() -> None:
    found = rows(folds=4, teacher="stochastic")
    assert [row["repetition"] for row in found] == [0, 1, 2]
    for row in found:
        assert row["event"] == "fit"
        assert row["answered"] == 40
        assert row["scaled_return"] <= 1 + 1e-9
        assert row["near_optimal"] == float(row["scaled_return"] >= 0.9)
        assert 0 <= row["starc"] <= 2
        assert 0 <= row["accuracy"] <= 1
        assert row["entropy"] <= row["cross_entropy"]
        assert 0 <= row["calibration"] <= 1
        assert row["folded_cross_entropy"] > 0


@pytest.mark.parametrize("title", [store.title, names.title])
def test_cells_of_one_suite_have_titles_of_their_own(title: Callable[[dict], str]) -> None:
    titles = [
        title(config)
        for config in configs(labels=[40, 300], learner=["regret", "greedy-advantage"])
    ]
    assert len({*titles}) == 4
    assert "300 labels" in titles[1]


def test_what_a_run_records_is_no_learners_to_name() -> None:
    """A measure of a learner with the name of one of these is refused, and stands in no row."""
    own = {"max_advantage", "best_loop"}
    found = rows(folds=2, repetitions=1, learner="greedy-advantage")[0]
    assert {*found} - RECORDED == own


def test_a_suite_is_a_product_and_a_cell_has_the_first_seed() -> None:
    found = configs(
        world=["delivery", "riverswim"], teacher=["oracle", "stochastic"], labels=[10, 20],
        learner=["regret", "greedy-advantage"], absorbing=[True, False], segment_length=[1, 2],
    )  # fmt: skip
    assert len(found) == 64
    assert {cell["seed"] for cell in found} == {0}


def test_learners_and_budgets_share_worlds_and_pairs() -> None:
    """What a teacher says of few labels is the beginning of what it says of many."""
    learned: dict[str, list] = {}

    class Spy(PartialReturn):
        def learn(self, world, pairs, rng):
            learned.setdefault(self.key, []).append((world, pairs))
            return super().learn(world, pairs, rng)

    def spied(key: str):
        def make() -> Spy:
            spy = Spy()
            spy.key = key
            return spy

        make.meta = {}
        return make

    for key, labels in (("few", 30), ("many", 60)):
        with registry.temporarily("learner", f"spy-{key}", spied(key)):
            rows(learner=f"spy-{key}", labels=labels, teacher="oracle")
    for (one, few), (other, many) in zip(learned["few"], learned["many"], strict=True):
        assert np.array_equal(one.transitions, other.transitions)
        assert np.array_equal(few.labels, many.labels[:30])
        assert np.array_equal(few.first.states, many.first.states[:30])
        assert not isinstance(one, World)  # no reward in it


def test_a_repetition_depends_on_its_number_alone() -> None:
    whole = rows(learner="regret", world="loop-mdp")
    (config,) = configs(learner="regret")
    study = tabular.Study(config)
    for number in (2, 0):
        again = {"event": "fit", "repetition": number} | study.repetition(number)
        assert again == whole[number]


class Constant:
    """A world in which nothing matters."""

    def sample(self, rng: np.random.Generator) -> World:
        made = grids.loop_mdp().sample(rng)
        return World(
            made.transitions, made.features, made.start, made.terminal, 0.9, weights=np.zeros(6)
        )


def constant() -> Constant:
    return Constant()


def test_a_world_without_a_better_policy_is_told() -> None:
    with registry.temporarily("world", "test-constant", constant):
        (config,) = configs(world="test-constant")
        cell = MemoryCell(config)
        summary = tabular.execute(cell)  # type: ignore[arg-type]
    assert [row["scaled_return"] for row in cell.rows] == [None] * 3
    assert "in 3 of 3 repetitions every policy is equally good" in summary["notes"][0]


class Wrong:
    def learn(self, world, pairs, rng):
        return Learned(np.zeros((world.states, world.actions)), len)


class Raising:
    def learn(self, world, pairs, rng):
        return world.weights


@pytest.mark.parametrize(
    ("learner", "message"),
    [
        (Wrong, "learner 'test-wrong': a row of the policy is no probability"),
        (Raising, "learner 'test-wrong' raised AttributeError in learn"),
    ],
)
def test_a_fault_is_told_as_whose_it_is(learner: type, message: str) -> None:
    learner.meta = {}
    with (
        registry.temporarily("learner", "test-wrong", learner),
        pytest.raises(CellError, match=message),
    ):
        rows(learner="test-wrong")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"world": "delivry"}, "unknown world 'delivry'; did you mean 'delivery'"),
        ({"learner": "regrets"}, "unknown learner 'regrets'; did you mean 'regret'"),
        ({"world": {"name": "delivery", "gamma": 1.5}}, r"gamma = 1.5; expected .* in \[0, 1\]"),
        ({"world": {"name": "delivery", "gamma": 1}}, "gamma = 1; expected less: learners plan"),
        ({"learner": {"name": "regret", "gamma": 1}}, r"gamma = 1; expected"),
        ({"teacher": "skip"}, "teacher skip: skip follows the episodes of an agent"),
        ({"teacher": "rock-paper-scissors"}, "rock-paper-scissors measures places or actions"),
        (
            {"teacher": {"name": "population", "annotators": [{"name": "goal", "goal": [1, 2]}]}},
            "teacher population: goal measures places",
        ),
        ({"teacher": {"name": "partial-return", "effort": 1}}, "effort measures places or actions"),
        ({"teacher": {"name": "regret", "expert": "poor"}}, "expert = 'poor' is a stage"),
        (
            {
                "teacher": {
                    "name": "population",
                    "annotators": [
                        {"name": "majority", "annotators": ["oracle", "myopic"], "shares": [1, 1]}
                    ],
                }
            },
            r"shares = \[1.0, 1.0\] of 2 annotators, which sum to 2",
        ),
        ({"learner": {"name": "regret", "temperature": 1e-300}}, "temperature = 1e-300; expected"),
        ({"teacher": {"name": "range-noise", "noise": 1e300}}, r"expected a number in \[0, 1_?000"),
        (
            {"teacher": {"name": "composed", "eps_equal": 0.1}},
            "eps_equal follows the episodes of an agent that is trained",
        ),
        (
            {"teacher": {"name": "population", "annotators": ["oracle", "skip"]}},
            "skip follows the episodes",
        ),
        (
            {"teacher": {"name": "population", "shares": [0.5, 0.2, 0.2]}},
            "sum to 0.9; expected one each, which sum to 1",
        ),
        ({"folds": 1}, r"folds: found 1; expected 0, or at least 2 and at most 40"),
        ({"folds": 50}, "at least 2 and at most 40"),
        ({"labels": 0}, "labels.*expected a whole number"),
        ({"absorbing": "no"}, "absorbing.*expected true or false"),
        ({"steps": 3}, "blocks.0.steps: unknown key"),
    ],
)
def test_refused_when_it_is_planned(change: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        configs(**change)


def test_a_world_with_a_state_out_of_reach_is_refused_when_it_is_planned() -> None:
    def lost(away: int = 1) -> World:
        leads = np.tile(np.eye(3)[0], (3, 2, 1))
        return World(
            leads, np.ones((3, 2, 3, 1)), np.eye(3)[0], np.zeros(3, bool), 0.9, weights=np.ones(1)
        )

    with (
        registry.temporarily("world", "test-lost", lost),
        pytest.raises(ConfigError, match="2 of 3 states cannot be reached, such as state 1"),
    ):
        configs(world={"name": "test-lost", "away": 2})
