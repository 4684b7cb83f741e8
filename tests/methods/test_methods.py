"""The methods end to end on small runs: phases, sessions, budgets, early ends.

That they resume exactly and never see the true reward is tested with `pbrl check`.
"""

import math
from typing import Annotated, Any

import gymnasium
import numpy as np
import pytest
import torch
from annotated_types import Ge

import pbrl.run.run as run_module
from pbrl import registry, sessions
from pbrl.agents.exploration import StateEntropy
from pbrl.agents.sac import SAC
from pbrl.check import method as check
from pbrl.errors import CellError, ConfigError
from pbrl.methods import pebble, reed, sac
from pbrl.registry.annotations import bounds
from pbrl.run import execute
from pbrl.run.signals import Interrupted, Stop
from pbrl.segments import Preferences

SMALL: dict[str, Any] = {
    "seed_steps": 110,
    "unsup_steps": 40,
    "label_interval": 50,
    "labels_per_session": 6,
    "segment_length": 8,
    "reward_epochs": 2,
    "reward_hidden": 16,
    "reset_updates": 3,
    "hidden": 16,
    "batch_size": 16,
}
TINY_SFC = {"sfc_updates": 3, "obs_width": 4, "act_width": 4}
LEARNERS = {"pebble": {}, "reed": TINY_SFC}


def cell(method: str, **settings):
    """A cell in memory, its run done: the rows it logged and what it returned."""
    memory = check.MemoryCell(small_config(method, **settings))
    return memory.rows, execute(memory)  # type: ignore[arg-type]


def small_config(
    method: str,
    *,
    steps: int = 310,
    labels: int = 20,
    env: str = "pointmass",
    teacher: str | dict[str, Any] = "oracle",
    eval_every: int = 10_000,
    **settings,
) -> dict[str, Any]:
    if method != "sac":
        settings = SMALL | LEARNERS[method] | settings | {"labels": labels}
    teacher = {"name": teacher} if isinstance(teacher, str) else teacher
    return {
        "kind": "online",
        "env": {"name": env},
        "method": {"name": method, "steps": steps, **settings},
        "teacher": None if method == "sac" else teacher,
        "seed": 0,
        "steps": steps,
        "labels": labels,
        "eval_every": eval_every,
        "eval_episodes": 1,
        "final_episodes": 1,
        "device": "cpu",
        "execution": {"hang_timeout": 600.0, "checkpoint_seconds": 1e9},
    }


def session_rows(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if row["event"] == "session"]


@pytest.mark.parametrize("module", [sac, pebble, reed])
def test_settings_are_frozen_known_and_explained(module) -> None:
    with pytest.raises(ValueError, match="extra"):
        module.Config(stepz=3)
    with pytest.raises(ValueError, match="frozen"):
        module.Config().steps = 3
    parameters = registry.describe("method", module.__name__.rpartition(".")[2]).parameters
    assert parameters.keys() == module.Config.model_fields.keys()
    for name, parameter in parameters.items():
        assert parameter.doc, name
        assert parameter.default == module.Config.model_fields[name].default


@pytest.mark.parametrize("method", ["sac", *LEARNERS])
@pytest.mark.parametrize("end", ["ge", "le"])
def test_what_the_ranges_allow_runs(method: str, end: str) -> None:
    """Every setting at the end of its range, as far as the range has that end."""
    parameters = registry.describe("method", method).parameters
    limits = {n: bounds(p.type).get(end) for n, p in parameters.items()}
    ends = {name: limit for name, limit in limits.items() if limit is not None}
    ends |= {"steps": 150, "hidden": 2}
    if method != "sac":
        ends |= {"unsup_steps": 110, "labels": 3, "query": "entropy"}
    rows, _ = cell(method, **ends)
    assert all(math.isfinite(row["return"]) for row in rows if row["event"] == "eval")


@pytest.mark.parametrize("module", [sac, pebble, reed])
def test_a_cell_refuses_what_the_ranges_exclude(module) -> None:
    for name, value in {"gamma": 1.0, "tau": 0.0, "hidden": 0, "learning_rate": math.inf}.items():
        with pytest.raises(ValueError, match=name):
            module.Config(**{name: value})


