"""Every speed table of results/speed, in Markdown, in one go: about ten minutes.

    python tests/benchmarks/speed.py [--only update acting reward run] [--rounds 5]
        [--sbx PYTHON] [--bpref FOLDER] [--before FOLDER] [--into FILE]

Each contestant is a process of its own with one thread, all on one core, and they are asked in
turns, so that a busy machine slows all of them; a number is CPU time, the least of the rounds. The
variables OPENBLAS_CORETYPE and OPENBLAS_L2_SIZE, which slow a current OpenBLAS, are not passed on.

--sbx takes an interpreter of another environment; --bpref a checkout of B-Pref's code
(github.com/rll-research/BPref); --before a checkout of an earlier version of this suite. --into
replaces what follows the line "<!-- tables -->" of a file, results/speed/README.md:

    python3.11 -m venv sbx && sbx/bin/pip install sbx-rl "dm-control==1.0.28" "mujoco==3.3.0" \
        "numpy<2.4" annotated-types packaging
    git clone https://github.com/rll-research/BPref bpref
    git worktree add before COMMIT
"""

import argparse
import inspect
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
ROOT = HERE.parents[2]
SHAPES = {
    "walker, 2 x 64, batch 64": {"obs": 24, "act": 6, "hidden": 64, "layers": 2, "batch": 64},
    "walker, 2 x 256, batch 256": {"obs": 24, "act": 6, "hidden": 256, "layers": 2, "batch": 256},
    "Meta-World, 3 x 256, batch 512": {
        "obs": 39, "act": 4, "hidden": 256, "layers": 3, "batch": 512,
    },
    "walker, 2 x 1024, batch 1024": {
        "obs": 24, "act": 6, "hidden": 1024, "layers": 2, "batch": 1024,
    },
    "quadruped, 2 x 1024, batch 1024": {
        "obs": 78, "act": 12, "hidden": 1024, "layers": 2, "batch": 1024,
    },
}  # fmt: skip
RUN = 5000  # steps of the whole run that is timed
LONG, LONG_EVALUATIONS = 300_000, 160  # steps of a default run, and its evaluation episodes
MARK = "<!-- tables -->\n"
SECONDS = 0.15  # of work between two turns, or one unit of it

Value = float | None


class Contestant:
    """A process that works when asked."""

    def __init__(self, *command: str, root: Path = ROOT) -> None:
        slow = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
        env = {key: value for key, value in os.environ.items() if key not in slow}
        threads = ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "NUMBA")
        env |= {f"{name}_NUM_THREADS": "1" for name in threads}
        env |= {"PYTHONPATH": str(root), "CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}
        env |= {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, text=True, cwd=root
        )
        self.about: list[str] = self._answer()

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.process.args} ended with code {self.process.wait()}")
        return json.loads(line)

    def ask(self, task: str, options: dict[str, Any], n: int) -> dict[str, float]:
        """CPU seconds per unit of the task, by name."""
        assert self.process.stdin is not None
        print(json.dumps({"task": task, "options": options, "n": n}), file=self.process.stdin)
        self.process.stdin.flush()
        return self._answer()


Entry = tuple[str, str, str, dict[str, Any]]
"""(column, contestant, task, options)"""


class Contest:
    """All contestants, started when first needed."""

    def __init__(self, given: argparse.Namespace) -> None:
        worker = str(HERE.with_name("contestants.py"))
        self.rounds = given.rounds
        self.commands: dict[str, tuple[tuple[str, ...], Path]] = {
            name: ((sys.executable, worker, name), ROOT) for name in ("ours", "sb3", "bare")
        }
        if given.sbx:
            self.commands["sbx"] = (str(Path(given.sbx).absolute()), worker, "sbx"), ROOT
        if given.bpref:
            folder = str(Path(given.bpref).resolve())
            self.commands["bpref"] = (sys.executable, worker, "bpref", folder), ROOT
        if given.before:
            before = Path(given.before).resolve()
            self.commands["before"] = (sys.executable, worker, "ours"), before
        self.running: dict[str, Contestant] = {}

    def contestant(self, name: str) -> Contestant:
        if name not in self.running:
            command, root = self.commands[name]
            self.running[name] = Contestant(*command, root=root)
        return self.running[name]

    def best(self, entries: Iterable[Entry]) -> dict[str, float]:
        """Least seconds of each column whose contestant is here; they take turns."""
        here = [entry for entry in entries if entry[1] in self.commands]
        often: dict[str, int] = {}
        for column, who, task, options in here:
            self.contestant(who).ask(task, options, 1)  # builds and compiles
            once = self.contestant(who).ask(task, options, 1)["seconds"]
            often[column] = max(1, round(SECONDS / once))
        found = dict.fromkeys(often, float("inf"))
        for _ in range(self.rounds):
            for column, who, task, options in here:
                took = self.contestant(who).ask(task, options, often[column])["seconds"]
                found[column] = min(found[column], took)
        return found

    def machine(self) -> str:
        """The machine, and of each contestant its versions and kernels."""
        when = f"{date.today()}, load {os.getloadavg()[0]:.1f} at the end"
        lines = ["## Machine", "", f"{cpu()}, {platform.system()}; {when}."]
        lines += [""] + [f"- {n}: {', '.join(c.about)}" for n, c in sorted(self.running.items())]
        return "\n".join(lines)


