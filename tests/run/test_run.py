"""The run loop: exact resume, named streams, and every fault blamed on whose it is."""

import dataclasses
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from pydantic import BaseModel
from scipy.stats import binom

from pbrl import registry, suite
from pbrl.check.method import MemoryCell, _digest, _execute
from pbrl.errors import CellError, ConfigError, EnvironmentFault
from pbrl.run import Run, evaluation, execute
from pbrl.run.env import ActingEnv, EpisodeEnd
from pbrl.run.online import OnlineCell
from pbrl.run.seeds import stream_int, stream_seed
from pbrl.run.signals import Interrupted, Stop
from pbrl.segments import Episodes, Segments
from pbrl.suites import shipped


class Faulty(gymnasium.Env):
    """A one-dimensional walk that breaks at a chosen step."""

    observation_space = Box(-100, 100, (1,), np.float32)
    action_space = Box(-1, 1, (1,), np.float32)

    def __init__(self, fault: str = "none", at: int = 60) -> None:
        self.fault, self.at, self.count = fault, at, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x = self.np_random.normal(size=1).astype(np.float32)
        return self.x, {}

    def step(self, action):
        self.count += 1
        broken = self.count == self.at
        if broken and self.fault == "raise":
            raise ZeroDivisionError("by zero")
        if broken and self.fault == "exit":
            raise SystemExit(3)
        self.x = np.clip(self.x + action + self.np_random.normal(size=1), -99, 99).astype(
            np.float32
        )
        reward = {"reward": float("nan"), "huge": 1e39}.get(self.fault, 1.0) if broken else 1.0
        obs = self.x * np.nan if broken and self.fault == "obs" else self.x
        over = broken and self.fault
        return obs, reward, over == "terminates", over == "truncates", {}


registry.env("test-faulty", horizon=50, reward_range=(0.0, 1.0))(Faulty)


class Walker:
    """An agent whose weights are a function of every draw and observation it met."""

    def __init__(self) -> None:
        self.weights_ = torch.zeros(2)

    def act(self, obs: np.ndarray, deterministic: bool = False) -> np.ndarray:
        return np.tile(np.tanh(self.weights_[:1].numpy()), (*obs.shape[:-1], 1))

    def state_dict(self) -> dict[str, Any]:
        return {"weights": self.weights_}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.weights_ = state["weights"]


class Config(BaseModel):
    steps: int = 100
    loops: int = 1


def train(run: Any, cfg: Config) -> None:
    agent = Walker()
    rng = run.rng("noise")
    run.track(agent=agent)
    for _ in range(cfg.loops):
        for _step in run.loop(cfg.steps):
            moved = run.step(agent.act(run.obs) * 0 + rng.uniform(-1, 1, 1).astype(np.float32))
            agent.weights_ = 0.9 * agent.weights_ + torch.randn(2) + float(moved.next_obs[0])


registry.method("test-walker", labels=False)(train)


def cell(*, stop_at: int | None = None, **changes: Any) -> MemoryCell:
    env = {"name": "test-faulty", **changes.pop("env", {})}
    method = {"name": "test-walker", **changes.pop("method", {})}
    block = {"kind": "online", "env": env, "method": method, "steps": 173, "eval_every": 40,
             "eval_episodes": 2, "final_episodes": 3, "checkpoint_seconds": 0}  # fmt: skip
    (config,) = suite.cells({"name": "t", "seeds": 1, "blocks": [block | changes]})
    return MemoryCell(config, stop_at=stop_at)


def learned(cell: MemoryCell) -> str:
    return _digest(_execute(cell)["weights"])


def test_an_interrupted_run_ends_with_the_bits_of_an_uninterrupted_one() -> None:
    """The environment has no get_state: it is saved at episode starts and resumed exactly."""
    whole = cell()
    expected = learned(whole)
    for stop_at in (0, 40, 80, 120):  # an episode has 50 steps
        stopped = cell(stop_at=stop_at)
        assert learned(stopped) == expected
        assert stopped.rows == whole.rows