@pytest.mark.parametrize("module", [pebble, reed])
def test_the_default_budget_can_be_spent(module) -> None:
    settings = module.Config().model_dump()
    assert sessions.spendable(settings) == settings["labels"]


@pytest.mark.parametrize("method", LEARNERS)
def test_the_budget_is_spent_at_the_planned_steps(method: str) -> None:
    rows, result = cell(method)
    found = [(row["step"], row["asked"]) for row in session_rows(rows)]
    assert found == [(150, 6), (200, 6), (250, 6), (300, 2)]
    assert result["counts"]["asked"] == 20


@pytest.mark.parametrize("query", sorted(registry.names("query")))
def test_the_first_session_is_uniform_the_next_follow_the_rule(query: str, monkeypatch) -> None:
    called: list[tuple[str, int, int]] = []
    make = registry.make

    def spied(kind: str, name: Any) -> Any:
        original = make(kind, name)
        if kind != "query":
            return original

        def choose(first, second, n, **given):
            assert first.reward is None
            assert second.reward is None
            called.append((name, len(first), n))
            return original(first, second, n, **given)

        return choose

    monkeypatch.setattr(registry, "make", spied)
    rows, result = cell("pebble", steps=220, labels=12, query=query, query_candidates=5)
    assert called == [("uniform", 6, 6), (query, 30, 6)]
    assert result["counts"]["answered"] == 12
    assert len(session_rows(rows)) == 2


def test_a_query_with_a_parameter_of_its_own(monkeypatch) -> None:
    asked = []

    def last(first, second, n, *, k: Annotated[int, Ge(1)] = 1, **context):
        asked.append((n, k, sorted(context)))
        return torch.arange(len(first))[-n * k :: k]

    with registry.temporarily("query", "test-last", last):
        cell("pebble", query={"name": "test-last", "k": 3})
        with pytest.raises(ConfigError, match="k = 0; expected a whole number of at least 1"):
            cell("pebble", query={"name": "test-last", "k": 0})
    assert asked == [(n, 3, ["labeled", "reward", "rng"]) for n in (6, 6, 2)]


def test_a_session_in_which_every_question_is_skipped() -> None:
    if "test-silent" not in registry.names("teacher"):
        registry.teacher("test-silent")(Silent)
    rows, result = cell("pebble", teacher="test-silent")
    assert result["counts"] | {"asked": 20, "answered": 0, "skipped": 20} == result["counts"]
    assert [row["epochs"] for row in session_rows(rows)] == [0, 0, 0, 0]


class Silent:
    """A teacher that refuses every question."""

    def label(self, first: Any, second: Any, rng: np.random.Generator) -> np.ndarray:
        return np.full(len(first), np.nan)

    def probability(self, first: Any, second: Any) -> np.ndarray:
        return np.full(len(first), 0.5)


class Brittle(gymnasium.Env[np.ndarray, np.ndarray]):
    """Ends for good after 1 to 12 steps, so most episodes are shorter than a segment."""

    observation_space = gymnasium.spaces.Box(-20.0, 20.0, (2,), np.float32)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = int(self.np_random.integers(1, 13))
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.left -= 1
        obs = np.array([self.left, float(action[0])], np.float32)
        return obs, float(action[0]), self.left == 0, False, {}


@pytest.fixture
def brittle() -> str:
    if "test-brittle" not in registry.names("env"):
        registry.env("test-brittle", horizon=12, reward_range=(-1, 1), early_termination=True)(
            Brittle
        )
    return "test-brittle"


@pytest.mark.parametrize("method", LEARNERS)
def test_episodes_of_any_length(method: str, brittle: str) -> None:
    rows, result = cell(method, env=brittle)
    assert result["counts"]["answered"] == 20
    assert all(np.isfinite(row["loss"]) for row in session_rows(rows))


# --- what is learned from -----------------------------------------------------------------------


