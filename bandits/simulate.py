"""Play an algorithm on a problem for many repetitions, and record every regret on the way.

**Problem.** Any object with the attributes

    matrices : float64 [M, K, K]   P(i beats j); rows i, columns j; m[i, j] + m[j, i] = 1; an array,
                                   or `bandits.preferences.Later` where few of many are ever played
    starts   : int64 [S]           first duel (0-based) of each segment, increasing; starts[0] = 0
    order    : int64 [S]           segment s plays matrices[order[s]]; optional: 0..S-1 (then S = M)
    truth    : float64 [M, K, K]   matrices that regret is measured by, when they are not the ones
                                   duels are drawn from (corrupted feedback); optional: `matrices`
    features : float64 [K, d]      what a contextual algorithm is told of each arm; optional
    utilities: float64 [K]         what the arms are worth; optional
    notes    : list of str         what a reader of results must know of it; optional

A stationary problem has M = S = 1. Drifting and adversarial ones have many segments, down to one
duel long. A problem whose instance is random may instead have `sample(rng: np.random.Generator) ->
problem`; then every repetition plays a draw of its own, that depends on (seed, repetition) only.

**Algorithm.** An object with

    start(K, T, rng)         fresh state for K arms and horizon T; called before the first duel
    choose(rng) -> (i, j)    the next pair; i == j is allowed
    observe(i, j, won)       whether i beat j; for i == j a fair coin: ignore it in estimates
    winner() -> int          optional: the arm it would name now (-1: none); recorded at checkpoints
    resets                   optional int attribute: restarts so far; their times are recorded
    check(K, T)              optional: raises ValueError or warns when K or T do not suit it
    learns_from_any_pair     optional, True for an algorithm that can use duels it did not choose:
                             `mdb` shows it those of its monitoring
    features                 optional attribute, float64 [K, d]: what it is told of the arms, in
                             this repetition's labels; set before `start`

All state is set in `start`, all randomness is drawn from `rng` in `start` and `choose`
(`rng.random()`, `rng.integers(n)`, `rng.beta(a, b)`, `rng.standard_normal()`, as of a numpy
Generator). `bandits.compiled` explains when such a class runs at compiled speed.

**Regret.** `bandits.regret.tables(p [K, K], utilities) -> dict[name, float64 [K, K]]` is the regret
of one duel (i, j) for every name; NaN where a regret is undefined (no Condorcet winner).
Each duel is charged by the matrix of its own segment (dynamic regret).

**Streams.** Repetition r of seed n uses the SFC64 streams of SeedSequence(n, spawn_key=(r, k)):
k = 0 for the duels (one uniform each, so all algorithms meet the same luck), 1 for the algorithm,
2 for the labels of the arms, 3 for the draw of a random problem. It depends on (n, r) only, never
on the batch.

**Cost.** A duel costs the same however many checkpoints there are, and only segments that begin
before the horizon are made. Beside the problem's own matrix a repetition holds two integers for
each pair: one count since the last checkpoint, and one in all.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from bandits.compiled import CACHE, is_compiled, loop, parameters
from bandits.preferences import as_problem
from bandits.regret import LARGER, MEAN, SMALLER, arm_values, policy_regret, rules
from bandits.rng import from_words, generator, words

DUELS, ALGORITHM, LABELS, PROBLEM = range(4)
ROOM = 2**16  # different pairs that are counted before they are charged


@dataclass
class Result:
    """What was recorded: R repetitions, C checkpoints, K arms in the problem's own labels."""

    checkpoints: np.ndarray
    """Duels played, int64 [C], increasing."""
    regret: dict[str, np.ndarray]
    """Cumulative regret after that many duels, float64 [R, C] per name of `bandits.regret`.

    With utilities also utility_average (half of the contextual regret 2 u* - u_i - u_j of the
    literature), utility_strong and utility_weak.
    """
    winner: np.ndarray
    """The arm named at each checkpoint, int64 [R, C]; -1 for none."""
    plays: np.ndarray
    """Duels of every ordered pair, int64 [R, K, K]."""
    policy_regret: np.ndarray
    """Regret at the horizon against the best single arm in hindsight, float64 [R]."""
    resets: list[np.ndarray]
    """Per repetition the times (number of duels played) of the algorithm's restarts, increasing."""
    seconds: float
    """Time of the simulation, without compiling."""
    compile_seconds: float
    """Time of compiling, or of loading from the cache; 0 for a plain Python class."""


