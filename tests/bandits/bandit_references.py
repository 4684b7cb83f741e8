"""Slow, literal versions of algorithms from the papers, and what playing at random costs."""

import math

import numpy as np

from bandits.numerics import permutation
from bandits.preferences import Problem
from bandits.regret import table


def bounds(W: np.ndarray, alpha: float, t: int) -> tuple[np.ndarray, np.ndarray]:
    """U and L = p +- sqrt(alpha ln t / N), 1 and 0 for an unseen pair, 1/2 on the diagonal."""
    N = W + W.T
    with np.errstate(all="ignore"):
        p, radius = W / N, np.sqrt(alpha * np.log(t) / N)
    U, L = np.where(N > 0, p + radius, 1.0), np.where(N > 0, p - radius, 0.0)
    np.fill_diagonal(U, 0.5)
    np.fill_diagonal(L, 0.5)
    return U, L


def one_of(arms, rng) -> int:
    """A uniformly random element; no draw for a single one."""
    arms = list(arms)
    return arms[rng.integers(len(arms)) if len(arms) > 1 else 0]


def best_rival(column: np.ndarray, c: int, rng) -> int:
    """argmax of U_jc over j, c only if no other attains it; ties drawn while reading in order."""
    chosen, ties = c, 0
    for j in range(len(column)):
        if j == c or column[j] < max(0, column[chosen]):  # -1 marks an arm that is not allowed
            continue
        ties = ties + 1 if ties and column[j] == column[chosen] else 1
        if ties == 1 or rng.integers(ties) == 0:
            chosen = j
    return chosen


class Counting:
    """Keeps W and t; K x K matrices are recomputed from scratch for every duel."""

    def start(self, K, T, rng):
        self.K, self.T, self.t = K, T, 1  # t is the duel to come
        self.W = np.zeros((K, K))

    def observe(self, i, j, won):
        self.t += 1
        if i != j:
            self.W[(i, j) if won else (j, i)] += 1


class NaiveRUCB(Counting):
    def start(self, K, T, rng):
        super().start(K, T, rng)
        self.B = set()

    def choose(self, rng):
        U, _ = bounds(self.W, 0.51, self.t)
        C = {i for i in range(self.K) if (U[i] >= 0.5).all()}
        if not C:
            c = rng.integers(self.K)
        else:
            self.B &= C
            if len(C) == 1:
                self.B = set(C)
                (c,) = C
            elif self.B and rng.random() < 0.5:
                (c,) = self.B
            else:
                c = one_of(sorted(C - self.B), rng)
        return c, best_rival(U[:, c], c, rng)


class NaiveCCB(Counting):
    def start(self, K, T, rng):
        super().start(K, T, rng)
        self.forget()

    def forget(self):
        self.B, self.rivals, self.LC = set(range(self.K)), [set() for _ in range(self.K)], self.K

    def choose(self, rng):
        U, L = bounds(self.W, 0.51, self.t)
        off = ~np.eye(self.K, dtype=bool)
        cU, cL = ((U >= 0.5) & off).sum(1), ((L > 0.5) & off).sum(1)
        C = set(np.flatnonzero(cU == cU.max()).tolist())
        if any(L[i, j] > 0.5 for i in range(self.K) for j in self.rivals[i]):
            self.forget()
        for i in sorted(self.B):
            if cU[i] < cL.max():
                self.B.remove(i)
                if len(self.rivals[i]) != self.LC + 1:
                    self.rivals[i] = set(np.flatnonzero(U[i] < 0.5).tolist())
        if not self.B:
            self.forget()
        for i in sorted(C):
            if cU[i] == cL[i]:
                self.certain(i, self.K - 1 - int(cU[i]), rng)
        return self.pair(U, L, C, rng)

    def certain(self, i, losses, rng):
        self.B.add(i)
        self.rivals[i], self.LC = set(), losses
        for j in range(self.K):
            if j != i:
                if len(self.rivals[j]) < losses + 1:
                    self.rivals[j] = set()
                while len(self.rivals[j]) > losses + 1:
                    self.rivals[j].remove(one_of(sorted(self.rivals[j]), rng))

    def pair(self, U, L, C, rng):
        if rng.random() < 0.25:
            pairs = [(i, j) for i in range(self.K) for j in sorted(self.rivals[i])]
            pairs = [(i, j) for i, j in pairs if L[i, j] <= 0.5 <= U[i, j]]
            if pairs:
                return pairs[rng.integers(len(pairs))]
        if self.B & C and rng.random() < 2 / 3:
            C = self.B & C
        c = one_of(sorted(C), rng)
        few = rng.random() < 0.5
        for among in [self.rivals[c]] * few + [set(range(self.K))]:
            column = np.array(
                [U[j, c] if j in among and L[j, c] <= 0.5 else -1 for j in range(self.K)]
            )
            if column.max() >= 0:
                return c, best_rival(column, c, rng)
        raise AssertionError


