"""What the speed tables compare, each contestant in a process of its own that `speed.py` asks.

    python contestants.py ours | sb3 | sbx | bpref FOLDER | bare

Standard input has one JSON object per line, {"task", "options", "n"}; the answer to each is one
line: seconds of CPU time per unit of work, or several of them by name. Whatever the contestant
prints goes to standard error. B-Pref's code (github.com/rll-research/BPref, of 2021) is imported
from FOLDER and driven as it is, on the CPU; stand-ins replace what no longer installs beside a
current torch: hydra (settings are given directly), gym and dmc2gym (the environment is this
suite's), and its logger, which here writes nothing.
"""

import ctypes
import json
import math
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

Work = Callable[[int], Any]
ENV, DIMS = "walker-walk", (24, 6)
LATE, WINDOW = 0.85, 100  # past a run's last label session; steps of a window that is timed
PLAYED = 10  # evaluation episodes of a peer's run; their time is multiplied up to as many as ours


class Clock:
    """CPU seconds of a whole run, of its evaluations, and of its late steps."""

    def __init__(self, steps: int) -> None:
        self.steps, self.evaluating, self.marks = steps, 0.0, [0.0]
        self.began = time.process_time()

    def step(self) -> None:
        """To be called at every environment step of training."""
        self.marks.append(time.process_time() - self.evaluating)

    def evaluation(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, its time kept apart."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            began = time.process_time()
            try:
                return function(*args, **kwargs)
            finally:
                self.evaluating += time.process_time() - began

        return timed

    def found(self, episodes: int, *, of: int) -> dict[str, float]:
        """Seconds a step: of the whole run, without evaluation, and of the fastest late window.

        And seconds per episode of evaluation, of which `episodes` were played; the whole run has
        as many as `of` of them.
        """
        training = time.process_time() - self.began - self.evaluating
        late, episode = self.marks[int(LATE * self.steps) :], self.evaluating / episodes
        return {
            "whole": (training + of * episode) / self.steps,
            "training": training / self.steps,
            "late": min((b - a) / WINDOW for a, b in zip(late, late[WINDOW:], strict=False)),
            "episode": episode,
        }


def random_transitions(n: int, obs: int, act: int) -> tuple[Any, ...]:
    """obs [n, O], act [n, A], reward [n], next obs [n, O], float32."""
    import numpy as np

    rng = np.random.default_rng(0)
    states = rng.normal(size=(2, n, obs)).astype(np.float32)
    actions = rng.uniform(-1, 1, (n, act)).astype(np.float32)
    return states[0], actions, rng.normal(size=n).astype(np.float32), states[1]


def spaces(obs: int, act: int) -> tuple[Any, Any]:
    import numpy as np
    from gymnasium.spaces import Box

    return Box(-np.inf, np.inf, (obs,), np.float32), Box(-1, 1, (act,), np.float32)


def repeated(once: Callable[[], Any]) -> Work:
    def work(n: int) -> None:
        for _ in range(n):
            once()

    return work


# --- ours --------------------------------------------------------------------------------------


def core_of(function: Callable[..., Any], core: str) -> dict[str, str]:
    """{"core": core} where the function takes it; versions before it had torch alone."""
    import inspect

    takes = "core" in inspect.signature(function).parameters
    if not takes and core != "torch":
        raise ValueError("no compiled core in this version")
    return {"core": core} if takes else {}


def our_agent(obs: int, act: int, hidden: int, layers: int, batch: int, core: str) -> Any:
    import torch

    from pbrl.agents.sac import SAC

    agent = SAC(
        *spaces(obs, act), seed=0, capacity=20_000, net_arch=[hidden] * layers, batch_size=batch,
        learning_rate=3e-4, temperature=0.1, temperature_lr=1e-4, gamma=0.99, tau=0.005,
        target_update_interval=1, **core_of(SAC.__init__, core),
    )  # fmt: skip
    s, a, r, after = (torch.from_numpy(x) for x in random_transitions(20_000, obs, act))
    rows = torch.cat((s, a, after, r[:, None], torch.zeros(20_000, 1)), dim=1)
    agent.replay.load_state_dict({"rows": rows, "added": 20_000})
    return agent


def our_update(core: str, **shape: int) -> Work:
    agent = our_agent(**shape, core=core)
    return repeated(lambda: agent.update(agent.sample()))


def our_acting(core: str, **shape: int) -> Work:
    agent = our_agent(**shape, core=core)
    state = random_transitions(1, shape["obs"], shape["act"])[0][0]
    return repeated(lambda: agent.act(state))


def our_reward(obs: int, act: int, width: int, core: str, reed: bool, minibatch: int) -> Any:
    import torch

    from pbrl.rewards.ensemble import RewardEnsemble, RewardNet
    from pbrl.rewards.reed import EncodedRewardNet

    g = torch.Generator().manual_seed(0)
    common = {"members": 3, "hidden": width, "layers": 3, "generator": g}
    if reed:
        net = EncodedRewardNet(obs, act, obs_width=REED[0], act_width=REED[1], **common)
    else:
        net = RewardNet(obs, act, **common)
    return RewardEnsemble(
        net, generator=g, learning_rate=3e-4, batch_size=minibatch, loss="sigmoid",
        **core_of(RewardEnsemble.__init__, core),
    )  # fmt: skip


def our_step_reward(obs: int, act: int, width: int, core: str) -> Work:
    ensemble = our_reward(obs, act, width, core, reed=False, minibatch=128)
    s, a, *_ = random_transitions(1, obs, act)
    return repeated(lambda: ensemble.one(s[0], a[0]))


def our_fit(pairs: int, minibatch: int, reed: bool) -> Work:
    """One epoch of the reward ensemble."""
    ensemble = our_reward(*DIMS, 256, "torch", reed, minibatch)
    data = labeled_pairs(pairs)
    return repeated(lambda: ensemble.fit(data, epochs=1))


def our_relabel(width: int) -> Work:
    """Rewards of 10,000 stored steps."""
    import torch

    from pbrl.agents.replay import Replay

    ensemble = our_reward(*DIMS, width, "torch", reed=False, minibatch=128)
    replay = Replay(*DIMS, capacity=10_000)
    rows = torch.randn(10_000, replay.rows.shape[1], generator=torch.Generator().manual_seed(0))
    replay.load_state_dict({"rows": rows, "added": 10_000})
    return repeated(lambda: replay.relabel(ensemble))


def labeled_pairs(n: int) -> Any:
    """n labeled pairs of random segments of LENGTH steps."""
    import torch

    from pbrl.segments import Preferences, Segments

    g = torch.Generator().manual_seed(0)

    def side() -> Segments:
        obs = torch.randn(n, LENGTH, DIMS[0], generator=g)
        steps = torch.ones(n, LENGTH, dtype=torch.bool)
        act = torch.rand(n, LENGTH, DIMS[1], generator=g) * 2 - 1
        return Segments(obs=obs, act=act, next_obs=obs, terminal=~steps, mask=steps)

    found = Preferences(*DIMS, length=LENGTH)
    found.add(side(), side(), torch.randint(0, 2, (n,), generator=g).float())
    return found


def our_run(steps: int, **settings: Any) -> Work:
    """Whole cells of PEBBLE with its defaults: journal, checkpoints and evaluation included."""
    import pbrl.run
    from pbrl import store, suite
    from pbrl.run.online import OnlineCell

    def block(seed: int) -> dict[str, Any]:
        method = {"name": "pebble", "label": "pebble"} | settings
        one = {"kind": "online", "env": ENV, "method": method, "steps": steps, "labels": 200}
        return {"name": "speed", "seeds": [seed], "blocks": [one]}

    def work(n: int) -> dict[str, float]:
        (config,) = suite.cells(block(n))
        clock = Clock(steps)
        step, evaluate = OnlineCell.step, OnlineCell._evaluate
        OnlineCell._evaluate = clock.evaluation(evaluate)  # type: ignore[method-assign]
        OnlineCell.step = lambda self, action: (clock.step(), step(self, action))[1]  # type: ignore
        try:
            with tempfile.TemporaryDirectory() as folder:
                cell = store.Cell(Path(folder), config)
                cell.create()
                with cell.lock():
                    pbrl.run.execute(cell)
        finally:
            OnlineCell.step, OnlineCell._evaluate = step, evaluate  # type: ignore[method-assign]
        episodes = evaluations(config)
        return clock.found(episodes, of=episodes) | {"evaluations": episodes}

    return work


def evaluations(config: dict[str, Any]) -> int:
    """Episodes that the evaluations of a cell play."""
    rows = math.ceil(config["steps"] / config["eval_every"]) + 1
    return rows * config["eval_episodes"] + config["final_episodes"]


# --- Stable-Baselines3, and SBX, which has its interface ---------------------------------------


def their_agent(env: Any, hidden: int, layers: int, batch: int, **settings: Any) -> Any:
    if sys.argv[1] == "sbx":
        from sbx import SAC
    else:
        from stable_baselines3 import SAC

        settings["device"] = "cpu"
    return SAC(
        "MlpPolicy", env, batch_size=batch, buffer_size=20_000, seed=0,
        policy_kwargs={"net_arch": [hidden] * layers}, **settings,
    )  # fmt: skip


def their_filled_agent(obs: int, act: int, hidden: int, layers: int, batch: int) -> Any:
    import gymnasium
    from stable_baselines3.common.logger import configure

    class Nowhere(gymnasium.Env):
        observation_space, action_space = spaces(obs, act)

    model = their_agent(Nowhere(), hidden, layers, batch)
    model.set_logger(configure(None, []))
    replay = model.replay_buffer
    s, a, r, after = random_transitions(20_000, obs, act)
    replay.observations[:, 0], replay.actions[:, 0], replay.rewards[:, 0] = s, a, r
    replay.next_observations[:, 0], replay.full = after, True
    return model


def their_update(**shape: int) -> Work:
    model = their_filled_agent(**shape)
    return repeated(lambda: model.train(1, shape["batch"]))


def their_acting(**shape: int) -> Work:
    model = their_filled_agent(**shape)
    state = random_transitions(1, shape["obs"], shape["act"])[0][0]
    return repeated(lambda: model.predict(state))


def their_run(steps: int, evaluations: int) -> Work:
    """Plain SAC on the true reward: the environment, an update a step, the same evaluations."""
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.evaluation import evaluate_policy

    import envs

    class Marks(BaseCallback):
        def _on_step(self) -> bool:
            self.clock.step()
            return True

    def work(n: int) -> dict[str, float]:
        clock, marks = Clock(steps), Marks()
        marks.clock = clock
        model = their_agent(envs.make(ENV), 64, 2, 64, learning_rate=1e-3, learning_starts=250)
        model.learn(steps, callback=marks)
        play = clock.evaluation(evaluate_policy)
        play(model, envs.make(ENV), n_eval_episodes=PLAYED, warn=False)
        return clock.found(PLAYED, of=evaluations)

    return work


# --- B-Pref ------------------------------------------------------------------------------------


class Settings(dict):
    """A mapping whose keys are attributes, as hydra's configurations are."""

    __getattr__, __setattr__ = dict.__getitem__, dict.__setitem__


class Silent:
    """In place of B-Pref's logger."""

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...
    def log(self, *args: Any, **kwargs: Any) -> None: ...

    log_histogram = log_param = dump = log


def made(cfg: dict[str, Any]) -> Any:
    """What hydra.utils.instantiate makes of {"class", "params"}."""
    module, _, name = cfg["class"].rpartition(".")
    return getattr(import_module(module), name)(**cfg["params"])


def bpref(name: str) -> Any:
    """A module of B-Pref's."""
    if "hydra" not in sys.modules:
        sys.path.insert(0, str(Path(sys.argv[2]).resolve()))
        absent = "gym gym.wrappers gym.wrappers.time_limit dmc2gym rlkit rlkit.envs"
        absent += " rlkit.envs.wrappers skimage skimage.util skimage.util.shape"
        absent += " metaworld metaworld.envs metaworld.envs.mujoco metaworld.envs.mujoco.env_dict"
        for module in absent.split():
            sys.modules[module] = StandIn(module)
            parent, _, name_in_it = module.rpartition(".")
            if parent:
                setattr(sys.modules[parent], name_in_it, sys.modules[module])
        sys.modules["hydra"] = StandIn("hydra")
        sys.modules["hydra"].utils = SimpleNamespace(instantiate=made)
        sys.modules["hydra"].main = lambda **_: lambda function: function
        sys.modules["logger"] = StandIn("logger")
        sys.modules["logger"].Logger = Silent
        sys.modules.setdefault("tqdm", StandIn("tqdm"))
        import_module("reward_model").device = "cpu"
    return import_module(name)


class StandIn(ModuleType):
    """A module that nothing of what is measured calls."""

    __path__: list[str] = []  # noqa: RUF012

    def __getattr__(self, name: str) -> Any:
        return None


def bpref_settings(obs: int, act: int, hidden: int, layers: int, batch: int) -> Settings:
    widths = {"obs_dim": obs, "action_dim": act, "hidden_dim": hidden, "hidden_depth": layers}
    critic = {"class": "agent.critic.DoubleQCritic", "params": widths}
    actor = {
        "class": "agent.actor.DiagGaussianActor",
        "params": widths | {"log_std_bounds": [-5, 2]},
    }
    betas = [0.9, 0.999]
    params = Settings(
        obs_dim=obs, action_dim=act, action_range=[-1.0, 1.0], device="cpu", critic_cfg=critic,
        actor_cfg=actor, discount=0.99, init_temperature=0.1, alpha_lr=1e-4, alpha_betas=betas,
        actor_lr=1e-3, actor_betas=betas, actor_update_frequency=1, critic_lr=1e-3,
        critic_betas=betas, critic_tau=0.005, critic_target_update_frequency=1, batch_size=batch,
        learnable_temperature=True,
    )  # fmt: skip
    return Settings({"class": "agent.sac.SACAgent", "params": params, "name": "sac"})


def bpref_update(**shape: int) -> Work:
    bpref("utils")
    agent, logger = made(bpref_settings(**shape)), Silent()
    replay = bpref("replay_buffer").ReplayBuffer(
        (shape["obs"],), (shape["act"],), 20_000, agent.device
    )
    s, a, r, after = random_transitions(20_000, shape["obs"], shape["act"])
    replay.obses[:], replay.actions[:], replay.rewards[:, 0], replay.next_obses[:] = s, a, r, after
    replay.not_dones[:] = replay.not_dones_no_max[:] = 1
    replay.full = True
    return repeated(lambda: agent.update(replay, logger, 0, 1))


def bpref_acting(**shape: int) -> Work:
    utils = bpref("utils")
    agent = made(bpref_settings(**shape))
    state = random_transitions(1, shape["obs"], shape["act"])[0][0]

    def act() -> None:
        with utils.eval_mode(agent):
            agent.act(state, sample=True)

    return repeated(act)


def bpref_reward(obs: int, act: int, width: int) -> Any:
    reward = bpref("reward_model")
    original = reward.gen_net
    reward.gen_net = lambda **given: original(**given | {"H": width})  # it has 256 written in
    try:
        return reward.RewardModel(obs, act, size_segment=10, capacity=1000)
    finally:
        reward.gen_net = original


def bpref_step_reward(obs: int, act: int, width: int) -> Work:
    import numpy as np

    model = bpref_reward(obs, act, width)
    s, a, *_ = random_transitions(1, obs, act)
    return repeated(lambda: model.r_hat(np.concatenate([s[0], a[0]], axis=-1)))


class OldEnv:
    """The suite's environment behind the interface of gym 0.18."""

    def __init__(self) -> None:
        import envs

        self.env = envs.make(ENV)
        self.observation_space, self.action_space = (
            self.env.observation_space,
            self.env.action_space,
        )
        self._max_episode_steps = 1000

    def reset(self) -> Any:
        return self.env.reset()[0]

    def step(self, action: Any) -> tuple[Any, float, bool, dict[str, Any]]:
        obs, reward, terminated, truncated, info = self.env.step(action)
        return obs, reward, terminated or truncated, info


def bpref_run(steps: int, evaluations: int) -> Work:
    """B-Pref's PEBBLE with the settings that `pbrl` has as defaults, where it can be set."""
    utils, train = bpref("utils"), bpref("train_PEBBLE")
    reward = bpref("reward_model")
    original = reward.gen_net
    reward.gen_net = lambda **given: original(**given | {"H": 64})
    utils.make_env = lambda cfg: OldEnv()
    sessions = max(1, (int(0.75 * steps) - 1000) // 9)  # steps between two of ten
    cfg = Settings(
        agent=bpref_settings(*DIMS, 64, 2, 64), env=ENV, seed=0, device="cpu", log_save_tb=False,
        log_frequency=10_000, replay_buffer_capacity=steps, num_train_steps=steps,
        num_seed_steps=250, num_unsup_steps=750, num_interact=sessions,
        reward_update=50, reward_batch=20, reward_lr=1e-3, max_feedback=200, feed_type=1,
        large_batch=10, segment=10, ensemble_size=3, activation="tanh", label_margin=0.0,
        teacher_beta=-1, teacher_gamma=1, teacher_eps_mistake=0, teacher_eps_skip=0,
        teacher_eps_equal=0, reward_schedule=0, reset_update=100, topK=5, eval_frequency=10**9,
        num_eval_episodes=PLAYED,
    )  # fmt: skip

    def work(n: int) -> dict[str, float]:
        clock = Clock(steps)
        workspace = train.Workspace(cfg)
        step = workspace.env.step
        workspace.env.step = lambda action: (clock.step(), step(action))[1]
        workspace.agent.save = workspace.reward_model.save = lambda *_: None
        workspace.run()
        workspace.env.step = step
        clock.evaluation(workspace.evaluate)()
        return clock.found(PLAYED, of=evaluations)

    return work


# --- bare matrix products ----------------------------------------------------------------------

LENGTH = 50  # steps of a segment
REED = (20, 10)  # widths of REED's encoders on walker, as published
BLOCK = 4000  # steps that go through the reward ensemble at once


def products(members: int, rows: int, sizes: list[int], *, inputs: bool = False) -> Any:
    """(values, gradients) of a perceptron with these widths, nothing but its products.

    The gradient of the weights, and that of the activations, of the input only where asked.
    """
    import torch

    shapes = list(pairwise(sizes))
    w = [torch.randn(members, o, i) for i, o in shapes]
    x = [torch.randn(members, rows, i) for i, _ in shapes]
    g = [torch.randn(members, rows, o) for _, o in shapes]
    layers = range(len(shapes))

    def values() -> None:
        for k in layers:
            torch.bmm(x[k], w[k].mT)

    def of_weights() -> None:
        for k in layers:
            torch.bmm(g[k].mT, x[k])

    def of_inputs() -> None:
        for k in layers[0 if inputs else 1 :]:
            torch.bmm(g[k], w[k])

    return values, of_weights, of_inputs


def bare_update(obs: int, act: int, hidden: int, layers: int, batch: int) -> Work:
    """The products of a SAC update: two passes of the actor, three of two critics, gradients."""
    inner = [hidden] * layers
    actor = products(1, batch, [obs, *inner, 2 * act])
    critics = [obs + act, *inner, 1]
    learning, judging = products(2, batch, critics), products(2, batch, critics, inputs=True)

    def update() -> None:
        actor[0]()  # of the next states
        learning[0]()  # of the targets
        for part in (*learning, actor[0], judging[0], judging[2], actor[1], actor[2]):
            part()

    return repeated(update)


def bare_fit(pairs: int, minibatch: int, reed: bool) -> Work:
    """The products of one epoch of reward training."""
    obs, act = DIMS
    rows = min(minibatch * 2 * LENGTH, BLOCK)
    hidden = [256, 256, 256]
    if reed:
        encoders = [products(3, rows, [obs, REED[0]]), products(3, rows, [act, REED[1]])]
        rest = products(3, rows, [sum(REED), *hidden, 1], inputs=True)
        parts = [part for net in (*encoders, rest) for part in net]
    else:
        parts = list(products(3, rows, [obs + act, *hidden, 1]))

    def epoch() -> None:
        for _ in range(round(pairs * 2 * LENGTH / rows)):
            for part in parts:
                part()

    return repeated(epoch)


def member_by_member(pairs: int, minibatch: int) -> Work:
    """One epoch of three separate networks, the usual loop, as in B-Pref's reward model."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    g = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, pairs, LENGTH, sum(DIMS), generator=g)
    labels = torch.randint(0, 2, (pairs,), generator=g)
    widths = [sum(DIMS), 256, 256, 256]
    networks = [
        nn.Sequential(
            *(m for i, o in pairwise(widths) for m in (nn.Linear(i, o), nn.LeakyReLU())),
            nn.Linear(256, 1),
            nn.Tanh(),
        )
        for _ in range(3)
    ]
    optimizer = torch.optim.Adam([p for n in networks for p in n.parameters()], lr=3e-4)

    def epoch() -> None:
        orders = [torch.randperm(pairs).split(minibatch) for _ in networks]
        for chosen in zip(*orders, strict=True):
            optimizer.zero_grad()
            total = torch.zeros(())
            for network, index in zip(networks, chosen, strict=True):
                returns = [network(side[index]).sum(1) for side in (first, second)]
                value = F.cross_entropy(torch.cat(returns, dim=1), labels[index])
                value.item()  # each member's loss is logged
                total = total + value
            total.backward()
            optimizer.step()

    return repeated(epoch)


# --- the process -------------------------------------------------------------------------------

TASKS: dict[str, dict[str, Callable[..., Work]]] = {
    "ours": {
        "update": our_update, "acting": our_acting, "step_reward": our_step_reward,
        "fit": our_fit, "relabel": our_relabel, "run": our_run,
    },
    "sb3": {"update": their_update, "acting": their_acting, "run": their_run},
    "sbx": {"update": their_update, "acting": their_acting, "run": their_run},
    "bpref": {
        "update": bpref_update, "acting": bpref_acting, "step_reward": bpref_step_reward,
        "run": bpref_run,
    },
    "bare": {"update": bare_update, "fit": bare_fit, "loop": member_by_member},
}  # fmt: skip


def about() -> list[str]:
    """Versions, and the kernels of the BLAS libraries that are loaded."""
    import numpy
    import torch

    torch.set_num_threads(1)
    names = {"ours": "numba", "sb3": "stable-baselines3", "sbx": "sbx-rl"}
    package = names.get(sys.argv[1])
    found = [f"Python {platform.python_version()}", f"torch {torch.__version__}"]
    found += [f"numpy {numpy.__version__}"] + ([f"{package} {version(package)}"] if package else [])
    found += [f"jax {version('jax')}"] if sys.argv[1] == "sbx" else []
    if torch.backends.mkl.is_available():
        found.append("MKL " + torch.__config__.show().split("Version ")[1].split("-")[0])
    if sys.argv[1] == "ours":
        import_module("scipy.linalg")  # its BLAS is the one of numba's products
    return found + openblas()


def openblas() -> list[str]:
    """Kernel and version of each OpenBLAS in this process, which its own functions tell."""
    if not os.path.exists("/proc/self/maps"):
        return []
    lines = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    found = set()
    for path in {line.split()[-1] for line in lines if "openblas" in line.lower()}:
        library = ctypes.CDLL(path)
        for prefix, suffix in ((p, s) for p in ("scipy_", "") for s in ("64_", "")):
            ask = getattr(library, f"{prefix}openblas_get_config{suffix}", None)
            if ask is not None:
                ask.restype = ctypes.c_char_p
                found.add(f"{Path(path).name.partition('-')[0]}: {ask().decode().strip()}")
                break
    return sorted(found)


def main() -> None:
    """Answer until standard input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    print(json.dumps(about()), file=answers)
    built: dict[str, Work] = {}
    for line in sys.stdin:
        asked = json.loads(line)
        key = json.dumps([asked["task"], asked["options"]])
        if key not in built:
            built[key] = TASKS[sys.argv[1]][asked["task"]](**asked["options"])
        began = time.process_time()
        found = built[key](asked["n"])
        if found is None:
            found = {"seconds": (time.process_time() - began) / asked["n"]}
        print(json.dumps(found), file=answers)


if __name__ == "__main__":
    main()