@pytest.fixture
def tracked(monkeypatch) -> dict[str, Any]:
    """Filled by the run: what it tracks, and the run itself."""
    found: dict[str, Any] = {}
    original = run_module.Run.track

    def track(run: run_module.Run, **objects: Any) -> None:
        found.update(objects, run=run)
        original(run, **objects)

    monkeypatch.setattr(run_module.Run, "track", track)
    return found


@pytest.mark.parametrize("method", LEARNERS)
def test_after_a_session_every_stored_reward_is_the_learned_one(
    method: str, tracked, monkeypatch
) -> None:
    original, checked = check.MemoryCell.journal, []

    def journal(memory: check.MemoryCell, row: dict[str, Any]) -> None:
        original(memory, row)
        if row["event"] == "session":
            stored = tracked["agent"].replay.all()
            assert len(stored.reward) == row["step"]
            assert torch.allclose(stored.reward, tracked["reward"](stored.obs, stored.act))
            assert stored.reward.std() > 0
            checked.append(row["step"])

    monkeypatch.setattr(check.MemoryCell, "journal", journal)
    cell(method)
    assert checked == [150, 200, 250, 300]


@pytest.mark.parametrize("method", LEARNERS)
def test_what_each_update_learns_from(method: str, tracked, monkeypatch) -> None:
    """The entropy bonus from seed_steps to the switch, the learned reward from then on."""
    bonuses, steps = [], []
    update, bonus = SAC.update, StateEntropy.bonus

    def spied_bonus(*args: Any) -> torch.Tensor:
        bonuses.append(bonus(*args))
        return bonuses[-1]

    def spied_update(agent: SAC, rows: torch.Tensor, **given: Any) -> None:
        step = run_module._CELLS[tracked["run"]].step_number
        steps.append(step)
        if step < 150:
            assert len(bonuses) == len(steps)
            assert given["reward"] is bonuses[-1]
            assert (given["reward"] > 0).all()
        else:
            assert given == {}
            newest = torch.tensor([len(agent.replay) - 1])
            for batch in (agent.replay.at(rows), agent.replay.at(newest)):
                learned = tracked["reward"](batch.obs, batch.act)
                assert torch.allclose(batch.reward, learned, atol=1e-6)
        update(agent, rows, **given)

    monkeypatch.setattr(SAC, "update", spied_update)
    monkeypatch.setattr(StateEntropy, "bonus", spied_bonus)
    cell(method)
    assert steps == [*range(110, 150), *[150] * 3, *range(150, 310)]
    assert len(bonuses) == 40


@pytest.mark.parametrize("method", LEARNERS)
def test_labels_are_stored_for_the_pairs_they_were_given_for(method: str, monkeypatch) -> None:
    seen = []
    original = Preferences.add

    def spied(preferences, first, second, labels):
        returns = [s.ground_truth.sum(1) for s in (first, second)]
        assert torch.equal(labels, (returns[1] > returns[0]).float())
        seen.extend(labels.tolist())
        return original(preferences, first, second, labels)

    monkeypatch.setattr(Preferences, "add", spied)
    cell(method)
    assert len(seen) == 20
    assert set(seen) == {0.0, 1.0}


@pytest.mark.parametrize("method", ["sac", *LEARNERS])
def test_only_true_terminals_end_the_bootstrap(method: str, tracked, brittle: str) -> None:
    settings = {"seed_steps": 110, "hidden": 16, "batch_size": 16}
    rows, _ = cell(method, **settings)
    assert any(row["event"] == "episode" for row in rows)
    assert tracked["agent"].replay.all().terminal.sum() == 0  # pointmass ends at its time limit
    rows, _ = cell(method, env=brittle, **settings)
    ended = sum(row["event"] == "episode" for row in rows)
    assert tracked["agent"].replay.all().terminal.sum() == ended > 20


@pytest.mark.parametrize("method", LEARNERS)
def test_a_reward_that_diverges_stops_the_run(method: str) -> None:
    with pytest.raises(FloatingPointError, match="lower reward_lr"):
        cell(method, reward_lr=1e30)


# --- resuming -----------------------------------------------------------------------------------


