"""`pbrl check` passes every built-in and catches plug-ins that break their contract."""

import sys
from pathlib import Path

import pytest

from pbrl import check, registry, suite
from pbrl.errors import ConfigError

METHOD = '''
"""A method made for a test."""
import numpy as np
import torch
from pydantic import BaseModel
import pbrl.registry as registry
from pbrl.segments import Episodes

class Config(BaseModel):
    steps: int = 100
    labels: int = 10

class Agent:
    def __init__(self):
        self.w = torch.zeros(4)
    def act(self, obs, deterministic=False):
        return np.tanh(np.full((*obs.shape[:-1], 2), float(self.w[0]), dtype=np.float32))
    def state_dict(self):
        return {"w": self.w}
    def load_state_dict(self, state):
        self.w = state["w"]

@registry.method("NAME")
def train(run, cfg: Config):
    agent, rng, count = Agent(), run.rng("actions"), 0
    episodes = Episodes(4, 2, horizon=run.spec.horizon, capacity=100)
    run.track(agent=agent, episodes=episodes)
    for step in run.loop(cfg.steps):
        moved = run.step(rng.uniform(-1, 1, 2).astype(np.float32))
        count += 1
        agent.w = 0.9 * agent.w + torch.as_tensor(rng.normal(size=4), dtype=torch.float32)
        LIE
'''

METHOD_LIES = {
    "honest": ("agent.w[0] += float(moved.next_obs[0])", None),
    "untracked": ("agent.w[0] += count", "some state is not in run.track"),
    "ground truth": ("agent.w[0] += moved.reward", "expected labels to be all it learns from"),
    "true return": (
        "agent.w[0] += moved.episode.ret if moved.episode else 0.0",
        "expected labels to be all it learns from",
    ),
    "true return of the run": (
        "agent.w[0] += getattr(vars(run).get('_env'), 'ret', 0.0)",
        None,  # there is no such attribute
    ),
    "true return behind the run": (
        "import pbrl.run.run as m; agent.w[0] += m._CELLS[run].env.ret",
        "expected labels to be all it learns from",
    ),
    "success behind the run": (
        "import pbrl.run.run as m; agent.w[0] += m._CELLS[run].env.success or 0",
        "expected labels to be all it learns from",
    ),
    "segments' ground truth": (
        "episodes.add(moved)\n"
        "        if step > 150: agent.w[0] += episodes.sample(1, 5, rng).ground_truth.sum()",
        "expected labels to be all it learns from",
    ),
    "teacher": ("run.teacher.label(None, None, rng)", "'Run' object has no attribute 'teacher'"),
    "teacher behind the run": (
        "import pbrl.run.run as m; m._CELLS[run].teacher._teacher.label([1], [1], rng)",
        "labels of which 0 were counted",
    ),
    "teacher of its own": (
        "registry.resolve('teacher', 'check-coin')().label([1], [1], rng)",
        "labels of which 0 were counted",
    ),
    "more labels than the budget": (
        "episodes.add(moved)\n"
        "        if step > 150: run.ask(*[episodes.sample(5, 5, rng) for _ in 'ab'])",
        "5 pairs asked, but 1 of 16 labels are left",
    ),
    "more steps than the budget": (
        "run.step(np.zeros(2, np.float32))",
        "at most once in each iteration",
    ),
    "environment of its own": (
        "own = run.spec.factory()(); own.reset(seed=0)",
        "makes an environment of its own",
    ),
    "learns while evaluated": (
        "agent.__class__.act = lambda self, obs, deterministic=False: "
        "(self.w.add_(float(obs.sum())), np.zeros((*obs.shape[:-1], 2), np.float32))[1]",
        "evaluated more often it learns something else",
    ),
    "one observation at a time": (
        "agent.__class__.act = lambda self, obs, deterministic=False: np.zeros(2, np.float32)",
        "of 2 observations [2, 4] gave an array [2]; expected actions [2, 2]: act takes one obs",
    ),
    "fails for several": (
        "agent.__class__.act = lambda self, obs, deterministic=False: "
        "np.zeros(2, np.float32) * float(obs[0])",
        "gave TypeError: only",
    ),
    "mixes observations": (
        "agent.__class__.act = lambda self, obs, deterministic=False: "
        "np.zeros((*obs.shape[:-1], 2), np.float32) + np.tanh(obs.sum())",
        "gives other actions than for each alone",
    ),
    "cannot be loaded": (
        "Agent.load_state_dict = lambda self, state: state['v']",
        "stopped at step 38 and resumed raises KeyError: 'v' (test_cannot_be_loaded.py, line",
    ),
    "unsavable": (
        "agent.state_dict = lambda: {'w': agent.w, 'set': {1}}",
        "set is a builtins.set; expected tensors",
    ),
    "numpy global": ("agent.w[0] += np.random.normal()", "global randomness: numpy"),
    "clock": ("import time; agent.w[0] += time.perf_counter()", "two runs of one seed differ"),
    "raises": ("1 / 0", "raises ZeroDivisionError"),
    "stops early": ("break", "ended at step 0 of"),
}


