"""What a method receives: named seeds, environment, teacher, logging, a loop that resumes.

A method keeps every piece of mutable state in tracked objects; `Run.loop` then evaluates,
checkpoints and, after a crash, continues where the last checkpoint was, so that the interrupted
run ends with the same bits as an uninterrupted one.
"""

import faulthandler
import hashlib
import math
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

import envs
from pbrl import registry
from pbrl.errors import CellError, EnvironmentFault

if TYPE_CHECKING:
    from pbrl.segments import Segments
    from pbrl.store import Cell

CHECKPOINT_SHARE = 0.05  # of the run's time; a large replay buffer is then written less often


class EpisodeEnd(NamedTuple):
    """What is known when an episode ends: true return, length in steps, success or None."""

    ret: float
    length: int
    success: float | None


class Transition(NamedTuple):
    """One environment step; `reward` is the true one, for teachers, evaluators and SAC only."""

    obs: np.ndarray
    action: np.ndarray
    reward: float
    next_obs: np.ndarray
    terminated: bool
    truncated: bool
    episode: EpisodeEnd | None


class Interrupted(BaseException):
    """A signal asked the run to stop; its state is checkpointed."""


class Stop:
    """Set by the worker's signal handler; the loop looks at it between iterations."""

    signal: int | None = None


def stream_seed(seed: int, name: str) -> np.random.SeedSequence:
    """The seed of one named stream: streams of other names never shift it."""
    digest = hashlib.sha256(name.encode()).digest()
    return np.random.SeedSequence([seed, *np.frombuffer(digest[:16], dtype=np.uint32).tolist()])


def stream_int(seed: int, name: str) -> int:
    """A 31-bit seed of one named stream, for libraries that take a single number."""
    return int(stream_seed(seed, name).generate_state(1)[0] >> 1)


class Heartbeat:
    """Ends the process, with a traceback in the log, when nothing beats for `timeout` seconds."""

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self.last = -math.inf

    def beat(self) -> None:
        now = time.monotonic()
        if now - self.last > 1.0:
            self.last = now
            faulthandler.dump_traceback_later(self.timeout, exit=True)


class ActingEnv:
    """The training environment: steps, resets by itself, keeps the true return, checks every value.

    Each episode starts from a seed derived from its number, so an environment that cannot save
    its state is still resumed exactly at episode starts.
    """

    def __init__(self, name: str, parameters: dict[str, Any], *, seed: int, stream: str) -> None:
        self.name, self.seed, self.stream = name, seed, stream
        self.steps = self.episodes = 0
        self.env = self._guarded(lambda: envs.make(name, **parameters), "make", None)
        self.can_save = self.env.restorable
        self.obs: np.ndarray = np.zeros(0, dtype=np.float32)
        self._start_episode()

    def _start_episode(self) -> None:
        self.ret, self.length = 0.0, 0
        self.success: float | None = None
        seed = stream_int(self.seed, f"{self.stream}/{self.episodes}")
        obs, _ = self._guarded(lambda: self.env.reset(seed=seed), "reset", None)
        self.obs = self._checked(obs, 0.0, None)

    def step(self, action: np.ndarray) -> Transition:
        """One step; raises EnvironmentFault for NaN, an exception or a malformed result."""
        next_obs, reward, terminated, truncated, info = self._guarded(
            lambda: self.env.step(action), "step", action
        )
        reward = float(reward)
        next_obs = self._checked(next_obs, reward, action)
        self.steps += 1
        self.ret += reward
        self.length += 1
        if "success" in info:
            self.success = max(self.success or 0.0, float(info["success"]))
        obs, end = self.obs, None
        if terminated or truncated:
            end = EpisodeEnd(self.ret, self.length, self.success)
            self.episodes += 1
            self._start_episode()
        else:
            self.obs = next_obs
        return Transition(obs, action, reward, next_obs, bool(terminated), bool(truncated), end)

    def _guarded(self, call: Any, verb: str, action: np.ndarray | None) -> Any:
        try:
            return call()
        except CellError:
            raise
        except Exception as error:
            raise EnvironmentFault(
                f"environment {self.name!r} raised {type(error).__name__} in {verb}: {error}"
                f"{self._place(action)}"
            ) from error

    def _checked(self, obs: Any, reward: float, action: np.ndarray | None) -> np.ndarray:
        obs = np.asarray(obs, dtype=np.float32)
        if not math.isfinite(reward):
            raise EnvironmentFault(
                f"environment {self.name!r} returned reward {reward}; expected a finite number"
                f"{self._place(action)}"
            )
        if not np.isfinite(obs).all():
            where = np.flatnonzero(~np.isfinite(obs)).tolist()
            raise EnvironmentFault(
                f"environment {self.name!r} returned an observation that is not finite at "
                f"index {where}{self._place(action)}"
            )
        return obs

    def _place(self, action: np.ndarray | None) -> str:
        if action is None:
            return f" (episode {self.episodes} of stream {self.stream!r})"
        shown = np.array2string(np.asarray(action), precision=4, threshold=12)
        return f" (step {self.steps} of stream {self.stream!r}, action {shown})"

    def state_dict(self) -> dict[str, Any]:
        own = {
            "steps": self.steps,
            "episodes": self.episodes,
            "obs": self.obs,
            "ret": self.ret,
            "length": self.length,
            "success": self.success,
        }
        return own | ({"env": self.env.get_state()} if self.can_save else {})

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.steps, self.episodes = state["steps"], state["episodes"]
        self._start_episode()
        if self.can_save:
            self.env.set_state(state["env"])
        self.obs, self.ret = np.asarray(state["obs"]), state["ret"]
        self.length, self.success = state["length"], state["success"]

    def close(self) -> None:
        self.env.close()