def checkpoints(horizon: int) -> np.ndarray:
    """About 50 log-spaced and 50 evenly spaced times up to the horizon, int64, increasing."""
    logarithmic = np.geomspace(1, horizon, min(horizon, 50))
    even = np.linspace(horizon / 50, horizon, 50)
    return np.unique(np.maximum(1, np.round([*logarithmic, *even])).astype(np.int64))


def simulate(
    problem: Any,
    algorithm: Any,
    *,
    horizon: int,
    repetitions: int,
    seed: int,
    first_repetition: int = 0,
    checkpoints: Sequence[int] | np.ndarray | None = None,
    shuffle: bool = True,
) -> Result:
    """Play `repetitions` repetitions of `seed`, numbered from `first_repetition` on.

    With `shuffle` the algorithm meets the arms under labels permuted anew in each repetition.
    Raises ValueError for a horizon or number of repetitions below 1, checkpoints outside
    1..horizon, a problem that is not as the contract says, and an algorithm that plays or names an
    arm that does not exist.
    """
    times = _times(checkpoints, horizon, repetitions)
    fixed = None if hasattr(problem, "sample") else _Arrays(problem, horizon)
    compiled = is_compiled(algorithm)
    play: Any = None
    drawn: Any = fixed
    seconds = compile_seconds = 0.0
    plays, policy, rows = [], [], []
    for r in range(first_repetition, first_repetition + repetitions):
        if fixed is None:
            drawn = None  # frees the last one before the next is made
            drawn = _Arrays(problem.sample(generator(seed, r, PROBLEM)), horizon)
        K = drawn.K
        arms = generator(seed, r, LABELS).permutation(K) if shuffle else np.arange(K)
        own: list[Any] = [generator(seed, r, DUELS), generator(seed, r, ALGORITHM)]
        if hasattr(algorithm, "features"):
            algorithm.features = drawn.features_of(arms, type(algorithm).__name__)
        given = algorithm
        if compiled:
            given, own = parameters(algorithm), [words(stream) for stream in own]
        plays.append(np.zeros((K, K), np.int64))
        slots = np.zeros((len(drawn.truth), K), np.int64)
        state = (given, *own, arms, *drawn.arrays, horizon, plays[-1], slots)
        if play is None:
            if hasattr(algorithm, "check"):
                algorithm.check(K, horizon)
            began = time.perf_counter()
            play = loop(_play, algorithm, K, horizon, from_words) if compiled else _play
            if compiled:
                play(*state, np.empty(0, np.int64))  # no duel: compiles, or loads from the cache
            compile_seconds = time.perf_counter() - began
        began = time.perf_counter()
        rows.append(play(*state, times))
        seconds += time.perf_counter() - began
        policy.append(policy_regret(drawn.truth, slots))
    regret, winner, resets = zip(*rows, strict=True)
    by_name = dict(zip(drawn.names, np.moveaxis(np.array(regret), 2, 0), strict=True))
    all_plays = plays[0][None] if len(plays) == 1 else np.array(plays)  # no copy of a large one
    return Result(
        times,
        by_name,
        np.array(winner),
        all_plays,
        np.array(policy),
        [*resets],
        seconds,
        compile_seconds,
    )


def _times(given: Any, horizon: int, repetitions: int) -> np.ndarray:
    if horizon < 1 or repetitions < 1:
        raise ValueError(
            f"horizon = {horizon} and repetitions = {repetitions}; both must be at least 1"
        )
    times = checkpoints(horizon) if given is None else np.unique(np.asarray(given, np.int64))
    if not times.size or times[0] < 1 or times[-1] > horizon:
        raise ValueError(f"checkpoints must lie in 1..{horizon} (the horizon); found {given}")
    return times


class _Arrays:
    """A problem as the arrays the loop reads, of the segments that begin before the horizon."""

    def __init__(self, problem: Any, horizon: int) -> None:
        problem = as_problem(problem)
        self.K, self.features = problem.K, problem.features
        starts = problem.starts[problem.starts < horizon]
        used, order = np.unique(problem.order[: len(starts)], return_inverse=True)
        matrices = _some(problem.matrices, used)
        self.truth = truth = (
            matrices if problem.truth is problem.matrices else _some(problem.truth, used)
        )
        utilities = problem.utilities
        by_name = rules(utilities)
        self.names = [*by_name]
        costs = (*arm_values(truth, utilities), np.array([*by_name.values()]))
        self.arrays = (matrices, order, starts, *costs)

    def features_of(self, arms: np.ndarray, user: str) -> np.ndarray:
        """The arms' features [K, d] in this order; ValueError if the problem has none."""
        if self.features is None:
            raise ValueError(
                f"{user} chooses by the arms' features, and this problem has none; "
                "play it on a contextual problem such as hypercube"
            )
        return np.ascontiguousarray(self.features[arms], np.float64)


