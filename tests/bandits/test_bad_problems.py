"""What is no problem gets one clear error, whatever is wrong and however the problem is made."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandits.preferences import Later, Problem, complete, piecewise, stationary
from bandits.problems.csv_file import csv
from bandits.simulate import simulate


class FirstTwo:
    def start(self, K: int, T: int, rng: Any) -> None:
        self.pair = (0, 1)

    def choose(self, rng: Any) -> tuple[int, int]:
        return self.pair

    def observe(self, i: int, j: int, won: bool) -> None:
        pass


def play(problem: Any) -> None:
    simulate(problem, FirstTwo(), horizon=5, repetitions=1, seed=0)


def entry(p: list[list[Any]], value: Any, i: int, j: int) -> list[list[Any]]:
    p[i][j] = value
    return p


def shifted(p: list[list[Any]], i: int) -> list[list[Any]]:
    p[i][i - 1] += 0.25 if p[i][i - 1] < 0.5 else -0.25
    return p


# name -> (what happens to a matrix given as lists, part of the message)
MUTATIONS: dict[str, tuple[Any, str]] = {
    "nan": (lambda p, i: entry(p, np.nan, i, i - 1), "nan is not a probability"),
    "infinite": (lambda p, i: entry(p, np.inf, i, i - 1), "inf is not a probability"),
    "negative": (lambda p, i: entry(p, -0.1, i, i - 1), "not a probability"),
    "percent": (lambda p, i: entry(p, 60, i, i - 1), "divide percentages by 100"),
    "diagonal": (lambda p, i: entry(p, 0.0, i, i), "against itself is a fair coin: write 0.5"),
    "sum": (shifted, "must be 1: correct one of them"),
    "ragged": (lambda p, i: [*p[:i], p[i][:-1], *p[i + 1 :]], "numbers|entries|number"),
    "a row too few": (lambda p, i: p[:-1], "expected K x K"),
    "no row": (lambda p, i: [], "K x K"),
    "one arm": (lambda p, i: [[0.5]], "one arm; expected at least two"),
    "text": (lambda p, i: entry(p, "x", i, i - 1), "numbers"),
    "missing": (lambda p, i: entry(p, None, i, i - 1), "nan is not a probability|could not conv"),
    "complex": (lambda p, i: entry(p, 0.5 + 1j, i, i - 1), "complex|could not convert"),
}


def from_file(p: Any) -> Problem:
    """A csv file of these rows, read."""
    file = Path(from_file.folder) / "matrix.csv"  # type: ignore[attr-defined]
    file.write_text("".join(",".join(map(str, row)) + "\n" for row in p))
    return csv(str(file))


WAYS = {
    "stationary": stationary,
    "piecewise": lambda p: piecewise([complete(np.full((3, 3), 0.6)), p], [0, 3]),
    "Problem": lambda p: Problem([p], [0], [0], [p]),  # type: ignore[arg-type]
    "truth": lambda p: piecewise([np.full((3, 3), 0.5)], [0], truth=[p]),  # type: ignore[arg-type]
    "plug-in": lambda p: play(SimpleNamespace(matrices=[p], starts=[0])),
    "later": lambda p: play(piecewise(Later(1, 3, lambda m: p), [0])),
    "file": from_file,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("mutation", MUTATIONS)
@given(K=st.integers(2, 4), i=st.integers(0, 3), seed=st.integers(0, 99))
def test_a_mutated_matrix_is_refused_with_one_line(
    mutation: str, way: str, tmp_path_factory: Any, K: int, i: int, seed: int
) -> None:
    from_file.folder = tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
    p = complete(np.random.default_rng(seed).uniform(0.1, 0.9, size=(K, K))).tolist()
    WAYS["stationary"](p)
    mutate, message = MUTATIONS[mutation]
    with pytest.raises(ValueError, match=message) as refused:
        WAYS[way](mutate(p, i % K))
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 300


P = [[0.5, 0.7], [0.3, 0.5]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features": [1.0, 2.0]}, r"features have shape \(2,\); expected \[K, d\]: a row per arm"),
        ({"features": [[1.0], [np.nan]]}, r"features\[1, 0\] = nan; expected a finite number"),
        ({"features": [[1.0], [np.inf]]}, r"features\[1, 0\] = inf; expected a finite number"),
        ({"features": [[1.0], [1.0, 2.0]]}, "features: found rows of 1 and 2 numbers; expected"),
        ({"features": [["a"], ["b"]]}, "features: found no numbers; expected"),
        ({"features": [[], []]}, r"features have shape \(2, 0\); expected"),
        ({"features": 3}, r"features have shape \(\); expected"),
        ({"features": [[1.0]]}, "features are of 1 arms, but the matrices of 2"),
        ({"utilities": [[1.0], [2.0]]}, r"utilities have shape \(2, 1\); expected \[K\]"),
        ({"utilities": [1.0, np.nan]}, r"utilities\[1\] = nan; expected a finite number"),
        ({"starts": [0.0, 1.5], "order": [0, 0]}, "starts holds 1.5; expected whole numbers"),
        ({"starts": [0, np.nan], "order": [0, 0]}, "starts holds nan; expected whole numbers"),
        ({"starts": 0}, r"starts has shape \(\); expected a list: the first duel"),
        ({"starts": []}, r"must start at 0 and increase; found starts \[\]"),
        ({"starts": None}, "SimpleNamespace without matrices and starts; expected a problem"),
        ({"order": [0.5]}, "order holds 0.5; expected whole numbers"),
        ({"matrices": P}, r"matrix 0 has shape \(2,\); expected K x K"),
        ({"matrices": np.array(P)}, r"matrix has shape \(2, 2\); expected \[M, K, K\].*stationary"),
        ({"matrices": []}, "found no matrix"),
        ({"matrices": 0.5}, r"matrix has shape \(\); expected \[M, K, K\]"),
        ({"matrices": "six-rankers"}, "matrix: found no numbers"),
        (
            {"matrices": [P, np.full((3, 3), 0.5)], "starts": [0, 1], "order": None},
            "matrix 1 is of 3 arms and matrix 0 of 2; expected the same arms in all",
        ),
    ],
)
def test_what_belongs_to_the_arms_and_segments_is_checked_as_well(
    changes: dict[str, Any], message: str
) -> None:
    play(SimpleNamespace(matrices=[P], starts=[0]))
    with pytest.raises(ValueError, match=message):
        play(SimpleNamespace(**{"matrices": [P], "starts": [0]} | changes))


def test_lists_and_whole_floats_are_taken() -> None:
    problem = piecewise([P, P], [0.0, 4.0], features=[[1], [2]], utilities=[1, 0])
    assert problem.starts.dtype == np.int64
    assert problem.features is not None
    assert problem.features.dtype == np.float64
    play(problem)
