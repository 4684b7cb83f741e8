"""Online cells: a method acts in an environment and learns its reward from a teacher's labels."""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pbrl import devices, registry
from pbrl.errors import MESSAGE, CellError, ConfigError, shown, where
from pbrl.run import evaluation, rows
from pbrl.run.env import ActingEnv, Transition
from pbrl.run.run import Run
from pbrl.run.seeds import stream_int, stream_seed
from pbrl.run.signals import Interrupted, Stop, beat
from pbrl.run.teacher import COUNTS, AskedTeacher
from pbrl.store.inputs import opened

if TYPE_CHECKING:
    from pbrl.segments import Segments
    from pbrl.store import Cell

TO_EPISODE_END = 2.5  # seconds that a stopped run has where only episode starts can be saved
CHECKPOINT_SHARE = 0.05  # of the run's time; a large replay buffer is then written less often


def execute(cell: "Cell") -> dict[str, Any]:
    """Train the method of an online cell, or the rest of it; returns the run's summary."""
    computed = OnlineCell(cell)
    try:
        return train(computed)
    finally:
        computed.close()


def train(computed: "OnlineCell") -> dict[str, Any]:
    """What `execute` does between the making of environments and their end."""
    name, parameters = registry.split(computed.config["method"])
    method = registry.resolve("method", name)
    try:
        method(Run(computed), _settings(name, registry.config_class(method), parameters))
    except SystemExit as error:
        code = shown(error.code, limit=MESSAGE)
        raise CellError(f"method {name!r} called sys.exit({code}){where(error)}") from error
    if not computed.complete:
        raise CellError(
            f"method {name!r} ended at step {computed.step_number} of {computed.config['steps']}; "
            "expected it to run run.loop(cfg.steps) to its end"
        )
    return {"counts": computed.counts, "weights": computed.weights()}