@pytest.mark.parametrize("lie", METHOD_LIES)
def test_methods_that_lie_are_caught(lie: str, tmp_path: Path) -> None:
    line, expected = METHOD_LIES[lie]
    name = f"test-{lie.replace(' ', '-')}"
    file = tmp_path / f"{name.replace('-', '_')}.py"
    file.write_text(METHOD.replace("NAME", name).replace("LIE", line))
    ((kind, found),) = check.targets(str(file))
    assert (kind, found) == ("method", name)
    violations = check.violations("method", name)
    if expected is None:
        assert violations == []
    else:
        assert any(expected in v for v in violations), violations


def test_a_method_is_checked_with_the_actions_it_declares(tmp_path: Path) -> None:
    source = METHOD.replace('"NAME"', '"test-buttons", actions="discrete"')
    source = (
        source.replace("LIE", "pass")
        .replace("def act", "def push")
        .replace("rng.uniform(-1, 1, 2).astype(np.float32)", "int(rng.integers(5))")
        .replace("Episodes(4, 2,", "Episodes(4, 1,")
        .replace(
            "def push(self, obs, deterministic=False):",
            "def act(self, obs, deterministic=False):\n"
            "        return np.full(obs.shape[:-1], 3)[()]\n"
            "    def push(self):",
        )
    )
    file = tmp_path / "buttons.py"
    file.write_text(source)
    registry.load_plugin(file)
    assert check.violations("method", "test-buttons") == []
    block = {"kind": "online", "env": "pointmass", "method": "test-buttons"}
    with pytest.raises(ConfigError, match="takes discrete actions, but those of pointmass are box"):
        suite.cells({"name": "t", "blocks": [block | {"steps": 100, "labels": 10}]})


