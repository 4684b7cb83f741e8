"""Duels per second of every dueling-bandit algorithm, on one core, beside duelpy's where wanted.

    python tests/benchmarks/bandit_speed.py [NAME ...] [--duelpy PYTHON] [--arms K] [--seconds S]

--duelpy takes an interpreter of another environment in which duelpy imports; duelpy 1.0.0 needs an
old numpy:

    python3.11 -m venv old && old/bin/pip install duelpy "numpy<1.24" "scipy<1.11" "pandas<2.1"

Times are user CPU seconds, the best of three runs; compiling is measured apart ("from cache" when a
compiled loop was found on disk). A random Condorcet matrix is played, smallest gap 0.05.

What was gained by drawing the side of 1/2 instead of a Beta variable (RCS, D-TS), by recounting
only rows whose sure losses changed (D-TS, CCB) and by remembering the place in the first phase
(RMED), each against the version before in one process, CPU ns per duel on a shared machine:

    rcs    K =   10   duels 1,000 to 300,000         628 ->        78    8.0 x
    d-ts   K =   10   duels 1,000 to 100,000       2,284 ->       783    2.9 x
    rcs    K = 1000   duels 1,000 to 40,000       30,700 ->    13,200    2.3 x
    d-ts   K = 1000   duels 200 to 500        10,500,000 -> 2,530,000    4.1 x
    ccb    K = 1000   duels 1,000 to 8,000       142,400 ->     6,800   20.9 x
    rmed1  K = 1000   duels 1,000 to 40,000       16,500 ->     3,300    5.0 x, more the later

The windows of DETECT, one per opponent instead of one per pair, take a K-th of the memory.
"""

import argparse
import inspect
import json
import os
import platform
import resource
import subprocess
import warnings

import numpy as np

from bandits.algorithms import create, names
from bandits.preferences import stationary
from bandits.problems.random_matrices import condorcet_matrix
from bandits.simulate import simulate

# duels per second that are to be reached at K = 10, and the measured rate of the non-stationary
# paper's own Java on the machine these targets were set on
TARGETS = {
    "btw": 40e6, "btwr": 40e6, "mbtw": 40e6, "ws-w": 40e6, "ws-s": 40e6, "detect": 20e6,
    "mdb": 25e6, "rucb": 5e6, "rmed1": 3e6, "rmed2": 3e6, "rmed2fh": 3e6, "ccb": 3e6,
    "d-ts": 3e5, "rcs": 3e5,
}  # fmt: skip

# our name -> (duelpy's class, where duelpy 1.0.0 departs from the paper)
DUELPY = {
    "rucb": ("RelativeUCB", "records the champion as winner of every duel"),
    "d-ts": ("DoubleThompsonSampling", "second arm from the champion's row"),
    "d-ts-plus": ("DoubleThompsonSamplingPlus", "ignores the sampled Copeland scores"),
    "rcs": ("RelativeConfidenceSampling", ""),
    "savage": ("Savage", "radius of the wrong size: decides a pair after one duel"),
    "ws-w": ("WinnerStaysWeakRegret", ""),
    "ws-s": ("WinnerStaysStrongRegret", "one duel per exploration phase"),
    "ccb": ("CopelandConfidenceBound", ""),
    "rmed1": ("Rmed1", "opponents are the first element only"),
    "rmed2fh": ("Rmed2FH", "sign of the regret flipped"),
    "merge-rucb": ("MergeRUCB", ""),
    "btm": ("BeatTheMeanBandit", "wrong row subtracted after an elimination"),
    "if1": ("InterleavedFiltering", ""),
    "scb": ("ScalableCopelandBandits", ""),
    "ecw-rmed": ("CwRmed", "tests mu < x where |mu - 1/2| < x is meant"),
}

PEER = """
import json, sys, time
import numpy as np
import duelpy.algorithms as algorithms
from duelpy.feedback import MatrixFeedback
matrix, classes, seconds = np.array(json.loads(sys.argv[1])), sys.argv[2].split(","), 5.0
for name in classes:
    feedback = MatrixFeedback(matrix, random_state=np.random.RandomState(0))
    duels = [0]
    original = feedback.duel
    def duel(i, j):
        duels[0] += 1
        return original(i, j)
    feedback.duel = duel
    algorithm = getattr(algorithms, name)(feedback, time_horizon=10**6)
    began = time.process_time()
    try:
        while time.process_time() - began < seconds and not algorithm.is_finished():
            algorithm.step()
        print(name, duels[0] / (time.process_time() - began), flush=True)
    except Exception as error:
        print(name, "nan", repr(error), flush=True)
"""


def user_seconds() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_utime


def measure(name: str, K: int, seconds: float) -> tuple[float, int, float]:
    """(duels per second, horizon of the timed run, seconds of compiling)."""
    p = condorcet_matrix(K, 0, 0.55, 1.0, np.random.default_rng(0))
    problem = stationary(p, features=np.eye(K))
    first = simulate(problem, create(name), horizon=2000, repetitions=1, seed=0)
    horizon, used = 2000, 0.0
    while used < seconds / 3 and horizon < 10**8:
        horizon *= 4
        began = user_seconds()
        simulate(problem, create(name), horizon=horizon, repetitions=1, seed=0)
        used = user_seconds() - began
    rates = []
    for seed in range(3):
        began = user_seconds()
        simulate(problem, create(name), horizon=horizon, repetitions=1, seed=seed)
        rates.append(horizon / (user_seconds() - began))
    return max(rates), horizon, first.compile_seconds


def peer(python: str, wanted: list[str], K: int) -> dict[str, float]:
    """duelpy's duels per second, by our names."""
    classes = {DUELPY[name][0]: name for name in wanted if name in DUELPY}
    p = condorcet_matrix(K, 0, 0.55, 1.0, np.random.default_rng(0))
    done = subprocess.run(
        [python, "-c", PEER, json.dumps(p.tolist()), ",".join(classes)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = [line.split() for line in done.stdout.splitlines()]
    return {classes[line[0]]: float(line[1]) for line in lines}


def machine() -> str:
    model = "unknown CPU"
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            models = [line.split(":")[1].strip() for line in file if line.startswith("model name")]
        model = models[0] if models else model
    load = f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    return f"{model}, {load}, Python {platform.python_version()}"


def main() -> None:
    parser = argparse.ArgumentParser(description=inspect.getdoc(inspect.getmodule(main)))
    parser.add_argument("names", nargs="*")
    parser.add_argument("--duelpy")
    parser.add_argument("--arms", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=1.0)
    given = parser.parse_args()
    wanted = given.names or names()
    theirs = peer(given.duelpy, wanted, given.arms) if given.duelpy else {}
    print(machine(), f"K = {given.arms}")
    warnings.simplefilter("ignore")
    for name in wanted:
        rate, horizon, compiling = measure(name, given.arms, given.seconds)
        cached = "from cache" if compiling < 0.4 else f"compiled in {compiling:.1f} s"
        line = f"{name:16} {rate / 1e6:9.3f} M duels/s  T = {horizon:.1e}  {cached:20}"
        if name in TARGETS and given.arms == 10:
            line += (
                f" target {TARGETS[name] / 1e6:g} M: {'met' if rate >= TARGETS[name] else 'MISSED'}"
            )
        if name in theirs:
            note = DUELPY[name][1]
            line += f"  duelpy {theirs[name]:.0f}/s, ratio {rate / theirs[name]:.0f}"
            line += f" ({note})" if note else ""
        print(line, flush=True)


if __name__ == "__main__":
    main()
