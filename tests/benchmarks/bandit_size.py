"""Time and memory of many arms, and what checkpoints cost.

    python tests/benchmarks/bandit_size.py [NAME] [--arms K ...] [--duels T]

Memory is counted in matrices, K^2 doubles: the peak of the process above what it used before the
problem was made, the problem's own matrix included. Measured on 2 shared cores, T = 1e6:

    btw    K =  1,000   17 ns a duel with 97 checkpoints,  17 ns with one   3.4 matrices
    btw    K = 10,000  543 ns a duel with 97 checkpoints, 669 ns with one   2.2 matrices, 1.9 GB
    ws-w   K = 10,000  754 ns a duel with 97 checkpoints                    2.1 matrices, 1.8 GB
"""

import argparse
import inspect
import resource

import numpy as np

from bandits.algorithms import create
from bandits.preferences import stationary
from bandits.simulate import simulate


def peak() -> int:
    """Most bytes of memory this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def order(K: int) -> np.ndarray:
    """p_ij = 1/2 + (j - i)/(2K), made in place."""
    p = np.empty((K, K))
    np.subtract.outer(np.arange(K) / (2 * K), np.arange(K) / (2 * K), out=p)
    p *= -1
    p += 0.5
    return p


def main() -> None:
    parser = argparse.ArgumentParser(description=inspect.getdoc(inspect.getmodule(main)))
    parser.add_argument("name", nargs="?", default="btw")
    parser.add_argument("--arms", type=int, nargs="+", default=[1_000, 10_000])
    parser.add_argument("--duels", type=int, default=1_000_000)
    given = parser.parse_args()
    how = {"repetitions": 1, "seed": 0}
    simulate(stationary(order(3)), create(given.name), horizon=10, **how)  # compiles
    for K in given.arms:
        before = peak()
        problem = stationary(order(K))
        for checkpoints in (None, [given.duels]):
            found = simulate(
                problem, create(given.name), horizon=given.duels, checkpoints=checkpoints, **how
            )
            nanoseconds = found.seconds / given.duels * 1e9
            print(
                f"K = {K:6}  {len(found.checkpoints):3} checkpoints  {nanoseconds:6.1f} ns a duel"
            )
        matrices = (peak() - before) / (8 * K**2)
        print(f"K = {K:6}  {matrices:.1f} matrices  {peak() / 1e9:.1f} GB in all", flush=True)


if __name__ == "__main__":
    main()
