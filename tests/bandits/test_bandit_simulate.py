"""The simulator: what it records, what it refuses, and algorithms of the user's own."""

import math
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from bandits import rng as streams
from bandits.algorithms import create, names
from bandits.compiled import builder, compiled, sources
from bandits.preferences import RandomProblem, piecewise, stationary
from bandits.registry import ALGORITHMS
from bandits.regret import tables
from bandits.simulate import checkpoints, simulate

P = np.array([[0.5, 0.7, 0.9], [0.3, 0.5, 0.6], [0.1, 0.4, 0.5]])


class Alternate:
    """Plays (0, 1), (1, 2), (2, 0), ... and remembers the outcomes."""

    def start(self, K, T, rng):
        self.K, self.t = K, 0
        self.outcomes = []

    def choose(self, rng):
        self.t += 1
        return (self.t - 1) % self.K, self.t % self.K

    def observe(self, i, j, won):
        self.outcomes.append(won)


@compiled
class Cycle:
    """The same, compiled; names the arm `best` from the second duel on; a reset after each duel."""

    best: int = 1

    def start(self, K, T, rng):
        self.K, self.t, self.resets = K, 0, 0

    def choose(self, rng):
        self.t += 1
        return (self.t - 1) % self.K, self.t % self.K

    def observe(self, i, j, won):
        self.resets += 1

    def winner(self):
        return self.best if self.t > 1 else -1


def run(algorithm, problem=None, **how):
    how = {"horizon": 9, "repetitions": 2, "seed": 0, "shuffle": False} | how
    return simulate(problem or stationary(P), algorithm, **how)


@pytest.mark.parametrize("algorithm", [Alternate(), Cycle()])
def test_every_regret_is_the_sum_of_its_table(algorithm):
    result = run(algorithm, checkpoints=[3, 9])
    expected = np.zeros((3, 3), int)
    for t in range(9):
        expected[t % 3, (t + 1) % 3] += 1
    assert (result.plays == expected).all()
    for name, table in tables(P).items():
        total = (expected * table).sum()
        assert result.regret[name] == pytest.approx(np.array([[total / 3, total]] * 2))


def test_regret_follows_the_matrix_of_the_segment():
    changing = piecewise(np.array([P, P[::-1, ::-1]]), starts=[0, 4])
    result = run(Cycle(), changing, checkpoints=[4, 9])
    pairs = [(t % 3, (t + 1) % 3) for t in range(9)]
    costs = [tables(P)["strong"]] * 4 + [tables(P[::-1, ::-1].copy())["strong"]] * 5
    paid = [cost[pair] for cost, pair in zip(costs, pairs, strict=True)]
    assert result.regret["strong"][0] == pytest.approx([sum(paid[:4]), sum(paid)])


def test_segments_of_one_duel():
    every = piecewise(np.array([P, P.T]), starts=np.arange(9), order=np.arange(9) % 2)
    result = run(Cycle(), every)
    costs = [tables(m)["average"] for m in (P, P.T)]
    expected = sum(costs[t % 2][t % 3, (t + 1) % 3] for t in range(9))
    assert result.regret["average"][0, -1] == pytest.approx(expected)


def test_all_algorithms_meet_the_same_luck():
    plain = Alternate()
    run(plain, repetitions=1, seed=7)
    uniforms = streams.generator(7, 0, 0).random(9)
    assert plain.outcomes == [u < P[t % 3, (t + 1) % 3] for t, u in enumerate(uniforms)]


def test_arms_are_shuffled_and_reported_in_the_labels_of_the_problem():
    result = run(Cycle(best=0), repetitions=60, shuffle=True)
    named = result.winner[:, -1]
    assert set(named) == {0, 1, 2}
    orders = [streams.generator(0, r, 2).permutation(3)[0] for r in range(60)]
    assert named.tolist() == orders


def test_named_arm_and_reset_times():
    result = run(Cycle(), checkpoints=[1, 9], horizon=40)
    assert result.winner.tolist() == [[-1, 1]] * 2
    assert [times.tolist() for times in run(Cycle(), horizon=40).resets] == [[*range(1, 41)]] * 2


def test_random_problem_is_drawn_for_each_repetition():
    def sample(rng):
        return stationary(P if rng.random() < 0.5 else P.T.copy())

    result = run(Cycle(), RandomProblem(sample), repetitions=40, horizon=3)
    assert len(np.unique(result.regret["strong"][:, -1])) == 2
    later = run(Cycle(), RandomProblem(sample), first_repetition=30, repetitions=10, horizon=3)
    assert (later.regret["strong"] == result.regret["strong"][30:]).all()


def test_default_checkpoints_end_at_the_horizon():
    for horizon in (1, 7, 10**6):
        times = checkpoints(horizon)
        assert times[-1] == horizon
        assert (np.diff(times) > 0).all()
        assert len(times) <= 100


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"horizon": 0}, "at least 1"),
        ({"repetitions": 0}, "at least 1"),
        ({"checkpoints": [1, 10]}, r"1\.\.9"),
    ],
)
def test_bad_requests_are_refused(how, message):
    with pytest.raises(ValueError, match=message):
        run(create("uniform"), **how)


