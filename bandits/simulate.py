"""Play an algorithm on a problem for many repetitions, and record every regret on the way.

**Problem.** Any object with the attributes

    matrices : float64 [M, K, K]   P(i beats j); rows i, columns j; m[i, j] + m[j, i] = 1
    starts   : int64 [S]           segment s holds from duel starts[s] (0-based) on; starts[0] = 0, increasing
    order    : int64 [S]           segment s plays matrices[order[s]]; optional, 0..S-1 when absent (then S = M)
    truth    : float64 [M, K, K]   matrices that regret is measured by, when they are not the ones duels are
                                   drawn from (corrupted feedback); optional, `matrices` when absent

A stationary problem has M = S = 1. Drifting and adversarial ones have many segments, down to one
duel long. A problem whose instance is random may have `sample(rng: np.random.Generator) -> problem`;
then every repetition plays a draw of its own, from a stream that depends on (seed, repetition) only.

**Algorithm.** An object with

    start(K, T, rng)         fresh state for K arms and horizon T; called before the first duel
    choose(rng) -> (i, j)    the next pair; i == j is allowed
    observe(i, j, won)       whether i beat j; for i == j a fair coin: ignore it in estimates
    winner() -> int          optional: the arm it would name now; recorded at checkpoints
    resets                   optional int attribute: restarts so far; their times are recorded

All state is set in `start`, all randomness is drawn from `rng` in `start` and `choose`
(`rng.random()`, `rng.integers(n)`, `rng.beta(a, b)`, `rng.standard_normal()`, as of a numpy
Generator). `bandits.compiled` explains when such a class runs at compiled speed.

**Regret.** `bandits.regret.tables(matrix [K, K]) -> dict[name, float64 [K, K]]` gives the regret of
one duel (i, j) for every name; NaN where a regret is undefined (no Condorcet winner). Each duel is
charged by the matrix of its own segment (dynamic regret).
"""
