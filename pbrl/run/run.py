"""What a method receives: named seeds, environment, teacher, logging, a loop that resumes.

A method keeps every piece of mutable state in tracked objects; `Run.loop` then evaluates,
checkpoints and, after a crash, continues where the last checkpoint was, so that the interrupted
run ends with the same bits as an uninterrupted one.
"""

import faulthandler
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pbrl import registry
from pbrl.errors import CellError, ConfigError
from pbrl.run import evaluation
from pbrl.run.env import ActingEnv, Transition
from pbrl.run.seeds import stream_int, stream_seed
from pbrl.run.signals import Heartbeat, Interrupted, Stop
from pbrl.scores import masked_sum

if TYPE_CHECKING:
    from pbrl.segments import Segments
    from pbrl.store import Cell

CHECKPOINT_SHARE = 0.05  # of the run's time; a large replay buffer is then written less often


class Run:
    """One cell being computed; everything a method may use apart from its own settings."""

    def __init__(self, cell: "Cell") -> None:
        config = cell.config
        self.cell, self.config = cell, config
        self.seed: int = config["seed"]
        self.device = _device(config["device"])
        self.step_number = 0
        self.counts = {"asked": 0, "answered": 0, "skipped": 0, "ties": 0, "wrong": 0}
        self._rngs: dict[str, np.random.Generator] = {}
        self._tracked: dict[str, Any] = {}
        self._session: dict[str, int] = dict(self.counts)
        self._heart = Heartbeat(config["execution"]["hang_timeout"])
        self._looped = False
        torch.manual_seed(self.torch_seed("torch"))
        name, parameters = registry.split(config["env"])
        self.spec = registry.resolve("env", name).resolve(parameters)
        self.teacher = self._make_teacher(config["teacher"])
        self._env = ActingEnv(name, parameters, seed=self.seed, stream="env")
        self._evaluation_env: ActingEnv | None = None
        self.observation_space = self._env.env.observation_space
        self.action_space = self._env.env.action_space

    def _make_teacher(self, config: dict[str, Any] | None) -> Any:
        if config is None:
            return None
        name, parameters = registry.split(config)
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
            row = {"event": "episode", "step": self.step_number + 1}
            self.cell.journal(row | {"return": ret, "length": length, "success": success})
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
        returns = [
            masked_sum(s.ground_truth.double(), s.mask).cpu().numpy() for s in (first, second)
        ]
        clear = answered & (labels != 0.5) & (returns[0] != returns[1])
        session = {
            "asked": len(labels),
            "answered": int(answered.sum()),
            "skipped": int((~answered).sum()),
            "ties": int((labels == 0.5).sum()),
            "wrong": int(((labels == 1) != (returns[1] > returns[0]))[clear].sum()),
        }
        for total in (self.counts, self._session):
            total |= {key: total[key] + n for key, n in session.items()}
        return torch.as_tensor(labels, dtype=torch.float32, device=self.device)

    def log(self, event: str, **values: Any) -> None:
        """One journal row; a session row also gets what was asked since the session before."""
        row = {"event": event, "step": self.step_number}
        if event == "session":
            row |= self._session
            self._session = dict.fromkeys(self._session, 0)
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
        for step in range(start, steps + 1):
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
            if step % self.config["eval_every"] == 0 or step == steps:
                self.log("eval", **self._evaluate("eval", self.config["eval_episodes"]))
            if step < steps:
                yield step
        episodes = self.config["final_episodes"]
        self.log("final", episodes=episodes, **self._evaluate("final", episodes))

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
            "session": self._session,
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
        self.counts, self._session = state["counts"], state["session"]
        torch.set_rng_state(state["torch"])
        if state["cuda"] is not None:
            torch.cuda.set_rng_state(state["cuda"], self.device)

    def _evaluate(self, event: str, episodes: int) -> dict[str, Any]:
        """A row's values: the mean action over new episodes.

        Their seeds depend on the run's seed, the event and the step alone: they differ between
        evaluations, and are the same for every method and after every resume.
        """
        agent = self._tracked.get("agent")
        if agent is None:
            raise CellError("run.track(agent=...) is missing; evaluation needs agent.act(obs)")
        if self._evaluation_env is None:
            name, parameters = registry.split(self.config["env"])
            self._evaluation_env = ActingEnv(name, parameters, seed=self.seed, stream="eval")
        steps = evaluation.play(
            agent,
            self._evaluation_env,
            stream=f"{event}/{self.step_number}",
            episodes=episodes,
            device=self.device,
            beat=self._heart.beat,
        )
        reward = self._tracked.get("reward")
        return evaluation.summary(steps) | {
            "labels": self.counts["answered"],
            "asked": self.counts["asked"],
            "reward_accuracy": evaluation.reward_accuracy(reward, steps, self.device),
        }

    def weights(self) -> dict[str, Any]:
        """What was learned: `weights()` of every tracked object that has it, else the agent."""
        learned = {n: o.weights() for n, o in self._tracked.items() if hasattr(o, "weights")}
        return learned or {"agent": self._tracked["agent"].state_dict()}

    def close(self) -> None:
        """Free the environments."""
        self._env.close()
        if self._evaluation_env is not None:
            self._evaluation_env.close()


def _device(name: str) -> torch.device:
    """The device, if it is here; torch's own message for one that is not comes much later."""
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"device {name!r} cannot be used here: {error}") from None
    return device


def execute(cell: "Cell") -> dict[str, Any]:
    """Compute one cell from its configuration, or the rest of it; returns the run's summary."""
    if cell.config["kind"] == "bandit":
        from pbrl.run import bandit  # numba is needed for these cells alone

        return bandit.execute(cell)
    name, parameters = registry.split(cell.config["method"])
    train = registry.resolve("method", name)
    config = registry.config_class(train)
    run = Run(cell)
    try:
        train(run, _settings(name, config, parameters))
        if run.step_number != cell.config["steps"]:
            raise CellError(
                f"method {name!r} ended at step {run.step_number} of {cell.config['steps']}; "
                "expected it to run run.loop(cfg.steps) to its end"
            )
        return {"counts": run.counts, "weights": run.weights()}
    finally:
        run.close()
        faulthandler.cancel_dump_traceback_later()


def _settings(name: str, config: Any, parameters: dict[str, Any]) -> Any:
    from pydantic import ValidationError

    try:
        return config(**parameters)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"method {name!r}: {where}: {first['msg']}") from None