@compiled
class OutOfRange:
    def start(self, K, T, rng):
        self.K = K

    def choose(self, rng):
        return 0, self.K

    def observe(self, i, j, won):
        pass


class NamesTooFar(Alternate):
    def winner(self):
        return self.K


@compiled
class Rebinding:
    def start(self, K, T, rng):
        self.wins = np.zeros(K)

    def choose(self, rng):
        self.wins = np.zeros(2)
        return 0, 0

    def observe(self, i, j, won):
        pass


def test_an_arm_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match=r"two arms in 0\.\.K-1"):
        run(OutOfRange())


@pytest.mark.parametrize("algorithm", [Cycle(best=3), NamesTooFar()])
def test_a_named_arm_that_does_not_exist_is_refused(algorithm):
    with pytest.raises(ValueError, match=r"winner must return an arm in 0\.\.K-1, or -1"):
        run(algorithm)


def of(**changes):
    """A problem of the user's own, not the library's class."""
    return SimpleNamespace(**{"matrices": P[None], "starts": np.array([0])} | changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"matrices": P[None] + 0.1}, r"matrix 0: p\[0, 0\] = 0.6"),
        ({"matrices": 1.5 * P[None]}, "is not a probability"),
        ({"truth": 100 * P[None]}, "truth 0.*is not a probability"),
        ({"truth": np.stack([P, P])}, "truth has shape"),
        ({"starts": np.array([1])}, r"start at 0 and increase; found starts \[1\]"),
        ({"starts": np.array([0, 5, 5]), "order": np.zeros(3, int)}, "start at 0 and increase"),
        ({"order": np.array([1])}, r"order \[1\] must give one of the 1 matrices"),
        ({"order": np.array([-1])}, r"order \[-1\] must give"),
        ({"starts": np.array([0, 5])}, r"order \[0, 1\] must give"),
        ({"features": np.eye(2)}, "features are of 2 arms, but the matrices of 3"),
    ],
)
def test_a_problem_that_breaks_the_contract_is_refused(changes, message):
    assert run(Cycle(), of()).plays.sum() == 18
    with pytest.raises(ValueError, match=message):
        run(Cycle(), of(**changes))


def test_utilities_add_their_own_regrets():
    u = np.array([0.9, 0.5, 0.1])
    result = run(Cycle(), stationary(P, utilities=u), horizon=3)
    # Duels (0, 1), (1, 2), (2, 0): the losses are 0, .4, .8.
    expected = {"utility_average": 1.2, "utility_strong": 2.0, "utility_weak": 0.4}
    for name, value in expected.items():
        assert result.regret[name][:, -1] == pytest.approx([value, value])
    assert "utility_weak" not in run(Cycle(), stationary(P)).regret


def test_binding_an_array_outside_start_does_not_compile():
    with pytest.raises(Exception, match="binds an array outside start"):
        run(Rebinding())


def array_bytes(algorithm):
    """Bytes of every array of a started algorithm and of those it holds."""
    held = [x for x in vars(algorithm).values() if getattr(x, "__compiled__", False)]
    own = sum(x.nbytes for x in vars(algorithm).values() if isinstance(x, np.ndarray))
    return own + sum(map(array_bytes, held))


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", names())
def test_memory_does_not_grow_with_the_horizon(name):
    """Beyond a power of the logarithm, which windows and dyadic blocks need."""
    found = []
    for T in (10**4, 10**6):
        algorithm = create(name)
        if hasattr(algorithm, "features"):
            algorithm.features = np.eye(5)
        algorithm.start(5, T, np.random.default_rng(0))
        found.append(array_bytes(algorithm))
    assert found[1] <= (math.log(10**6) / math.log(10**4)) ** 2 * found[0]
    if name not in ("detect", "mdb", "anaconda", "metaswift"):
        assert found[1] == found[0]


class Stubborn:
    """A plain Python algorithm of the user's: plays arm 0 against arm 1."""

    def start(self, K, T, rng):
        self.duels = 0

    def choose(self, rng):
        return 0, 1

    def observe(self, i, j, won):
        self.duels += 1

    def winner(self):
        return 0


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", ["detect", "mdb"])
def test_monitors_run_around_a_plain_python_algorithm(name, monkeypatch):
    monkeypatch.setitem(ALGORITHMS, "stubborn", Stubborn)
    monitored = create(name, base="stubborn")
    result = run(monitored, horizon=20_000, repetitions=1)
    assert 0 < monitored.alg.duels < 20_000
    assert result.plays[0].sum() == 20_000
    assert result.compile_seconds < 0.1


def test_an_algorithm_without_a_source_file_is_compiled_but_not_cached(monkeypatch):
    monkeypatch.delattr(sys.modules[Cycle.__module__], "__file__")
    _, kind = builder(Cycle(), 3, 9)
    assert sources(Cycle(), kind) == ""