def test_a_stop_within_an_episode_that_cannot_be_saved_keeps_what_the_episode_makes(
    monkeypatch,
) -> None:
    """It goes on to the episode's end while there is time; 60 s pass between other checkpoints."""
    stopped = cell(stop_at=40, checkpoint_seconds=60)
    with pytest.raises(Interrupted):
        execute(stopped)
    monkeypatch.setattr(Stop, "signal", None)
    assert stopped.saved is not None
    assert stopped.saved[1] == 50
    assert learned(stopped) == learned(cell())
    slow = cell(stop_at=40, checkpoint_seconds=60)
    monkeypatch.setattr("pbrl.run.online.TO_EPISODE_END", 0.0)
    with pytest.raises(Interrupted):
        execute(slow)
    assert slow.saved is None


@pytest.mark.parametrize(
    "changes", [{"eval_every": 7}, {"eval_episodes": 5}, {"final_episodes": 9}]
)
def test_how_often_it_is_evaluated_does_not_change_what_is_learned(changes) -> None:
    assert learned(cell(**changes)) == learned(cell())


class Start(gymnasium.Env):
    """Every reward is where the episode started, whatever is done."""

    observation_space = Box(0, 1, (1,), np.float32)
    action_space = Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.start = self.np_random.random()
        return np.array([self.start], np.float32), {}

    def step(self, action):
        return np.array([self.start], np.float32), self.start, False, False, {}


registry.env("test-start", horizon=1, reward_range=(0.0, 1.0))(Start)


def test_each_evaluation_starts_elsewhere_and_all_methods_start_there_too() -> None:
    def rows(method: str, seed: int, **changes: Any) -> dict[tuple[str, int], dict[str, Any]]:
        one = cell(env={"name": "test-start"}, method={"name": method}, **changes)
        one.config["seed"] = seed
        _execute(one)
        return {(r["event"], r["step"]): r for r in one.rows if r["event"] in ("eval", "final")}

    walker = rows("test-walker", 0)
    assert walker[("final", 173)]["episodes"] == 3
    starts = [(r["return"], r["returns_std"]) for r in walker.values()]
    assert len(set(starts)) == len(starts) == 7
    other = rows("random", 0)
    assert {k: r["return"] for k, r in other.items()} == {k: r["return"] for k, r in walker.items()}
    assert rows("random", 0, eval_every=80)[("eval", 80)] == other[("eval", 80)]
    assert rows("random", 1)[("eval", 40)]["return"] != other[("eval", 40)]["return"]


def test_an_evaluation_estimates_the_mean_over_start_states() -> None:
    """50 uniform starts: a mean within 5 standard errors, and a spread of 1/sqrt(12)."""
    one = cell(env={"name": "test-start"}, final_episodes=50)
    _execute(one)
    final = one.rows[-1]
    assert (final["event"], final["episodes"]) == ("final", 50)
    assert abs(final["return"] - 0.5) < 5 * 0.289 / 50**0.5
    assert 0.2 < final["returns_std"] < 0.38
    assert final.keys() - {"episodes"} == one.rows[0].keys()


def test_shipped_suites_evaluate_on_enough_episodes() -> None:
    for name in shipped():
        for config in suite.cells(suite.read(name)):
            if config["kind"] == "online":
                assert config["eval_episodes"] >= 10
                assert config["final_episodes"] >= 50


def test_evaluations_are_due_at_multiples_and_at_the_end() -> None:
    one = cell()
    _execute(one)
    assert [r["step"] for r in one.rows if r["event"] == "eval"] == [0, 40, 80, 120, 160, 173]
    assert [r["step"] for r in one.rows if r["event"] == "episode"] == [50, 100, 150]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (
            "reward",
            r"'test-faulty' returned reward nan.*step \d+, in episode 1 of stream 'env', action",
        ),
        ("obs", r"'test-faulty' returned an observation that is not finite at index \[0\]"),
        ("raise", r"'test-faulty' raised ZeroDivisionError in step: by zero .*\(test_run.py, line"),
        ("exit", r"'test-faulty' raised SystemExit in step: 3"),
        ("huge", r"'test-faulty' returned reward 1e\+39; expected a finite number that float32"),
        ("terminates", r"terminated an episode at step 10; expected early_termination=True"),
        ("truncates", r"truncated an episode at step 10; expected the declared horizon of 50"),
    ],
)
def test_a_fault_of_the_environment_stops_the_run_and_is_blamed_on_it(fault, message) -> None:
    with pytest.raises(EnvironmentFault, match=message):
        _execute(cell(env={"fault": fault, "at": 60}, eval_every=999, eval_episodes=1))