class OnlineCell:
    """One online cell being computed: what stands behind a `Run`, and what a method must not see.

    Public methods of the same name are documented there.
    """

    def __init__(self, cell: "Cell") -> None:
        config = opened(cell.config)
        self.cell, self.config = cell, config
        self.seed: int = config["seed"]
        self.device = _device(config["device"])
        self.step_number = 0
        self.complete = False
        self._rngs: dict[str, np.random.Generator] = {}
        self._tracked: dict[str, Any] = {}
        self._columns: rows.Kinds = dict.fromkeys(rows.NUMBERS, "numbers")
        self._looped = False
        torch.manual_seed(self.torch_seed("torch"))
        name, parameters = self._environment = registry.split(config["env"])
        self.spec = registry.resolve("env", name).resolve(parameters)
        self.teacher: AskedTeacher | None = None
        if config["teacher"] is not None:
            self.teacher = AskedTeacher(config["teacher"], self.spec, budget=config["labels"])
            if config.get("oracle"):
                from pbrl.run.oracle import oracle  # a world's solvers are needed for these alone

                self.teacher.consult(oracle(config["oracle"], name, parameters))
        self.env = ActingEnv(name, parameters, seed=self.seed, stream="env")
        self._evaluation_envs: list[ActingEnv] = []

    @property
    def counts(self) -> dict[str, int]:
        """Pairs asked, answered, skipped, called a tie, and labeled against the true return."""
        return dict.fromkeys(COUNTS, 0) if self.teacher is None else self.teacher.counts

    @property
    def agent(self) -> Any:
        """What the method tracks under that name, None before it does."""
        return self._tracked.get("agent")

    def rng(self, name: str) -> np.random.Generator:
        if name not in self._rngs:
            self._rngs[name] = np.random.Generator(np.random.PCG64(stream_seed(self.seed, name)))
        return self._rngs[name]

    def torch_seed(self, name: str) -> int:
        return stream_int(self.seed, name)

    # --- acting, asking, logging ----------------------------------------------------------------

    def step(self, action: Any) -> Transition:
        if not self._looped or self.complete or self.env.steps > self.step_number:
            raise CellError(
                f"run.step was called {self.env.steps + 1} times by step {self.step_number} of the "
                "loop; expected at most once in each iteration of run.loop: steps are the budget"
            )
        transition = self.env.step(action)
        if transition.episode is not None:
            ret, length, success = transition.episode
            if self.teacher is not None:
                self.teacher.observe_episode(ret)
            row = {"event": "episode", "step": self.step_number + 1}
            self.cell.journal(row | {"return": ret, "length": length, "success": success})
        return transition

    def ask(self, first: "Segments", second: "Segments") -> torch.Tensor:
        if self.teacher is None:
            raise CellError("run.ask: this method asks for labels but its cell has no teacher")
        asked = self.counts["asked"]
        answers = self.teacher.ask(first, second, self.rng("teacher"))
        for i, (label, p, _, who) in enumerate(zip(*answers, strict=True)):
            who_and_what = {"annotator": int(who), "answer": _known(label), "p_second": _known(p)}
            self._journal("label", {"pair": asked + i, **who_and_what})
        return torch.as_tensor(answers.labels, dtype=torch.float32, device=self.device)

    def log(self, event: str, values: dict[str, Any]) -> None:
        values = rows.checked(event, values, self._columns)
        if event == "session" and self.teacher is not None:
            values |= self.teacher.end_session()
        self._journal(event, values)

    def _journal(self, event: str, values: dict[str, Any]) -> None:
        self.cell.journal({"event": event, "step": self.step_number} | values)

    # --- the loop -------------------------------------------------------------------------------

    def track(self, objects: dict[str, Any]) -> None:
        for name, obj in objects.items():
            if not (hasattr(obj, "state_dict") and hasattr(obj, "load_state_dict")):
                raise CellError(
                    f"track({name}=...): {type(obj).__name__} has no state_dict and "
                    "load_state_dict; without them the run cannot resume"
                )
        self._tracked |= objects

    def loop(self, steps: int) -> Iterator[int]:
        if self._looped:
            raise CellError("run.loop was called twice; a method has one loop")
        if steps != self.config["steps"]:
            raise CellError(
                f"run.loop({steps}) in a cell of {self.config['steps']} steps; expected "
                "run.loop(cfg.steps)"
            )
        self._looped = True
        return self._loop(steps)

    def _loop(self, steps: int) -> Iterator[int]:
        restored = self.cell.restore()
        start = 0
        if restored is not None:
            state, start = restored
            self._load(state)
        every = self.config["execution"]["checkpoint_seconds"]
        due = time.monotonic() + every
        leave = None
        for step in range(start, steps + 1):
            self.step_number = step
            beat()
            stopping = Stop.signal is not None
            now = time.monotonic()
            if stopping and leave is None:
                leave = now + TO_EPISODE_END
            whole = step == start or self._can_checkpoint()
            if step > start and (stopping or now >= due) and whole:
                self.cell.checkpoint(self._state(), step=step)
                took = time.monotonic() - now
                due = time.monotonic() + max(every, took / CHECKPOINT_SHARE)
            if leave is not None and (whole or now >= leave):
                raise Interrupted(Stop.signal)
            if step % self.config["eval_every"] == 0 or step == steps:
                self._journal("eval", self._evaluate("eval", self.config["eval_episodes"]))
            if step < steps:
                yield step
        episodes = self.config["final_episodes"]
        self._journal("final", {"episodes": episodes} | self._evaluate("final", episodes))
        self.complete = True

    def _evaluate(self, event: str, episodes: int) -> dict[str, Any]:
        """A row's values: the mean action over new episodes.

        Their seeds depend on the run's seed, the event and the step alone: they differ between
        evaluations, and are the same for every method and after every resume.
        """
        if self.agent is None:
            raise CellError("run.track(agent=...) is missing; evaluation needs agent.act(obs)")
        name, parameters = self._environment
        while len(self._evaluation_envs) < min(episodes, evaluation.LANES):
            beat()
            env = ActingEnv(name, parameters, seed=self.seed, stream="eval")
            self._evaluation_envs.append(env)
        played = evaluation.play(
            self.agent,
            self._evaluation_envs,
            stream=f"{event}/{self.step_number}",
            episodes=episodes,
            device=self.device,
            beat=beat,
        )
        reward = self._tracked.get("reward")
        return evaluation.summary(played) | {
            "labels": self.counts["answered"],
            "asked": self.counts["asked"],
            "reward_accuracy": evaluation.reward_accuracy(reward, played, self.device),
        }

    def _can_checkpoint(self) -> bool:
        """An environment that cannot save its state is saved between episodes only."""
        return self.env.can_save or self.env.length == 0

    def _state(self) -> dict[str, Any]:
        cuda = torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None
        return {
            "tracked": {name: obj.state_dict() for name, obj in self._tracked.items()},
            "rngs": {name: rng.bit_generator.state for name, rng in self._rngs.items()},
            "torch": torch.get_rng_state(),
            "cuda": cuda,
            "env": self.env.state_dict(),
            "teacher": None if self.teacher is None else self.teacher.state_dict(),
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
        if self.teacher is not None:
            self.teacher.load_state_dict(state["teacher"])
        self.env.load_state_dict(state["env"])
        torch.set_rng_state(state["torch"])
        if state["cuda"] is not None:
            torch.cuda.set_rng_state(state["cuda"], self.device)

    def weights(self) -> dict[str, Any]:
        """What was learned: `weights()` of every tracked object that has it, else the agent."""
        learned = {n: o.weights() for n, o in self._tracked.items() if hasattr(o, "weights")}
        return learned or {"agent": self._tracked["agent"].state_dict()}

    def close(self) -> None:
        """Free the environments."""
        for env in (self.env, *self._evaluation_envs):
            env.close()


def _known(number: float) -> float | None:
    """A number, or None for NaN."""
    return None if np.isnan(number) else float(number)


def _device(name: str) -> torch.device:
    """The device, if it is here; torch's own message for one that is not comes much later."""
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = devices.missing(name) or str(error).partition("\n")[0][:200]
        raise ConfigError(f"device {name!r} cannot be used here: {reason}") from None
    return device


def _settings(name: str, config: Any, parameters: dict[str, Any]) -> Any:
    from pydantic import ValidationError

    try:
        return config(**parameters)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"method {name!r}: {where}: {first['msg']}") from None
