"""What the folder of suite `advantage` says of the claims of Knox et al. (arXiv 2310.02456).

    python tests/benchmarks/advantage_reading.py runs/advantage

Worlds are paired: repetition n is the same world, with the same pairs, for both learners, and the
same world with and without absorbing steps.
"""

import sys
from collections.abc import Iterator
from itertools import product

import numpy as np

from pbrl.report import statistics
from pbrl.report.study import Tabular, read
from pbrl.report.tabular import wilcoxon

GREEDY, REWARD = "greedy-advantage", "advantage-as-reward"
GAP = 0.1  # of scaled returns, from which on two learners differ


def told(values: np.ndarray) -> str:
    """Mean over worlds with its 95 % t interval and Wilcoxon's p."""
    values = values[~np.isnan(values)]
    low, high = (float(x) for x in statistics.mean_interval([values]))
    p = wilcoxon(values)
    test = "" if p is None else f" p = {p:.2g}"
    return f"{values.mean():+.3f} [{low:+.3f}, {high:+.3f}]{test}"


def scaled(one: Tabular) -> np.ndarray:
    return np.clip(one.values["scaled_return"], -1, 1)


def main(folder: str) -> None:
    lines: dict[tuple, Tabular] = {}
    for one in read(folder).tabular:
        config = one.config
        place = (one.task, one.teacher, config["segment_length"], config["labels"])
        lines[(*place, config["absorbing"], one.learner)] = one
    places = sorted({key[:4] for key in lines})
    print("greedy - as reward, scaled returns with and without absorbing steps, and their "
          "difference;\n|max advantage| without - with")  # fmt: skip
    for place in places:
        both = [[lines.get((*place, kept, x)) for x in (GREEDY, REWARD)] for kept in (True, False)]
        if any(one is None for pair in both for one in pair):
            continue
        gaps = [scaled(pair[0]) - scaled(pair[1]) for pair in both]
        highest = [np.abs(pair[0].values["max_advantage"]) for pair in both]
        print(f"{place[0]}, {place[1]}, {place[3]:,} labels: with {told(gaps[0])}; "
              f"without {told(gaps[1])}; shrinks by {told(gaps[1] - gaps[0])}; "
              f"|max| {told(highest[1] - highest[0])}")  # fmt: skip
    print("\nloops: where the learners differ by 0.1 or more, how often as the best loop says")
    for title, agrees in loops(lines):
        if agrees.size:
            print(f"{title}: {int(agrees.sum())} of {agrees.size}")


def loops(lines: dict[tuple, Tabular]) -> Iterator[tuple[str, np.ndarray]]:
    """Finishing best: planning with g beats greed where the best loop costs, and loses where it
    pays; looping best: the reverse."""
    for paying, length in product((False, True), (1, 2)):
        found = []
        for (task, _, steps, _, kept, learner), one in lines.items():
            if learner != REWARD or steps != length or not task.startswith("loop-mdp"):
                continue
            if (
                "looping_pays" in one.config["world"] and one.config["world"]["looping_pays"]
            ) != paying:
                continue
            greedy = next(
                other
                for (*_, other_kept, other_learner), other in lines.items()
                if other_learner == GREEDY
                and other_kept == kept
                and (other.task, other.teacher) == (one.task, one.teacher)
                and other.config["segment_length"] == steps
                and other.config["labels"] == one.config["labels"]
            )
            gain = scaled(one) - scaled(greedy)
            pays = one.values["best_loop"] > 0
            apart = np.abs(gain) >= GAP
            found.append(((gain > 0) == (pays == paying))[apart])
        best = "looping" if paying else "finishing"
        yield f"{best} is best, segments of {length}", np.concatenate(found or [np.zeros(0)])


if __name__ == "__main__":
    main(sys.argv[1])