def test_a_second_loop_is_refused() -> None:
    with pytest.raises(CellError, match="a method has one loop"):
        _execute(cell(method={"loops": 2}))


def test_streams_of_different_names_and_seeds_are_unrelated() -> None:
    draws = {
        (seed, name): np.random.default_rng(stream_seed(seed, name)).random(2000)
        for seed in (0, 1)
        for name in ("env", "agent")
    }
    keys = list(draws)
    for i, a in enumerate(keys):
        for b in keys[i + 1 :]:
            # |r| of 2000 independent pairs exceeds 0.1 with probability 1e-5
            assert abs(np.corrcoef(draws[a], draws[b])[0, 1]) < 0.1
    assert stream_int(0, "env/0") != stream_int(0, "env/1")
    assert 0 <= stream_int(3, "torch") < 2**31


def test_an_agent_that_diverged_is_not_blamed_on_the_environment() -> None:
    env = ActingEnv("test-faulty", {}, seed=0, stream="env")
    with pytest.raises(FloatingPointError, match="the agent's action is not finite"):
        env.step(np.array([np.nan]))


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ((np.zeros(1), None, False, False, {}), "raised TypeError in step"),
        ((np.zeros(1), np.zeros(2), False, False, {}), "raised TypeError in step"),
        ((np.zeros(2), 0.0, False, False, {}), r"an observation of shape \(2,\); expected \(1,\)"),
        ((np.zeros(1), 0.0, False), "raised ValueError in step"),
    ],
)
def test_a_malformed_result_is_blamed_on_the_environment(result, message, monkeypatch) -> None:
    env = ActingEnv("test-faulty", {}, seed=0, stream="env")
    monkeypatch.setattr(env.env.env, "step", lambda action: result)
    with pytest.raises(EnvironmentFault, match=message):
        env.step(np.zeros(1))


def test_an_environment_that_cannot_be_closed_changes_no_result(monkeypatch, capfd) -> None:
    monkeypatch.setattr(Faulty, "close", lambda self: 1 / 0)
    one = cell(steps=1, final_episodes=1, eval_episodes=1)
    assert _execute(one)["counts"]["asked"] == 0
    assert "'test-faulty' raised ZeroDivisionError in close" in capfd.readouterr().err


def test_success_is_a_share(monkeypatch) -> None:
    env = ActingEnv("test-faulty", {}, seed=0, stream="env")
    monkeypatch.setattr(
        env.env, "spec_info", dataclasses.replace(env.env.spec_info, success_key="s")
    )
    monkeypatch.setattr(
        env.env.env, "step", lambda a: (np.zeros(1), 0.0, False, False, {"s": np.nan})
    )
    with pytest.raises(EnvironmentFault, match="reported success nan; expected 0 or 1"):
        env.step(np.zeros(1))


def test_an_environment_may_reuse_its_buffer(monkeypatch) -> None:
    env = ActingEnv("test-faulty", {}, seed=0, stream="env")
    buffer = np.zeros(1, np.float32)

    def step(action):
        buffer[0] += 1
        return buffer, 0.0, False, False, {}

    monkeypatch.setattr(env.env.env, "step", step)
    env.step(np.zeros(1))
    moved = env.step(np.zeros(1))
    assert (moved.obs[0], moved.next_obs[0]) == (1, 2)


def pairs(better: float = 0.0, n: int = 8) -> tuple[Segments, Segments]:
    """n pairs of 5 steps; each reward of the second is larger by `better`."""
    wide, steps = torch.zeros(n, 5, 1), torch.zeros(n, 5)
    mask = torch.ones(n, 5, dtype=torch.bool)
    first = Segments(wide, wide, wide, ~mask, mask, steps)
    return first, dataclasses.replace(first, reward=steps + better)


class Scripted:
    """A teacher that does what the test says."""

    script: Any = None

    def label(self, first, second, rng):
        return type(self).script(first, second)