def cpu() -> str:
    names = []
    if os.path.exists("/proc/cpuinfo"):
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        names = [line.split(":")[1].strip() for line in text.splitlines() if "model name" in line]
        wide = next((kind for kind in ("amx_tile", "avx512f", "avx2") if kind in text), "")
        names = [f"{names[0]} ({wide}), one of {os.cpu_count()} cores"] if names else []
    return names[0] if names else f"{platform.machine()}, one of {os.cpu_count()} cores"


def table(columns: Sequence[str], rows: Iterable[tuple[str, Sequence[str]]]) -> str:
    """Markdown; the first column is text, the others are numbers."""
    lines = ["| " + " | ".join(("", *columns)) + " |", "|---|" + "---:|" * len(columns)]
    return "\n".join(lines + [f"| {name} | " + " | ".join(row) + " |" for name, row in rows])


def number(value: Value, unit: float = 1.0) -> str:
    """Three significant digits, – where there is none."""
    if value is None:
        return "–"
    scaled = value * unit
    return f"{scaled:.0f}" if scaled >= 100 else f"{scaled:.3g}"


def ratio(value: Value, to: Value) -> str:
    return number(None if value is None or to is None else value / to)


def matched(contest: Contest, title: str, unit: float, found: dict[str, dict[str, float]]) -> str:
    """One row per shape, and ours as a part of SB3's and of SBX's time."""
    present = {column for row in found.values() for column in row}
    order = ("compiled", "torch", "before", "SB3", "SBX", "B-Pref", "bare products")
    columns = [column for column in order if column in present]
    rows = []
    for shape, row in found.items():
        ours = row.get("compiled", row.get("torch"))
        cells = [number(row.get(column), unit) for column in columns]
        cells += [ratio(row.get("torch"), row.get("SB3")), ratio(ours, row.get("SB3"))]
        cells += [ratio(ours, row.get("SBX")), ratio(ours, row.get("bare products"))]
        rows.append((shape, cells))
    columns += ["torch / SB3", "compiled / SB3", "compiled / SBX", "compiled / bare"]
    if "bare products" not in present:
        columns, rows = columns[:-1], [(name, row[:-1]) for name, row in rows]
    return f"## {title}\n\n" + table(columns, rows)


def update(contest: Contest) -> str:
    found = {}
    for name, shape in SHAPES.items():
        entries = [
            ("compiled", "ours", "update", {"core": "compiled"} | shape),
            ("torch", "ours", "update", {"core": "torch"} | shape),
            ("before", "before", "update", {"core": "torch"} | shape),
            ("SB3", "sb3", "update", shape),
            ("SBX", "sbx", "update", shape),
            ("B-Pref", "bpref", "update", shape),
            ("bare products", "bare", "update", shape),
        ]
        found[name] = contest.best(entries)
    title = "One SAC update, sampling and noise included: milliseconds"
    return matched(contest, title, 1e3, found)


def acting(contest: Contest) -> str:
    found = {}
    for name, shape in SHAPES.items():
        if shape["batch"] == 1024 and shape["obs"] > 24:
            continue
        entries = [
            ("compiled", "ours", "acting", {"core": "compiled"} | shape),
            ("torch", "ours", "acting", {"core": "torch"} | shape),
            ("before", "before", "acting", {"core": "torch"} | shape),
            ("SB3", "sb3", "acting", shape),
            ("SBX", "sbx", "acting", shape),
            ("B-Pref", "bpref", "acting", shape),
        ]
        found[name.rpartition(",")[0]] = contest.best(entries)
    acted = matched(contest, "One action drawn from the policy: microseconds", 1e6, found)
    rows = []
    for width in (64, 256):
        options = {"obs": 24, "act": 6, "width": width}
        one = contest.best(
            [
                ("compiled", "ours", "step_reward", {"core": "compiled"} | options),
                ("torch", "ours", "step_reward", {"core": "torch"} | options),
                ("before", "before", "step_reward", {"core": "torch"} | options),
                ("B-Pref", "bpref", "step_reward", options),
            ]
        )
        cells = [number(one.get(c), 1e6) for c in ("compiled", "torch", "before", "B-Pref")]
        rows.append((f"3 members of 3 x {width}", [*cells, ratio(one["compiled"], one["torch"])]))
    columns = ["compiled", "torch", "before", "B-Pref", "compiled / torch"]
    return f"{acted}\n\n## The learned reward of one step: microseconds\n\n" + table(columns, rows)


