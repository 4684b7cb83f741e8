"""Tabular cells in tables and figures: shares, pairs of learners, what is missing."""

from pathlib import Path

import numpy as np
import pytest

from pbrl import report, store
from pbrl.report import style, tabular, tabular_figures
from pbrl.report.study import read
from tests.report import report_folders as folders

RUNS = 10


def config(learner: str, labels: int, *, absorbing: bool = True, world: str = "delivery") -> dict:
    named = {"world": world, "learner": learner, "teacher": "regret"}
    return {
        "kind": "tabular",
        **{axis: {"name": name, "label": name} for axis, name in named.items()},
        "labels": labels,
        "absorbing": absorbing,
        "segment_length": 3,
        "test_pairs": 100,
        "folds": 0,
        "repetitions": RUNS,
        "seed": 0,
        "device": "cpu",
        "execution": {"hang_timeout": 600.0},
    }


def rows(near: int, *, runs: int = RUNS, flat: int = 0) -> list[dict]:
    """`near` repetitions of a scaled return of 1, the others of -3, `flat` without one."""
    scaled = [1.0] * near + [-3.0] * (runs - near - flat) + [None] * flat
    return [
        {
            "event": "fit",
            "repetition": number,
            "scaled_return": value,
            "near_optimal": None if value is None else float(value >= 0.9),
            "accuracy": 0.8 + 0.01 * number,
            "starc": None,
            "ties": 0,
        }
        for number, value in enumerate(scaled)
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    cells = [
        folders.write(tmp_path, config("regret", 30), rows(9)),
        folders.write(tmp_path, config("partial-return", 30), rows(3)),
        folders.write(tmp_path, config("regret", 300), rows(10)),
        folders.write(tmp_path, config("partial-return", 300), rows(10)),
        folders.write(tmp_path, config("partial-return", 300, absorbing=False), rows(4, flat=2)),
        folders.write(tmp_path, config("regret", 3000), rows(5, runs=5)),
    ]
    store.write_plan(tmp_path, cells)
    return tmp_path


def test_the_table_holds_shares_with_intervals(folder: Path) -> None:
    study = read(folder)
    first = tabular.table(study)
    found = {(r["learner"], r["labels"], r["absorbing"]): r for r in first.rows}
    assert len(found) == 5
    near = found["regret", 30, None]["near-optimal"]
    assert near.point == pytest.approx(0.9)
    assert near.low == pytest.approx(0.596, abs=1e-3)  # Wilson's interval of 9 of 10
    assert near.high == pytest.approx(0.982, abs=1e-3)
    assert found["regret", 30, None]["scaled return"].point == pytest.approx(0.8)  # clipped
    assert found["partial-return", 300, "left out"]["near-optimal"].point == pytest.approx(0.5)
    assert "STARC distance" not in first.columns
    assert "ties" not in first.columns
    assert "its last row is at 5 of 10" in study.left[0].cause


def test_two_learners_are_compared_repetition_by_repetition(folder: Path) -> None:
    (row, same) = tabular.pairs(read(folder)).rows
    assert (row["A"], row["B"], row["labels"]) == ("partial-return", "regret", 30)
    assert row["near-optimal"].point == pytest.approx(-0.6)
    assert row["scaled return"].point == pytest.approx(-1.2)
    assert row["p"] == pytest.approx(2 / 2**6)
    assert same["p"] is None  # no difference anywhere


def test_the_figure_has_a_panel_for_each_kind_of_data(folder: Path, monkeypatch) -> None:
    drawn = []
    monkeypatch.setattr(style, "save", lambda figure, *_: drawn.append(figure) or [])
    tabular_figures.draw(read(folder), folder)
    titles = [axis.get_title().replace("\n", " ") for axis in drawn[0].axes if axis.lines]
    assert titles == ["delivery, regret teacher", "delivery, regret teacher, no absorbing steps"]


def test_everything_is_written(folder: Path) -> None:
    written = [path.name for path in report.plot(folder, folder / "out")]
    assert written == ["tabular.png", "tabular.pdf", "report.html"]
    page = (folder / "out" / "report.html").read_text()
    assert "Near-optimal policies against labels" in page
    for format in ("csv", "latex", "md", "json"):
        assert report.table(folder, format=format)


def test_rounding_alone_is_no_difference() -> None:
    assert tabular.wilcoxon(np.full(6, 1e-12)) is None
    assert tabular.wilcoxon(np.ones(6)) < 0.05