def asking(monkeypatch, script: Any, labels: int = 100) -> tuple[Run, OnlineCell]:
    if "test-scripted" not in registry.names("teacher"):
        registry.teacher("test-scripted")(Scripted)
    monkeypatch.setattr(Scripted, "script", staticmethod(script))
    one = cell()
    one.config |= {"teacher": {"name": "test-scripted"}, "labels": labels}
    computed = OnlineCell(one)  # type: ignore[arg-type]
    return Run(computed), computed


def test_asking_counts_what_was_answered_and_a_draw_is_never_wrong(monkeypatch) -> None:
    run, computed = asking(monkeypatch, lambda *_: np.array([0, 1, 1, 1, 0.5, np.nan, np.nan, 0]))
    run.ask(*pairs())
    assert computed.counts == {
        "asked": 8,
        "answered": 6,
        "skipped": 2,
        "ties": 1,
        "wrong": 0,
        "undecided": 0,
        "noisy": 0,
    }
    run.ask(*pairs(1.0))
    assert computed.counts == {
        "asked": 16,
        "answered": 12,
        "skipped": 4,
        "ties": 2,
        "wrong": 2,
        "undecided": 0,
        "noisy": 0,
    }
    run.log("session")
    run.log("session")
    sessions = [r for r in computed.cell.rows if r["event"] == "session"]  # type: ignore[attr-defined]
    assert [r["asked"] for r in sessions] == [16, 0]


def test_who_answered_is_recorded_and_no_learner_is_told() -> None:
    one = cell()
    crowd = {"name": "population", "annotators": ["oracle", {"name": "mistake", "eps": 1.0}]}
    one.config |= {"teacher": crowd, "labels": 100}
    computed = OnlineCell(one)  # type: ignore[arg-type]
    run = Run(computed)
    told = run.ask(*pairs(1.0))
    assert type(told) is torch.Tensor
    assert told.shape == (8,)
    rows = [row for row in one.rows if row["event"] == "label"]
    assert [row["pair"] for row in rows] == list(range(8))
    assert {row["annotator"] for row in rows} == {0, 1}
    assert [row["answer"] for row in rows] == told.tolist()
    assert [row["p_second"] for row in rows] == told.tolist()  # of who answered, who is sure
    assert [row["answer"] for row in rows] == [1.0 - row["annotator"] for row in rows]
    assert computed.counts["wrong"] == sum(row["annotator"] for row in rows)
    assert computed.counts["noisy"] == 0  # each said what it believes
    public = {name for name in dir(run) if not name.startswith("_")}
    assert not public & {"teacher", "reward", "counts", "cell", "env", "journal"}
    hidden = pairs(1.0)[0].without_reward()
    assert hidden.reward is None
    assert hidden.stage is None


class Staged(Start):
    """Reports how much of its task is done, in its own way, or nonsense."""

    def __init__(self, wrong: bool = False) -> None:
        self.wrong = wrong

    def step(self, action):
        obs, reward, terminated, truncated, info = super().step(action)
        return obs, reward, terminated, truncated, info | {"stage": 7.0 if self.wrong else 0.25}


registry.env("test-staged", horizon=50, reward_range=(0.0, 1.0))(Staged)


def test_a_stage_that_an_environment_reports_reaches_teachers_in_place_of_the_step() -> None:
    stages = {}
    for name in ("test-faulty", "test-staged"):
        acting = ActingEnv(name, {}, seed=0, stream="env")
        episodes = Episodes(1, 1, horizon=50, capacity=2)
        for _ in range(50):
            episodes.add(acting.step(np.zeros(1, dtype=np.float32)))
        stages[name] = episodes.sample(20, 5, np.random.default_rng(0)).stage
    assert (stages["test-staged"] == 0.25).all()
    steps = stages["test-faulty"] * 50
    torch.testing.assert_close(steps.diff(dim=1), torch.ones(20, 4))
    acting = ActingEnv("test-staged", {"wrong": True}, seed=0, stream="env")
    with pytest.raises(EnvironmentFault, match=r"reported stage 7.0; expected a number in \[0, 1"):
        acting.step(np.zeros(1, dtype=np.float32))


def test_labels_against_the_belief_of_who_gave_them_are_counted_as_noise() -> None:
    one = cell()
    one.config |= {"teacher": {"name": "mistake", "eps": 0.3}, "labels": 8000}
    computed = OnlineCell(one)  # type: ignore[arg-type]
    for _ in range(500):
        Run(computed).ask(*pairs(1.0))
    low, high = binom.ppf([5e-7, 1 - 5e-7], 4000, 0.3)
    assert low <= computed.counts["noisy"] == computed.counts["wrong"] <= high