def test_the_teacher_is_restored(monkeypatch) -> None:
    """Its tie threshold depends on the returns it has seen, so its later labels do."""
    config = small_config(
        "pebble", teacher={"name": "equal", "eps": 0.3}, eval_every=37, labels_per_session=5
    )
    whole, stopped = check.MemoryCell(config), check.MemoryCell(config, stop_at=148)
    expected = execute(whole)  # type: ignore[arg-type]
    monkeypatch.setattr(Stop, "signal", None)
    with pytest.raises(Interrupted):
        execute(stopped)  # type: ignore[arg-type]
    Stop.signal = None
    found = execute(stopped)  # type: ignore[arg-type]
    assert found["counts"] == expected["counts"]
    assert 0 < found["counts"]["ties"] < 20
    assert stopped.rows == whole.rows
    for name, weights in expected["weights"].items():
        assert all(torch.equal(w, found["weights"][name][k]) for k, w in weights.items())


def test_asking_before_an_episode_is_complete_says_so() -> None:
    with pytest.raises(CellError, match="before the first episode was complete"):
        cell("pebble", seed_steps=10, unsup_steps=10)


def test_dynamics_phases_come_every_nth_session() -> None:
    rows, _ = cell("reed", sfc_interval=2)
    assert [row["sfc_loss"] is None for row in session_rows(rows)] == [False, True, False, True]


def test_dynamics_do_not_shift_what_the_reward_draws(tracked) -> None:
    states = []
    for method, settings in (("pebble", {}), ("reed", {}), ("reed", {"sfc_updates": 7})):
        cell(method, reward_epochs=1, query="uniform", **settings)
        states.append(tracked["run"].rng("queries").bit_generator.state)
        states.append(tracked["reward"].generator.get_state().tolist())
    assert states[2:4] == states[4:]
    assert states[0] == states[2]


def test_the_contrastive_variant_learns_dynamics() -> None:
    """30 of 150 transitions are held out: guessing is among 59 vectors, all but the own one."""
    settings = {"steps": 160, "labels": 6, "sfc_lr": 3e-3, "sfc_epochs": 100}
    losses = []
    for updates in (0, 100):
        rows, _ = cell(
            "reed", variant="contrast", sfc_updates=updates, sfc_temperature=0.1, **settings
        )
        losses += [row["sfc_loss"] for row in session_rows(rows)]
    untrained, trained = losses
    assert untrained > math.log(59)
    assert trained < math.log(59) - 0.5


def test_critics_are_reset_once_and_the_actor_is_kept(monkeypatch) -> None:
    seen = []
    original = SAC.reset_critic

    def spied(agent):
        before = [p.clone() for p in agent.actor.parameters()]
        original(agent)
        kept = zip(before, agent.actor.parameters(), strict=True)
        seen.append((agent._n_updates, len(agent.replay), all(torch.equal(*p) for p in kept)))

    monkeypatch.setattr(SAC, "reset_critic", spied)
    cell("pebble")
    building, switching = seen
    assert building[:2] == (0, 0)
    assert switching == (40, 150, True)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["sac", *LEARNERS])
def test_it_learns_to_reach_the_goal(method: str) -> None:
    learner = {} if method == "sac" else {"labels": 100}
    rows, _ = defaults_on_pointmass(method, **learner)
    returns = [row["return"] for row in rows if row["event"] == "eval"]
    assert returns[-1] > 3 * returns[0], returns


def defaults_on_pointmass(method: str, **settings):
    config = {
        "kind": "online",
        "env": {"name": "pointmass"},
        "method": {"name": method, "steps": 4000, **settings},
        "teacher": None if method == "sac" else {"name": "oracle"},
        "seed": 1,
        "steps": 4000,
        "labels": settings.get("labels", 0),
        "eval_every": 4000,
        "eval_episodes": 10,
        "final_episodes": 10,
        "device": "cpu",
        "execution": {"hang_timeout": 600.0, "checkpoint_seconds": 1e9},
    }
    memory = check.MemoryCell(config)
    return memory.rows, execute(memory)  # type: ignore[arg-type]