class Run:
    """One cell being computed; everything a method may use apart from its own settings."""

    def __init__(self, cell: "Cell") -> None:
        config = cell.config
        self.cell, self.config = cell, config
        self.seed: int = config["seed"]
        self.device = torch.device(config["device"])
        self.step_number = 0
        self.counts = {"asked": 0, "answered": 0, "skipped": 0, "ties": 0, "wrong": 0}
        self._rngs: dict[str, np.random.Generator] = {}
        self._tracked: dict[str, Any] = {}
        self._last_asked: dict[str, int] = {}
        self._heart = Heartbeat(config["execution"]["hang_timeout"])
        self._looped = False
        torch.manual_seed(self.torch_seed("torch"))
        name, parameters = _split(config["env"])
        self.spec = registry.resolve("env", name).resolve(parameters)
        self._env = ActingEnv(name, parameters, seed=self.seed, stream="env")
        self._evaluation_env: ActingEnv | None = None
        self.observation_space = self._env.env.observation_space
        self.action_space = self._env.env.action_space
        self.teacher = self._make_teacher(config["teacher"])

    def _make_teacher(self, config: dict[str, Any] | None) -> Any:
        if config is None:
            return None
        name, parameters = _split(config)
        teacher = registry.resolve("teacher", name)(**parameters)
        if hasattr(teacher, "bind"):
            teacher.bind(horizon=self.spec.horizon, reward_range=self.spec.reward_range)
        return teacher

    # --- seeds ----------------------------------------------------------------------------------

    def rng(self, name: str) -> np.random.Generator:
        """The run's generator of that name; its state is part of every checkpoint."""
        if name not in self._rngs:
            self._rngs[name] = np.random.Generator(np.random.PCG64(stream_seed(self.seed, name)))
        return self._rngs[name]

    def torch_seed(self, name: str) -> int:
        """A seed for building the networks of that name."""
        return stream_int(self.seed, name)

    # --- acting and asking ----------------------------------------------------------------------

    @property
    def obs(self) -> np.ndarray:
        """Current observation of the training environment, float32 [O]."""
        return self._env.obs

    def step(self, action: np.ndarray) -> Transition:
        """Step the training environment, which resets itself; a finished episode is logged."""
        transition = self._env.step(action)
        if transition.episode is not None:
            ret, length, success = transition.episode
            if self.teacher is not None and hasattr(self.teacher, "observe_episode"):
                self.teacher.observe_episode(ret)
            self.log("episode", **{"return": ret, "length": length, "success": success})
        return transition

    def ask(self, first: "Segments", second: "Segments") -> torch.Tensor:
        """The teacher's labels [N] for N pairs, NaN where it skipped; every pair spends budget."""
        if self.teacher is None:
            raise CellError("this method asks for labels but its cell has no teacher")
        labels = np.asarray(self.teacher.label(first, second, self.rng("teacher")))
        if (
            labels.shape != (len(first),)
            or not (np.isnan(labels) | np.isin(labels, (0, 0.5, 1))).all()
        ):
            raise CellError(
                f"teacher {self.config['teacher']['name']!r} returned {labels!r:.80}; expected "
                f"{len(first)} labels, each 0, 0.5, 1 or NaN"
            )
        answered = ~np.isnan(labels)
        truth = (first.ground_truth * first.mask).sum(1) < (second.ground_truth * second.mask).sum(
            1
        )
        clear = answered & (labels != 0.5)
        session = {
            "asked": len(labels),
            "answered": int(answered.sum()),
            "skipped": int((~answered).sum()),
            "ties": int((labels == 0.5).sum()),
            "wrong": int(((labels == 1) != truth.cpu().numpy())[clear].sum()),
        }
        self._last_asked = session
        self.counts = {key: self.counts[key] + n for key, n in session.items()}
        return torch.as_tensor(labels, dtype=torch.float32, device=self.device)

    def log(self, event: str, **values: Any) -> None:
        """One journal row; a session row also gets the teacher's counts of that session."""
        row = {"event": event, "step": self.step_number}
        if event == "session":
            row |= self._last_asked
        self.cell.journal(row | values)

    # --- the loop -------------------------------------------------------------------------------

    def track(self, **objects: Any) -> None:
        """Name all mutable state: each object has state_dict() and load_state_dict(state)."""
        for name, obj in objects.items():
            if not (hasattr(obj, "state_dict") and hasattr(obj, "load_state_dict")):
                raise CellError(
                    f"track({name}=...): {type(obj).__name__} has no state_dict and "
                    "load_state_dict; without them the run cannot resume"
                )
        self._tracked |= objects

    def loop(self, steps: int) -> Iterator[int]:
        """Yield 0..steps-1, or the rest of it after a crash; evaluate and checkpoint between."""
        if self._looped:
            raise CellError("run.loop was called twice; a method has one loop")
        self._looped = True
        restored = self.cell.restore()
        start = 0
        if restored is not None:
            state, start = restored
            self._load(state)
        every = self.config["execution"]["checkpoint_seconds"]
        due = time.monotonic() + every
        for step in range(start, steps):
            self.step_number = step
            self._heart.beat()
            stopping = Stop.signal is not None
            now = time.monotonic()
            if step > start and (stopping or now >= due) and self._can_checkpoint():
                self.cell.checkpoint(self._state(), step=step)
                took = time.monotonic() - now
                due = time.monotonic() + max(every, took / CHECKPOINT_SHARE)
            if stopping:
                raise Interrupted(Stop.signal)
            if step % self.config["eval_every"] == 0:
                self._evaluate()
            yield step
        self.step_number = steps
        self._evaluate()

    def _can_checkpoint(self) -> bool:
        """An environment that cannot save its state is saved between episodes only."""
        return self._env.can_save or self._env.length == 0

    def _state(self) -> dict[str, Any]:
        teacher = {}
        if self.teacher is not None and hasattr(self.teacher, "state_dict"):
            teacher = self.teacher.state_dict()
        cuda = torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None
        return {
            "tracked": {name: obj.state_dict() for name, obj in self._tracked.items()},
            "rngs": {name: rng.bit_generator.state for name, rng in self._rngs.items()},
            "torch": torch.get_rng_state(),
            "cuda": cuda,
            "env": self._env.state_dict(),
            "teacher": teacher,
            "counts": self.counts,
        }

    def _load(self, state: dict[str, Any]) -> None:
        if set(state["tracked"]) != set(self._tracked):
            raise CellError(
                f"the checkpoint holds {sorted(state['tracked'])}, the method tracks "
                f"{sorted(self._tracked)}; the method changed: delete the cell's folder"
            )
        for name, obj in self._tracked.items():
            obj.load_state_dict(state["tracked"][name])
        for name, value in state["rngs"].items():
            self.rng(name).bit_generator.state = value
        if self.teacher is not None and hasattr(self.teacher, "load_state_dict"):
            self.teacher.load_state_dict(state["teacher"])
        self._env.load_state_dict(state["env"])
        self.counts = state["counts"]
        torch.set_rng_state(state["torch"])
        if state["cuda"] is not None:
            torch.cuda.set_rng_state(state["cuda"], self.device)

    def _evaluate(self) -> None:
        """Mean action over fresh episodes whose seeds depend on the run's seed alone.

        The global torch stream is put back afterwards: how often a run is evaluated does not
        change what it learns.
        """
        agent = self._tracked.get("agent")
        if agent is None:
            raise CellError("run.track(agent=...) is missing; evaluation needs agent.act(obs)")
        if self._evaluation_env is None:
            name, parameters = _split(self.config["env"])
            self._evaluation_env = ActingEnv(name, parameters, seed=self.seed, stream="eval")
        env = self._evaluation_env
        ends: list[EpisodeEnd] = []
        env.episodes = 0
        env._start_episode()
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices), torch.no_grad():
            while len(ends) < self.config["eval_episodes"]:
                self._heart.beat()
                end = env.step(agent.act(env.obs, deterministic=True)).episode
                if end is not None:
                    ends.append(end)
        returns = np.array([end.ret for end in ends])
        known = [end.success for end in ends if end.success is not None]
        self.log(
            "eval",
            **{
                "return": float(returns.mean()),
                "returns_std": float(returns.std()),
                "length": float(np.mean([end.length for end in ends])),
                "success": float(np.mean(known)) if known else None,
                "labels": self.counts["answered"],
                "asked": self.counts["asked"],
            },
        )

    def weights(self) -> dict[str, Any]:
        """What was learned: `weights()` of every tracked object that has it, else the agent."""
        learned = {n: o.weights() for n, o in self._tracked.items() if hasattr(o, "weights")}
        return learned or {"agent": self._tracked["agent"].state_dict()}

    def close(self) -> None:
        """Free the environments."""
        self._env.close()
        if self._evaluation_env is not None:
            self._evaluation_env.close()