def test_a_spent_budget_is_refused_before_the_teacher_is_asked(monkeypatch) -> None:
    asked: list[int] = []
    run, computed = asking(monkeypatch, lambda a, b: asked.append(len(a)) or np.full(8, np.nan), 20)
    run.ask(*pairs())
    run.ask(*pairs())
    with pytest.raises(CellError, match="8 pairs asked, but 4 of 20 labels are left"):
        run.ask(*pairs())
    assert asked == [8, 8]
    assert computed.counts["asked"] == computed.counts["skipped"] == 16


def test_a_teacher_that_writes_into_its_segments_reaches_nobody(monkeypatch) -> None:
    def vandal(first: Segments, second: Segments) -> np.ndarray:
        for side in (first, second):
            for tensor in side.tensors().values():
                tensor.numpy()[...] = 0  # past torch's count of versions
        return np.ones(8)

    run, computed = asking(monkeypatch, vandal)
    given, kept = pairs(-1.0), pairs(-1.0)
    run.ask(*given)
    assert computed.counts["wrong"] == 8
    for side, before in zip(given, kept, strict=True):
        assert all(torch.equal(v, before.tensors()[k]) for k, v in side.tensors().items())


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (
            lambda *_: 1 / 0,
            r"raised ZeroDivisionError in label: .*\(test_run.py, line",
        ),
        (lambda *_: exit(1), "'test-scripted' raised SystemExit in label"),
        (lambda *_: np.zeros(7), r"'test-scripted': label returned shape \[7\]; expected \[8\]"),
        (lambda *_: np.zeros((8, 1)), r"label returned shape \[8, 1\]"),
        (
            lambda *_: np.full(8, 0.7),
            "label returned 0.7; expected 8 labels, each 0, 0.5, 1 or",
        ),
        (lambda *_: ["1"] * 8, "label returned list .an array of dtype <U1"),
        (lambda *_: [[1], [0, 1]], "label returned list"),
        (lambda *_: None, "label returned NoneType"),
        (lambda *_: torch.zeros(8, requires_grad=True), "label returned Tensor"),
    ],
)
def test_a_teachers_mistake_is_told_with_its_name(script, message, monkeypatch) -> None:
    with pytest.raises(CellError, match=message):
        asking(monkeypatch, script)[0].ask(*pairs())


@pytest.mark.parametrize(
    "labels", [np.ones(8, bool), np.ones(8, np.float16), [1] * 8, torch.ones(8), (1.0,) * 8]
)
def test_labels_of_any_number_type_are_taken(labels, monkeypatch) -> None:
    found = asking(monkeypatch, lambda *_: labels)[0].ask(*pairs())
    assert found.dtype == torch.float32
    assert found.tolist() == [1.0] * 8


def test_pairs_a_method_got_wrong_are_its_own_mistake(monkeypatch) -> None:
    run, _ = asking(monkeypatch, lambda *_: np.ones(8))
    first, second = pairs()
    for wrong, message in [
        ((first, second.without_reward()), "without their true reward"),
        ((first, second[:3]), r"shapes \[8, 5\] and \[3, 5\]"),
        ((first.obs, second.obs), "found Tensor and Tensor; expected two batches of Segments"),
    ]:
        with pytest.raises(CellError, match=message):
            run.ask(*wrong)


# --- what a method may touch, and may write ------------------------------------------------------


def test_a_run_shows_a_method_its_public_interface_and_nothing_else() -> None:
    run = Run(OnlineCell(cell()))  # type: ignore[arg-type]
    public = {name for name in vars(Run) if not name.startswith("_")}
    assert vars(run) == {}
    assert {name for name in dir(run) if not name.startswith("__")} == public
    assert public == {
        "spec", "observation_space", "action_space", "device", "obs",
        "rng", "torch_seed", "track", "loop", "step", "ask", "log",
    }  # fmt: skip