OTHERS = {
    "teacher": (
        '@registry.teacher("test-liar-teacher")\nclass Liar:\n'
        '    """Says seven."""\n'
        "    def label(self, first, second, rng):\n        return np.full(len(first), 7.0)\n"
        "    def probability(self, first, second):\n        return np.full(len(first), 0.5)\n"
    ),
    "query": (
        '@registry.query("test-liar-query")\n'
        "def liar(first, second, n, *, reward, labeled, rng, **context):\n"
        '    """Picks at random from the global generator."""\n'
        "    return torch.as_tensor(np.random.permutation(len(first))[:n])\n"
    ),
    "loss": (
        '@registry.loss("test-liar-loss", kind="pair")\n'
        "def liar(chosen, rejected):\n"
        '    """The mean, not one value per pair."""\n'
        "    return (rejected - chosen).mean()\n"
    ),
    "env": (
        '@registry.env("test-liar-env", horizon=10, reward_range=(0.0, 1.0))\n'
        "class Liar(gymnasium.Env):\n"
        '    """Draws from the global generator."""\n'
        "    observation_space = Box(-1, 1, (1,), np.float32)\n"
        "    action_space = Box(-1, 1, (1,), np.float32)\n"
        "    def reset(self, *, seed=None, options=None):\n"
        "        return np.random.uniform(-1, 1, 1).astype(np.float32), {}\n"
        "    def step(self, action):\n"
        "        return np.zeros(1, np.float32), 0.5, False, False, {}\n"
    ),
    "bandit": (
        '@registry.bandit("test-liar-bandit")\nclass Liar:\n'
        '    """Names an arm that does not exist."""\n'
        "    def start(self, K, T, rng):\n        self.K = K\n"
        "    def choose(self, rng):\n        return self.K, 0\n"
        "    def observe(self, i, j, won):\n        pass\n"
    ),
    "problem": (
        '@registry.problem("test-liar-problem")\nclass Liar:\n'
        '    """Not a preference matrix."""\n'
        "    matrices = np.array([[[0.5, 0.9], [0.9, 0.5]]])\n"
        "    starts = np.zeros(1, np.int64)\n"
    ),
    "world": (
        '@registry.world("test-liar-world")\nclass Liar:\n'
        '    """Draws from a generator of its own."""\n'
        "    def sample(self, rng):\n"
        "        from envs.tabular import grids\n"
        "        return grids.random_mdp().sample(np.random.default_rng())\n"
    ),
    "learner": (
        '@registry.learner("test-liar-learner")\nclass Liar:\n'
        '    """Counts upon what it learned before."""\n'
        "    seen = 0\n"
        "    def learn(self, world, pairs, rng):\n"
        "        from pbrl.tabular.learner import Learned\n"
        "        self.seen += 1\n"
        "        policy = np.eye(world.actions)[np.full(world.states, self.seen % world.actions)]\n"
        "        return Learned(policy, lambda walks: np.zeros(len(walks)))\n"
    ),
}
HEAD = (
    "import gymnasium, torch\nimport numpy as np\nfrom gymnasium.spaces import Box\n"
    "import pbrl.registry as registry\n"
)


@pytest.mark.parametrize("kind", OTHERS)
def test_other_liars_are_caught(kind: str, tmp_path: Path) -> None:
    file = tmp_path / f"test_liar_{kind}.py"
    file.write_text(HEAD + OTHERS[kind])
    ((found, name),) = check.targets(str(file))
    assert found == kind
    assert check.violations(kind, name)


def builtins() -> list[tuple[str, str]]:
    slow = ("env", "method", "bandit", "problem")  # have parametrised tests of their own or below
    found = [(k, n) for k in registry.KINDS if k not in slow for n in registry.names(k)]
    return [one for one in found if one != ("teacher", "scored")]  # which needs a file: see there


@pytest.mark.parametrize(("kind", "name"), builtins(), ids=lambda v: v)
def test_built_ins_keep_their_contract(kind: str, name: str) -> None:
    assert check.violations(kind, name) == []


@pytest.mark.parametrize("name", sorted(registry.finding.sources("method")))
def test_built_in_methods_keep_their_contract(name: str) -> None:
    assert check.violations("method", name) == []


def test_every_built_in_can_be_described_from_its_source() -> None:
    for kind in registry.KINDS:
        for name in registry.names(kind):
            assert registry.describe(kind, name).summary, (kind, name)


def test_a_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    from pbrl.errors import PluginError

    file = tmp_path / "taken.py"
    file.write_text(HEAD + OTHERS["teacher"].replace("test-liar-teacher", "oracle"))
    with pytest.raises(PluginError, match="oracle"):
        registry.load_plugin(file)
    assert not any(name.startswith("pbrl_plugin_taken") for name in sys.modules)


def test_two_plug_ins_of_one_file_name_are_both_loaded(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / str(number)).mkdir()
        file = tmp_path / str(number) / "same.py"
        file.write_text(
            HEAD + OTHERS["teacher"].replace("test-liar-teacher", f"test-same-{number}")
        )
        assert registry.load_plugin(file) == {"teacher": [f"test-same-{number}"]}


def test_what_a_plug_in_method_declares_reaches_the_plan(tmp_path: Path) -> None:
    file = tmp_path / "noask.py"
    source = METHOD.replace('"NAME"', '"test-noask", labels=False').replace("LIE", "pass")
    file.write_text(source)
    registry.load_plugin(file)
    assert registry.describe("method", "test-noask").meta == {"labels": False}