def _split(config: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    return config["name"], {k: v for k, v in config.items() if k not in ("name", "label")}


def execute(cell: "Cell") -> dict[str, Any]:
    """Compute one cell from its configuration, or the rest of it; returns the run's summary."""
    if cell.config["kind"] == "bandit":
        return _execute_bandit(cell)
    name, parameters = _split(cell.config["method"])
    train = registry.resolve("method", name)
    config = registry.config_class(train)
    run = Run(cell)
    try:
        train(run, config(**parameters))
        if run.step_number != cell.config["steps"]:
            raise CellError(
                f"method {name!r} ended at step {run.step_number} of {cell.config['steps']}; "
                "expected it to run run.loop(cfg.steps) to its end"
            )
        return {"counts": run.counts, "weights": run.weights()}
    finally:
        run.close()
        faulthandler.cancel_dump_traceback_later()


BOUNDED = ("average", "strong")  # regrets with a known lower bound above 0
BATCH_SECONDS = 1.0  # repetitions are simulated in batches of about this long


def _execute_bandit(cell: "Cell") -> dict[str, Any]:
    """Simulate the repetitions of a bandit cell; each depends on (seed, its number) alone."""
    from bandits.simulate import simulate

    config = cell.config
    heart = Heartbeat(config["execution"]["hang_timeout"])
    repetitions, horizon = config["repetitions"], config["horizon"]
    restored = cell.restore()
    done = restored[1] if restored else 0
    batch, seconds, compile_seconds, began = 1, 0.0, 0.0, done
    due = time.monotonic() + config["execution"]["checkpoint_seconds"]
    try:
        problem = _instance("problem", config["problem"])
        algorithm = _instance("bandit", config["algorithm"])
        while done < repetitions:
            heart.beat()
            if done > began and (Stop.signal is not None or time.monotonic() >= due):
                cell.checkpoint({}, step=done)
                due = time.monotonic() + config["execution"]["checkpoint_seconds"]
            if Stop.signal is not None:
                raise Interrupted(Stop.signal)
            result = simulate(
                problem,
                algorithm,
                horizon=horizon,
                repetitions=min(batch, repetitions - done),
                seed=config["seed"],
                first_repetition=done,
            )
            _journal_regret(cell, result, done)
            done += len(result.resets)
            seconds += result.seconds
            compile_seconds += result.compile_seconds
            batch = max(1, int(BATCH_SECONDS * (done - began) / max(seconds, 1e-9)))
    except ValueError as error:
        raise CellError(f"{config['algorithm']['name']}: {error}") from error
    finally:
        faulthandler.cancel_dump_traceback_later()
    rate = (done - began) * horizon / seconds if seconds else None
    return {"duels_per_second": rate, "compile_seconds": compile_seconds, **_facts(problem)}


def _facts(problem: Any) -> dict[str, Any]:
    """What a figure draws beside the curves: change points, or the slope regret cannot undercut."""
    from bandits.lower_bounds import lower_bound_constant

    if hasattr(problem, "sample"):
        return {}  # another instance in every repetition
    if len(problem.starts) > 1:
        return {"changes": problem.starts[1:].tolist()}
    try:
        bound = {name: lower_bound_constant(problem.matrices[0], name) for name in BOUNDED}
    except ValueError:
        return {}  # no Condorcet winner, so no such bound
    return {"lower_bound": bound}


def _instance(kind: str, config: dict[str, Any]) -> Any:
    name, parameters = _split(config)
    return registry.resolve(kind, name)(**parameters)


def _journal_regret(cell: "Cell", result: Any, first: int) -> None:
    """One row per repetition and checkpoint, one per repetition for what happened at its end."""
    known = {name: values for name, values in result.regret.items() if not np.isnan(values).all()}
    for r in range(len(result.resets)):
        for c, t in enumerate(result.checkpoints.tolist()):
            row = {"event": "regret", "repetition": first + r, "t": t}
            cell.journal(row | {name: float(values[r, c]) for name, values in known.items()})
        resets = result.resets[r].tolist()
        winner = int(result.winner[r, -1])
        cell.journal(
            {"event": "end", "repetition": first + r, "winner": winner, "resets": len(resets)}
        )
        for t in resets:
            cell.journal({"event": "reset", "repetition": first + r, "t": t})
