"""The likelihood study, on made-up answers in the published format."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit

from envs.tabular import grids
from pbrl import cli
from pbrl.errors import ConfigError
from pbrl.tabular import people, walks

DELIVERY = grids.delivery()


def write(folder: Path, n: int = 1500, beta: float = 0.25, name: str = "Control") -> np.ndarray:
    """Answers of who compares regret with that inverse temperature; returns X."""
    rng = np.random.default_rng(0)
    sides = walks.draw(DELIVERY, n, 3, rng)
    segments = np.empty((n, 2, 4, 2), np.int64)
    for i, side in enumerate(sides):
        segments[:, i, 0] = DELIVERY.places[side.states[:, 0]]
        segments[:, i, 1:] = np.array(grids.MOVES)[side.actions]
    x = people.differences(DELIVERY, *sides)
    labels = (rng.random(n) < expit(beta * (x @ [1, -1, 1]))).astype(float)
    labels[np.abs(x @ [1, -1, 1]) < 0.5] = 0.5
    np.save(folder / f"{name}_full_filtered_segment_pairs.npy", segments)
    np.save(folder / f"{name}_full_filtered_Y.npy", labels)
    np.save(folder / f"{name}_full_filtered_X.npy", x)
    return x


def test_segments_are_decoded_to_what_they_are_worth(tmp_path: Path) -> None:
    x = write(tmp_path)
    answers = people.read(tmp_path, "Control")
    np.testing.assert_allclose(answers.differences, x, atol=1e-12)
    assert (tmp_path / "Control_full_filtered_X.npy").exists()
    assert len(answers.pairs) == 1500


def test_a_segment_by_hand() -> None:
    """From (8, 8), right enters the goal: +50, and nothing after it counts."""
    segments = np.array([[[8, 8], [0, 1], [0, 1], [1, 0]], [[0, 0], [-1, 0], [0, 1], [0, 1]]])
    side = people._walks(DELIVERY, segments, Path("x"))
    returns = side.features(DELIVERY) @ DELIVERY.weights
    assert returns.tolist() == [50.0, -4.0]  # a bump: -1; a road: -1; a roadblock on a road: -2
    assert side.mask.tolist() == [[True, False, False], [True, True, True]]


def test_the_model_that_made_the_answers_explains_them_best(tmp_path: Path) -> None:
    write(tmp_path)
    fits = {fit.model: fit for fit in people.study(people.read(tmp_path, "Control"))}
    assert fits["uninformed"].held_out == pytest.approx(np.log(2))
    assert fits["uninformed"].accuracy is None
    best = min(fits.values(), key=lambda fit: fit.held_out if fit.model != "logistic-linear" else 1)
    assert best.model == "regret"
    assert best.weights[0] == pytest.approx(0.25, abs=0.04)
    assert best.cross_entropy < best.held_out < best.cross_entropy + 0.01
    np.testing.assert_allclose(
        fits["logistic-linear"].weights, best.weights[0] * np.array([1, -1, 1]), atol=0.05
    )


@pytest.fixture
def pbrl(monkeypatch, capsys):
    def call(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["pbrl", *arguments])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        assert not stop.value.code
        return capsys.readouterr().out

    return call


def test_the_command_prints_a_line_for_each_model(tmp_path: Path, pbrl) -> None:
    for name in ("Control", "Trained"):
        write(tmp_path, name=name)
    shown = pbrl("likelihood", str(tmp_path))
    assert shown.count("Control: 1500 answers") == shown.count("Trained: 1500 answers") == 1
    assert shown.count("\nlogistic-linear ") == 2


def test_the_command_learns_from_all_answers_and_from_parts(tmp_path: Path, pbrl) -> None:
    write(tmp_path, 300)
    shown = pbrl("likelihood", str(tmp_path), "--learn", "150").split("near-optimal")[1]
    rows = [line.split() for line in shown.splitlines()[1:]]
    assert [row[:3] for row in rows] == [
        [learner, size, fits]
        for learner in ("partial-return", "regret")
        for size, fits in (("all", "1"), ("150", "2"))
    ]
    assert rows[2][3] == "1.00"  # regret answers, regret learner: near-optimal


def broken(folder: Path, part: str, change) -> None:
    path = folder / f"Control_full_filtered_{part}.npy"
    np.save(path, change(np.load(path)))


def moved(segments: np.ndarray) -> np.ndarray:
    segments[7, 0, 2] = (1, 1)
    segments[7, 0, 1] = (0, 1)
    segments[7, 0, 0] = (0, 0)
    return segments


def started(segments: np.ndarray) -> np.ndarray:
    segments[3, 1, 0] = (8, 9)  # the goal
    return segments


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        (
            "segment_pairs",
            lambda x: x[:, :, :3],
            r"found int64 \[1500, 2, 3, 2\]; expected numbers",
        ),
        ("segment_pairs", moved, r"pair 7 moves by \[1, 1\]; expected one of \(-1, 0\)"),
        ("segment_pairs", started, r"pair 3 starts at \[8, 9\], where no episode"),
        ("segment_pairs", lambda x: x + 0.5, "expected at least one pair, of whole numbers"),
        ("segment_pairs", lambda x: x[:0], "expected at least one pair"),
        ("segment_pairs", lambda x: x + np.inf, "of whole numbers"),
        ("X", lambda x: x * np.nan, "1500 of 1500 rows"),
        ("Y", lambda y: y + 0.1, "expected labels 0, 0.5 or 1"),
        ("Y", lambda y: y[:9], r"found float64 \[9\]; expected numbers \[1500\]"),
        (
            "X",
            lambda x: x + (np.arange(1500) == 4)[:, None],
            "1 of 1500 rows .* the first is row 4",
        ),
        ("Y", lambda y: np.array([{}] * 1500), "cannot be read as a plain array"),
    ],
)
def test_files_that_are_something_else_are_refused(tmp_path, part, change, message) -> None:
    write(tmp_path)
    broken(tmp_path, part, change)
    with pytest.raises(ConfigError, match=message):
        people.read(tmp_path, "Control")


def test_a_folder_or_a_condition_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no answers; expected files NAME_full_filtered"):
        people.read(tmp_path, "Control")
    write(tmp_path)
    with pytest.raises(ConfigError, match="no condition 'Contrl'; did you mean 'Control'"):
        people.read(tmp_path, "Contrl")


def test_a_model_agrees_by_what_it_says_and_not_by_the_sign_it_is_fitted_with(tmp_path) -> None:
    """Answers of who prefers the worse one agree with no model, however it is fitted."""
    x = write(tmp_path)
    broken(tmp_path, "Y", lambda y: 0.5 - 0.5 * np.sign(x[:, 0]))
    fits = {fit.model: fit for fit in people.study(people.read(tmp_path, "Control"))}
    assert fits["partial return"].weights[0] < 0
    assert fits["partial return"].accuracy == pytest.approx((x[:, 0] == 0).mean())


def test_more_parts_than_answers_are_refused(tmp_path: Path) -> None:
    write(tmp_path, n=5)
    with pytest.raises(ConfigError, match="5 answers in 10 parts; ask for at most 5"):
        list(people.study(people.read(tmp_path, "Control")))


@pytest.mark.parametrize(
    ("model", "ways"),
    [
        ("partial return", [(1, 0, 0)]),
        ("regret", [(1, -1, 1)]),
        ("bootstrapped", [(1, 0, 1)]),
        ("change of value", [(0, -1, 1)]),
        ("end value", [(0, 0, 1)]),
        ("logistic-linear", [(1, 0, 0), (0, 1, 0), (0, 0, 1)]),
    ],
)
def test_a_model_compares_what_its_name_says(tmp_path: Path, model: str, ways: list) -> None:
    """Fitted to the exact odds of who compares that, it finds how strongly."""
    x = write(tmp_path, n=300)
    strength = np.array([0.2, -0.1, 0.3])[: len(ways)]
    odds = expit(x @ (strength @ np.array(ways)))
    answers = people.read(tmp_path, "Control")
    answers = replace(answers, pairs=replace(answers.pairs, labels=odds))
    fit = next(fit for fit in people.study(answers, folds=2) if fit.model == model)
    np.testing.assert_allclose(fit.weights, strength, atol=1e-3)