def _some(matrices: Any, used: np.ndarray) -> np.ndarray:
    """matrices[used], without a copy where all are."""
    if isinstance(matrices, np.ndarray):
        every = len(used) == len(matrices)
        return np.ascontiguousarray(matrices if every else matrices[used])
    return np.stack([matrices[m] for m in used])


def _same(x: Any) -> Any:
    return x


# What `_play` leaves open, as plain Python algorithms need it; `compiled.loop` binds other things.
build: Any = _same  # the algorithm's presets -> its state
stream: Any = _same  # a random stream's state -> the stream
free: Any = _same


def winner_of(algorithm: Any) -> int:
    return algorithm.winner() if hasattr(algorithm, "winner") else -1


def resets_of(algorithm: Any) -> int:
    return getattr(algorithm, "resets", 0)


@njit(cache=CACHE, nogil=True)
def _charge(
    met: Any, counts: Any, values: Any, base: Any, rules: Any, total: Any, plays: Any, slots: Any
) -> None:
    """Move the counted duels of the pairs met (x K + y, each once) into the sums."""
    K = counts.shape[0]
    for pair in np.sort(met):  # in one order, so that sums do not depend on who was met first
        x, y = pair // K, pair % K
        for n in range(rules.shape[0]):
            what, how = rules[n]
            first, second = values[what, x], values[what, y]
            if how == LARGER:
                cost = max(first, second)
            elif how == SMALLER:
                cost = min(first, second)
            else:
                cost = (first + second) / (2 if how == MEAN else 1)
            total[n] += counts[x, y] * (base[what] + cost)
        plays[x, y] += counts[x, y]
        slots[x] += counts[x, y]
        slots[y] += counts[x, y]
        counts[x, y] = 0


@njit(cache=CACHE, nogil=True)
def _longer(times: Any) -> Any:
    """A copy with twice the room."""
    copy = np.empty(2 * times.size, np.int64)
    for k in range(times.size):
        copy[k] = times[k]
    return copy


def _play(
    given, env_state, own_state, arms,
    matrices, order, starts, values, base, rules, horizon, plays, slots, times, code="",
):  # fmt: skip
    """One repetition: (regret [C, n], winner [C], reset times); its duels are added to `plays`
    [K, K], and what they gave each arm under each matrix to `slots` [M, K]."""
    algorithm, env, rng = build(given), stream(env_state), stream(own_state)
    K = arms.size
    algorithm.start(K, horizon, rng)
    regret, winner = np.zeros((times.size, len(rules))), np.zeros(times.size, np.int64)
    total, counts = np.zeros(len(rules)), np.zeros((K, K), np.int64)
    met, pairs = np.empty(min(K * K, ROOM), np.int64), 0  # those with a count, each once
    reset_times, resets = np.empty(16, np.int64), 0
    segment, begin = 0, 0
    for c in range(times.size):
        while begin < times[c]:
            while segment + 1 < starts.size and starts[segment + 1] <= begin:
                segment += 1
            end = times[c]
            if segment + 1 < starts.size:
                end = min(end, starts[segment + 1])
            m = order[segment]
            p = matrices[m]
            for t in range(begin, end):
                i, j = algorithm.choose(rng)
                if not (0 <= i < K and 0 <= j < K):
                    raise ValueError("choose must return two arms in 0..K-1; found another number")
                x, y = arms[i], arms[j]
                if counts[x, y] == 0:
                    if pairs == met.size:
                        _charge(met, counts, values[m], base[m], rules, total, plays, slots[m])
                        pairs = 0
                    met[pairs] = x * K + y
                    pairs += 1
                counts[x, y] += 1
                algorithm.observe(i, j, env.random() < p[x, y])
                if resets_of(algorithm) != resets:
                    if resets == reset_times.size:
                        reset_times = _longer(reset_times)
                    reset_times[resets] = t + 1
                    resets += 1
            _charge(met[:pairs], counts, values[m], base[m], rules, total, plays, slots[m])
            pairs, begin = 0, end
        regret[c] = total
        named = winner_of(algorithm)
        if named >= K:
            raise ValueError("winner must return an arm in 0..K-1, or -1; found another number")
        winner[c] = arms[named] if named >= 0 else -1
    free(algorithm)
    return regret, winner, reset_times[:resets].copy()