def kl_half(p: float) -> float:
    return sum(x * math.log(2 * x) for x in (p, 1 - p) if x > 0)


class NaiveRMED(Counting):
    def __init__(self, variant):
        self.variant = variant

    def start(self, K, T, rng):
        super().start(K, T, rng)
        self.draws = math.ceil(3 * math.log(math.log(T))) if self.variant == "rmed2fh" else 1
        self.LC, self.LR, self.LN = list(range(K)), set(range(K)), set()
        self.arm = self.b = None

    def divergences(self):
        self.N = self.W + self.W.T
        with np.errstate(all="ignore"):
            self.p = np.where(self.N > 0, self.W / self.N, 0.5)
        terms = [
            [self.N[i, j] * kl_half(self.p[i, j]) for j in self.superiors(i)] for i in range(self.K)
        ]
        return [sum(t) for t in terms]

    def superiors(self, i):
        return [j for j in range(self.K) if j != i and self.p[i, j] <= 0.5]

    def cheapest(self, arm, best):
        p, costs = self.p, {}
        for j in range(self.K):
            if p[arm, j] < 0.5:
                regret = max(0.01, (p[best, arm] - 0.5) + (p[best, j] - 0.5))
                costs[j] = regret / kl_half(p[arm, j])
        return min(costs, key=lambda j: costs[j]) if costs else None

    def choose(self, rng):
        best = int(np.argmin(self.divergences()))
        if self.variant == "rmed2" and self.t > 3:
            self.draws = max(self.draws, math.ceil(3 * math.log(math.log(self.t))))
        self.arm = None
        for i in range(self.K):
            for j in range(i + 1, self.K):
                if self.N[i, j] < self.draws:
                    return i, j
        if self.variant == "rmed2fh" and self.b is None:
            self.b = [self.cheapest(i, best) for i in range(self.K)]
        if not self.LC:
            self.LC, self.LR, self.LN = sorted(self.LN), set(self.LN), set()
        self.arm = self.LC.pop(0)
        return self.arm, self.opponent(self.arm, best)

    def opponent(self, arm, best):
        others = [j for j in range(self.K) if j != arm]
        superiors = self.superiors(arm)
        if self.variant != "rmed1":
            b = self.b[arm] if self.variant == "rmed2fh" else self.cheapest(arm, best)
            time = self.T if self.variant == "rmed2fh" else self.t
            u = math.log(math.log(time)) if time > 2 else 0
            if b is not None and b in superiors and self.N[arm, best] * u >= self.N[arm, b]:
                return b
        if best in superiors or not superiors:
            return best
        return min(others, key=lambda j: self.p[arm, j])

    def observe(self, i, j, won):
        super().observe(i, j, won)
        if self.arm is None:
            return
        divergence = self.divergences()
        self.LR.discard(self.arm)
        limit = min(divergence) + math.log(self.t - 1) + 0.3 * self.K**1.01
        self.LN |= {k for k in range(self.K) if k not in self.LR and divergence[k] <= limit}
        self.arm = None