STEPS = {
    "twice": (lambda run: (run.step(UP), run.step(UP)), "called 2 times by step 0"),
    "a list": (
        lambda run: run.step([0.5]),
        r"is list \[0.5\].*expected a float32 array \[1\]",
    ),
    "two numbers": (
        lambda run: run.step(np.zeros(2)),
        r"float64 \[2\].*float32 array \[1\]",
    ),
    "whole numbers": (lambda run: run.step(np.zeros(1, int)), r"int64 \[1\].*float32 array"),
    "out of the box": (
        lambda run: run.step(UP * 1.001),
        "1.001.*: clip it, or squash it",
    ),
    "a tensor": (lambda run: run.step(torch.zeros(1)), "action is Tensor"),
    "nothing": (lambda run: run.step(None), "action is NoneType None"),
    "exit": (lambda run: exit(4), r"method 'test-does' called sys.exit\(4\)"),
    "seed": (lambda run: run.log("fit", seed=1), "'seed' is a column that the run fills in itself"),
    "asked": (lambda run: run.log("session", asked=1), "'asked' is a column that the run fills in"),
    "forged": (lambda run: run.log("eval", score=1), "rows 'eval' are the run's own"),
    "array": (lambda run: run.log("fit", loss=np.zeros(2)), r"loss is a ndarray of shape \[2\]"),
    "huge": (lambda run: run.log("fit", loss=2**63), "loss is a int; expected a number of 64 bits"),
    "text": (
        lambda run: (run.log("fit", a=1), run.log("fit", a="x")),
        "a is a str; rows before it hold numbers",
    ),
    "long text": (lambda run: run.log("fit", a="x" * 1001), "text of at most 1000 characters"),
    "half a letter": (lambda run: run.log("fit", a="\ud800"), "a is a str; expected a number"),
    "no name": (lambda run: run.log(5), "the name 5 is no text"),
    "odd name": (
        lambda run: run.log("fit", **{"\x1b[31m": 1}),
        "is no text; expected a short",
    ),
    "text as return": (
        lambda run: run.log("fit", **{"return": "x"}),
        "rows before it hold numbers",
    ),
}
UP = np.ones(1, np.float32)


class Does(BaseModel):
    steps: int = 100
    what: str = ""


def does(run: Any, cfg: Does) -> None:
    run.track(agent=Walker())
    for _ in run.loop(cfg.steps):
        STEPS[cfg.what][0](run)


registry.method("test-does", labels=False)(does)


@pytest.mark.parametrize("what", STEPS)
def test_a_methods_mistake_is_told_as_its_own(what: str) -> None:
    with pytest.raises(CellError, match=STEPS[what][1]) as caught:
        _execute(cell(method={"name": "test-does", "what": what}))
    assert not isinstance(caught.value, EnvironmentFault)


def test_what_is_logged_becomes_plain_values() -> None:
    computed = OnlineCell(cell())  # type: ignore[arg-type]
    Run(computed).log(
        "fit", a=np.float32(0.5), b=torch.tensor(3), c=True, d=None, e="x", f=np.int8(2)
    )
    (row,) = computed.cell.rows  # type: ignore[attr-defined]
    assert row == {
        "event": "fit",
        "step": 0,
        "a": 0.5,
        "b": 3,
        "c": True,
        "d": None,
        "e": "x",
        "f": 2,
    }
    assert [type(v) for v in list(row.values())[2:]] == [float, int, bool, type(None), str, int]


def test_the_learned_reward_is_judged_on_segments_it_was_not_asked_about() -> None:
    cpu = torch.device("cpu")
    rng = np.random.default_rng(0)
    played = [
        evaluation.Episode(x[:, None], np.zeros((len(x), 1)), x, EpisodeEnd(x.sum(), len(x), None))
        for x in (rng.normal(size=n) for n in (130, 24, 270))  # 24 steps make no segment
    ]
    judge = evaluation.reward_accuracy
    for sign, accuracy in ((1.0, 1.0), (-1.0, 0.0)):
        assert judge(lambda o, a, sign=sign: sign * o[:, 0], played, cpu) == accuracy
    noise = judge(lambda o, a: torch.as_tensor(rng.normal(size=len(o))), played, cpu)
    assert 0.05 < noise < 0.95
    assert judge(lambda o, a: 1 / 0, played[1:2], cpu) is None