def reward(contest: Contest) -> str:
    """Training of the reward ensembles, and relabeling."""
    rows = []
    for pairs, minibatch in ((500, 128), (50, 5)):
        options = {"pairs": pairs, "minibatch": minibatch}
        for name, reed in (("PEBBLE's", False), ("REED's", True)):
            kind = options | {"reed": reed}
            one = contest.best(
                [
                    ("ours", "ours", "fit", kind),
                    ("before", "before", "fit", kind),
                    ("bare products", "bare", "fit", kind),
                    *([] if reed else [("loop over members", "bare", "loop", options)]),
                ]
            )
            rows.append((f"{name}, {pairs} labels in minibatches of {minibatch}", one))
    for width in (64, 256):
        options = {"width": width}
        entries = [("ours", "ours", "relabel", options), ("before", "before", "relabel", options)]
        rows.append((f"relabeling 10,000 steps, 3 x (3 x {width})", contest.best(entries)))
    columns = ["ours", "before", "bare products", "loop over members"]
    shown = [
        (
            name,
            [number(row.get(c), 1e3) for c in columns]
            + [ratio(row["ours"], row.get(c)) for c in columns[1:]],
        )
        for name, row in rows
    ]
    columns += [f"ours / {column}" for column in columns[1:]]
    title = "One epoch of reward training, 3 x (3 x 256), segments of 50 steps: milliseconds"
    return f"## {title}\n\n" + table(columns, shown)


def run(contest: Contest) -> str:
    """Whole runs of PEBBLE's default settings on walker-walk, evaluation included."""
    names = {
        "ours": "PEBBLE, compiled", "before": "PEBBLE, before", "sb3": "SAC, SB3",
        "sbx": "SAC, SBX", "bpref": "PEBBLE, B-Pref",
    }  # fmt: skip
    found: dict[str, dict[str, float]] = {}
    for seed in (1, 2):  # in turns, the least of both
        for who in (name for name in names if name in contest.commands):
            own = who in ("ours", "before")
            played = {} if own else {"evaluations": int(found["ours"]["evaluations"])}
            took = contest.contestant(who).ask("run", {"steps": RUN} | played, seed)
            found[who] = {key: min(took[key], found.get(who, took)[key]) for key in took}
    ours = found["ours"]
    episodes = int(ours["evaluations"])
    rows = []
    for took in found.values():
        took["default"] = LONG * took["late"] + LONG_EVALUATIONS * took["episode"]
    for who, took in found.items():
        kinds = ("whole", "training", "late")
        cells = [number(1 / took[kind]) for kind in kinds]
        cells += [number(took["episode"], 1e3), number(took["default"] / 60)]
        cells += [ratio(took[kind], ours[kind]) for kind in (*kinds, "default")]
        rows.append((names[who], cells))
    columns = ["whole run", "without evaluation", "past the labels", "ms an evaluation episode"]
    columns += [f"minutes of {LONG:,} steps", "whole / ours", "without / ours", "past / ours"]
    columns += ["minutes / ours"]
    title = f"A run of {RUN:,} steps on walker-walk, 2 x 64, batch 64: steps per second"
    notes = f"""
The whole run has {episodes} evaluation episodes of 1,000 steps; peers played 10, whose time is
multiplied. "Past the labels" is the fastest 100 steps after the last session, and the minutes of a
run of {LONG:,} steps, PEBBLE's default, are that many such steps and {LONG_EVALUATIONS} evaluation
episodes. The last columns are times, as parts of ours."""
    return f"## {title}\n\n" + table(columns, rows) + "\n" + notes


TABLES = {"update": update, "acting": acting, "reward": reward, "run": run}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=inspect.getdoc(inspect.getmodule(main)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sbx", metavar="PYTHON")
    parser.add_argument("--bpref", metavar="FOLDER")
    parser.add_argument("--before", metavar="FOLDER")
    parser.add_argument("--into", metavar="FILE", type=Path)
    given = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    contest, parts = Contest(given), []
    for name in given.only:
        parts.append(TABLES[name](contest))
        print(parts[-1], end="\n\n", flush=True)
    parts.append(contest.machine())
    print(parts[-1])
    if given.into:
        kept, _, _ = given.into.read_text(encoding="utf-8").partition(MARK)
        given.into.write_text(kept + MARK + "\n" + "\n\n".join(parts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