class NaiveMDB:
    """The monitoring of MDB around a base, as in the pseudo-code; no alarms."""

    def __init__(self, base, M=10, delta=0.6):
        self.base, self.M, self.delta = base, M, delta

    def start(self, K, T, rng):
        C = math.log((4 * T + 2) * math.sqrt(T) / (math.sqrt(self.M) * K))
        w = 2 * math.ceil(4 * C / self.delta**2)
        order = permutation(K * (K - 1) // 2, rng)
        pairs = [(i, j) for i in range(K) for j in range(i + 1, K)]
        self.pairs = [pair for _, pair in sorted(zip(order, pairs, strict=True))]
        gamma = math.sqrt(self.M * w / T) * (K - 1) / 2
        self.period = max(len(pairs), math.floor(len(pairs) / gamma))
        self.duels = 0
        self.base.start(K, T, rng)

    def choose(self, rng):
        r = self.duels % self.period
        return self.pairs[r] if r < len(self.pairs) else self.base.choose(rng)

    def observe(self, i, j, won):
        self.duels += 1
        self.base.observe(i, j, won)


class NaiveWinnerStays:
    """WS-W in its score form: the two largest C = wins - losses, the arms just played first."""

    def start(self, K, T, rng):
        self.C = np.zeros(K, int)
        self.last = set()

    def choose(self, rng):
        pair = []
        for _ in range(2):
            rest = [k for k in range(len(self.C)) if k not in pair]
            top = max(self.C[k] for k in rest)
            tied = [k for k in rest if self.C[k] == top]
            pair.append(one_of([k for k in tied if k in self.last] or tied, rng))
        self.last = set(pair)
        return tuple(pair)

    def observe(self, i, j, won):
        self.C[i] += 2 * won - 1
        self.C[j] -= 2 * won - 1


def posterior_sample(W: np.ndarray, rng) -> np.ndarray:
    """theta_ij ~ Beta(W_ij + 1, W_ji + 1) for all i < j, theta_ji = 1 - theta_ij, diagonal 1/2."""
    theta = np.full(W.shape, 0.5)
    for i in range(len(W)):
        for j in range(i + 1, len(W)):
            theta[i, j] = rng.beta(W[i, j] + 1, W[j, i] + 1)
            theta[j, i] = 1 - theta[i, j]
    return theta


class NaiveRCS(Counting):
    def start(self, K, T, rng):
        super().start(K, T, rng)
        self.championships = np.zeros(K, int)

    def choose(self, rng):
        beats = (posterior_sample(self.W, rng) > 0.5).sum(1)
        if beats.max() == self.K - 1:
            c = int(beats.argmax())
        else:
            rarest = self.championships == self.championships.min()
            c = one_of(np.flatnonzero(rarest), rng)
        self.championships[c] += 1
        U, _ = bounds(self.W, 0.51, self.t)
        return c, best_rival(U[:, c], c, rng)


class NaiveDoubleThompson(Counting):
    def __init__(self, plus):
        self.plus = plus

    def choose(self, rng):
        U, L = bounds(self.W, 0.51, self.t)
        upper = ((U > 0.5) & ~np.eye(self.K, dtype=bool)).sum(1)
        theta = posterior_sample(self.W, rng)
        wins = np.where(upper == upper.max(), (theta > 0.5).sum(1), -1)
        tied = np.flatnonzero(wins == wins.max())
        a = one_of(tied, rng)
        if self.plus and len(tied) > 1:
            a = min(tied, key=lambda i: self.regret(theta, i))
        column = np.array([rng.beta(self.W[i, a] + 1, self.W[a, i] + 1) for i in range(self.K)])
        column[a] = 0.5
        return a, int(np.where(L[:, a] <= 0.5, column, -1).argmax())

    def regret(self, theta, i):
        c = (theta > 0.5).sum(1) / (self.K - 1)
        others = [j for j in range(self.K) if j != i]
        return sum((c.max() - (c[i] + c[j]) / 2) / kl_half(theta[i, j]) for j in others)


def uniform_regret(p: np.ndarray, regret: str = "average", *, distinct: bool) -> float:
    """Exact expected regret per duel of a uniformly random pair, with i != j if `distinct`."""
    costs = table(p, regret)
    if not distinct:
        return float(costs.mean())
    K = len(p)
    return float((costs.sum() - np.trace(costs)) / (K * (K - 1)))


def uniform_dynamic_regret(
    problem: Problem, T: int, regret: str = "average", *, distinct: bool
) -> float:
    """Exact expected regret of T duels of uniformly random pairs on a changing problem."""
    ends = np.append(problem.starts[1:], T).clip(max=T)
    lengths = (ends - problem.starts).clip(min=0)
    per_duel = np.array([uniform_regret(p, regret, distinct=distinct) for p in problem.truth])
    return float(lengths @ per_duel[problem.order])