class Ends(gymnasium.Env):
    """Episodes of 1 to 12 steps; the reward is what the agent did, plus noise of the episode."""

    observation_space = Box(-99, 99, (2,), np.float32)
    action_space = Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = int(self.np_random.integers(1, 13))
        return self.np_random.normal(size=2).astype(np.float32), {}

    def step(self, action):
        self.left -= 1
        obs = self.np_random.normal(size=2).astype(np.float32) + action
        return obs, float(action[0]) + self.np_random.normal(), self.left == 0, False, {}


registry.env("test-ends", horizon=12, reward_range=(-99, 99), early_termination=True)(Ends)


class Solved(Ends):
    """Episodes of three steps, solved at the second alone."""

    def reset(self, *, seed=None, options=None):
        obs, info = super().reset(seed=seed)
        self.left = 3
        return obs, info

    def step(self, action):
        obs, reward, ended, truncated, _ = super().step(action)
        return obs, reward, ended, truncated, {"success": float(self.left == 1)}


registry.env(
    "test-solved",
    horizon=12,
    reward_range=(-99, 99),
    early_termination=True,
    success_key="success",
)(Solved)


def test_an_episode_is_solved_when_it_was_at_any_step() -> None:
    assert [episode.end.success for episode in played(2, 3, name="test-solved")] == [1.0] * 3


class Tanh:
    """An agent whose arithmetic is the same for one observation and for several."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def act(self, obs, deterministic=False):
        self.asked.append(len(obs))
        return np.tanh(obs[..., :1] * 3)


def played(lanes: int, episodes: int, agent: Any = None, name: str = "test-ends") -> list[Any]:
    lane = [ActingEnv(name, {}, seed=0, stream="eval") for _ in range(lanes)]
    return evaluation.play(
        agent or Tanh(),
        lane,
        stream="eval/7",
        episodes=episodes,
        device=torch.device("cpu"),
        beat=lambda: None,
    )


@pytest.mark.parametrize("lanes", [1, 2, 5, 30])
def test_an_episode_is_the_same_however_many_are_played_at_once(lanes) -> None:
    agent = Tanh()
    expected, found = played(1, 23), played(lanes, 23, agent)
    for one, other in zip(expected, found, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one[:3], other[:3], strict=True))
        assert one.end == other.end
    assert sum(agent.asked) == sum(len(e.reward) for e in found)
    assert max(agent.asked) == min(lanes, 23)
    assert played(lanes, 9)[8].end == found[8].end
    assert len({e.end.ret for e in found}) == 23


def test_an_agent_that_draws_when_it_is_evaluated_changes_nothing_afterwards() -> None:
    class Drawing(Tanh):
        def act(self, obs, deterministic=False):
            return super().act(obs) * torch.rand(1).numpy()

    before = torch.get_rng_state()
    (once,), (again,) = (played(1, 1, Drawing()) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert once.end == again.end != played(1, 1)[0].end


def test_a_fault_in_an_evaluation_tells_its_episode(monkeypatch) -> None:
    step = Ends.step
    monkeypatch.setattr(
        Ends, "step", lambda self, a: (*step(self, a)[:1], np.nan, *step(self, a)[2:])
    )
    with pytest.raises(EnvironmentFault, match=r"step 0, in episode 0 of stream 'eval/7', action"):
        played(3, 5)


def test_an_agent_that_fails_is_not_told_to_take_several_observations() -> None:
    class Broken:
        def act(self, obs, deterministic=False):
            raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        played(2, 2, Broken())


def test_an_evaluation_shows_that_it_goes_on_before_every_step() -> None:
    events: list[str] = []

    class Slow(Ends):
        def step(self, action):
            events.append("step")
            return super().step(action)

    lane = [ActingEnv("test-ends", {}, seed=0, stream="eval") for _ in range(3)]
    for env in lane:
        env.env.env.__class__ = Slow
    evaluation.play(
        Tanh(), lane, stream="e", episodes=7, device=torch.device("cpu"),
        beat=lambda: events.append("beat"),
    )  # fmt: skip
    assert events == ["beat", "step"] * (len(events) // 2)


def test_a_device_that_is_not_here_is_a_clear_error() -> None:
    with pytest.raises(ConfigError, match="device 'cuda:99' cannot be used here"):
        OnlineCell(cell(device="cuda:99"))  # type: ignore[arg-type]
