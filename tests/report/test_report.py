import csv
import dataclasses
import html
import io
import json
import re
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pbrl import report, store
from pbrl.errors import ConfigError, StoreError
from pbrl.report import figures, formats, names, scores, style, tables
from pbrl.report.page import write as write_page
from pbrl.report.study import Study, group, read, recorded
from tests.report import report_folders as folders


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folders.study(tmp_path_factory.mktemp("complete"), seeds=3)


def _write(root: Path, *configs: dict, level: float = 500, **summary) -> None:
    rng = np.random.default_rng(0)
    for config in configs:
        rows = folders.learning_rows(level, rng=rng, labels=config["labels"])
        folders.write(root, config, rows, **summary)


def _texts(study: Study, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every text of every figure of the study, notes and legends included."""
    drawn: list[Figure] = []
    monkeypatch.setattr(style, "save", lambda figure, *_: drawn.append(figure) or [])
    figures.draw_all(study, folder, regrets=None)
    found = []
    for figure in drawn:
        assert all(t.get_fontsize() >= 8 for t in figure.findobj(match=_has_text))
        found += [t.get_text() for t in figure.findobj(match=_has_text)]
    return "\n".join(found).replace("\n", " ").replace("\N{NO-BREAK SPACE}", " ")


def _has_text(artist: object) -> bool:
    return hasattr(artist, "get_text") and hasattr(artist, "get_fontsize")


# --- numbers ------------------------------------------------------------------------------------


CURVES = {"sac": [10, 50, 100, 120], "random": [10, 10, 10, 10], "pebble": [10, 25, 40, 60]}


def _write_curves(root: Path, *, last: dict[str, float] | None = None) -> None:
    for method, curve in CURVES.items():
        teacher = "oracle" if method == "pebble" else None
        rows = [
            {"event": "eval", "step": step, "return": float(value), "labels": step // 1000}
            for step, value in zip((0, 1000, 2000, 3000), curve, strict=True)
        ]
        if last is not None:
            rows.append({"event": "final", "step": 3000, "return": last[method], "episodes": 50})
        folders.write(root, folders.online(method=method, teacher=teacher, steps=3000), rows)


def test_draws_are_told_and_oracles_are_no_learners(tmp_path: Path) -> None:
    """An oracle that others consult would be SAC at other steps, and take the scores away."""
    _write_curves(tmp_path)
    expert = folders.online(method="expert", teacher=None, steps=20_000)
    _write(tmp_path, expert, level=900)
    taught = folders.online(teacher="regret")
    alone = json.loads(report.table(tmp_path, format="json"))
    assert any("expert" in row["learner"] for row in alone["returns"]["rows"])
    taught["oracle"] = {"cell": store.cell_id(expert), "weights": None}
    counts = {"asked": 200, "answered": 150, "ties": 50, "noisy": 10, "undecided": 50}
    _write(tmp_path, taught, counts=counts)
    found = json.loads(report.table(tmp_path, format="json"))
    rows = {row["teacher"]: row for row in found["returns"]["rows"] if "pebble" in row["learner"]}
    assert rows["regret"]["undecided"] == 0.25
    assert rows["regret"]["noise"] == 0.1
    assert rows["oracle"]["undecided"] is rows["oracle"]["noise"] is None
    assert not any("expert" in row["learner"] for row in found["returns"]["rows"])
    assert any("consult an expert, SAC on" in note for note in found["returns"]["notes"])


def test_scores_by_hand(tmp_path: Path) -> None:
    _write_curves(tmp_path)
    found = json.loads(report.table(tmp_path, format="json"))
    rows = {row["learner"]: row for row in found["returns"]["rows"]}
    pebble = rows["pebble"]
    ours, sac = (25 + 40 + 60) / 3, (50 + 100 + 120) / 3  # the last tenth would be one evaluation
    assert pebble["return"]["point"] == pytest.approx(ours)
    assert pebble["labels"] == 3
    assert pebble["ratio to SAC"]["point"] == pytest.approx(ours / sac)
    average = (25 / 50 + 40 / 100 + 60 / 120) / 3
    assert pebble["ratio, training average"]["point"] == pytest.approx(average)
    assert pebble["normalized"]["point"] == pytest.approx((ours - 10) / (sac - 10))
    aggregates = {row["learner"]: row for row in found["aggregates"]["rows"]}
    gap = 1 - (ours - 10) / (sac - 10)
    assert aggregates["pebble · oracle"]["optimality gap"]["point"] == pytest.approx(gap)
    assert not {"IQM", "median"} & aggregates["pebble · oracle"].keys()  # one task: all the mean


def test_the_last_large_evaluation_is_the_score(tmp_path: Path) -> None:
    _write_curves(tmp_path, last={"sac": 110.0, "random": 10.0, "pebble": 85.0})
    found = json.loads(report.table(tmp_path, format="json"))["returns"]
    (pebble,) = [row for row in found["rows"] if row["learner"] == "pebble"]
    assert pebble["return"]["point"] == 85
    assert pebble["normalized"]["point"] == pytest.approx(0.75)
    assert found["notes"][0] == (
        "return, success: mean over seeds of a last evaluation of 50 episodes."
    )


@pytest.mark.parametrize(
    ("steps", "counted"),
    [
        (range(0, 101, 5), [95, 100, 90]),
        (range(0, 101, 1), range(91, 101)),
        ((0, 50, 100), [50, 100]),
        ((0, 100), [100]),
        ((0,), [0]),
    ],
)
def test_a_score_rests_on_three_evaluations_and_not_on_the_one_before_training(
    tmp_path: Path, steps: Sequence[int], counted: Sequence[int]
) -> None:
    rows = [{"event": "eval", "step": s, "return": float(s), "labels": 0} for s in steps]
    folders.write(tmp_path, folders.online(steps=max(steps)), rows)
    (line,) = read(tmp_path).lines
    np.testing.assert_allclose(scores.final(line), [np.mean(counted)])


def test_training_returns_are_those_since_the_evaluation_before(tmp_path: Path) -> None:
    rows = [{"event": "eval", "step": s, "return": 0.0, "labels": 0} for s in (0, 10, 20, 30)]
    for step, value in ((5, 1.0), (10, 3.0), (11, 7.0)):
        rows.append({"event": "episode", "step": step, "return": value, "length": 5})
    folders.write(tmp_path, folders.online(steps=30), rows)
    (line,) = read(tmp_path).lines
    np.testing.assert_array_equal(line.training[:, 0], [np.nan, 2, 7, np.nan])


@pytest.mark.parametrize(
    ("sac", "random", "why"),
    [
        ({"easy": 900}, {}, "there is none on hard, odd."),
        ({"easy": 900, "hard": 900, "odd": -90}, {}, "not clearly above 0 on odd"),
        ({"easy": 900, "hard": 900, "odd": -90}, {"easy": 1, "hard": 1}, "above 0 on odd"),
        ({"easy": 900, "hard": 900, "odd": 90}, {"easy": 1}, None),
        ({"easy": 90, "hard": 90, "odd": -90}, dict.fromkeys(["easy", "hard", "odd"], -500), None),
    ],
)
def test_scores_over_tasks_are_there_or_it_is_said_why(
    sac: dict[str, float], random: dict[str, float], why: str | None, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    pebble = {"easy": 300.0, "hard": 300.0, "odd": 300.0}
    for method, levels in (("sac", sac), ("random", random), ("pebble", pebble)):
        for task, level in levels.items():
            for seed in range(3):
                value = level + rng.normal(0, 1)
                rows = [{"event": "eval", "step": 1000, "return": value, "labels": 0}]
                teacher = "oracle" if method == "pebble" else None
                config = folders.online(task, method, teacher, seed=seed, steps=1000)
                folders.write(tmp_path, config, rows)
    found = json.loads(report.table(tmp_path, format="json"))
    said = [note for note in found["returns"]["notes"] if "scores over tasks" in note]
    assert ("aggregates" in found) == (why is None) == (not said)
    assert why is None or why in said[0]


def test_normalized_is_withheld_everywhere_when_sac_hardly_beats_random(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    levels = {"easy": {"sac": 900, "random": 10}, "hard": {"sac": 12, "random": 10}}
    for task, level in levels.items():
        for method in ("sac", "random", "pebble"):
            for seed in range(5):
                value = level.get(method, 300) + rng.normal(0, 20)
                rows = [{"event": "eval", "step": 1000, "return": value, "labels": 0}]
                teacher = "oracle" if method == "pebble" else None
                config = folders.online(task, method, teacher, seed=seed, steps=1000)
                folders.write(tmp_path, config, rows)
    found = json.loads(report.table(tmp_path, format="json"))
    assert all("normalized" not in row for row in found["returns"]["rows"])
    assert any("not shown" in note and "hard" in note for note in found["returns"]["notes"])
    assert "aggregates" not in found  # SAC is not clearly above zero on one of them either
    assert "profiles.png" not in {path.name for path in report.plot(tmp_path)}


def test_simulator_steps_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = folders.online()
    config["env"]["action_repeat"] = 8
    _write(tmp_path, config, folders.online("other"))
    rows = json.loads(report.table(tmp_path, format="json"))["returns"]["rows"]
    assert {r["task"]: r["simulator steps"] for r in rows} == {
        "walker-walk": 160_000,
        "other": None,
    }
    text = _texts(read(tmp_path), tmp_path, monkeypatch)
    assert "environment steps (x 8 simulator steps)" in text
    assert "environment steps  " in text


def test_a_ratio_to_nothing_is_not_shown(tmp_path: Path) -> None:
    for method, level in (("sac", -300.0), ("pebble", -500.0)):
        rows = [{"event": "eval", "step": s, "return": level, "labels": 1} for s in (0, 1000)]
        teacher = None if method == "sac" else "oracle"
        folders.write(tmp_path, folders.online(method=method, teacher=teacher, steps=1000), rows)
    found = json.loads(report.table(tmp_path, format="json"))
    assert list(found) == ["returns"]
    assert "ratio to SAC" not in found["returns"]["rows"][0]
    assert not any("ratio" in note for note in found["returns"]["notes"])


def test_slope_recovers_a_logarithm() -> None:
    duels = np.unique(np.geomspace(1, 10**6, 60).astype(int))
    regret = np.stack([20.7 * np.log(duels) + 100, 3.0 * np.log(duels)], axis=-1)
    regret[duels < 10**5] = 0  # only the last decade counts
    np.testing.assert_allclose(scores.slope(duels, regret), [20.7, 3.0])
    assert scores.slope(np.array([1, 100]), np.ones((2, 1))) is None


def test_bandit_rows(complete: Path) -> None:
    found = json.loads(report.table(complete, format="json", regrets=("weak",)))["bandits"]["rows"]
    row = next(r for r in found if (r["problem"], r["algorithm"]) == ("six-rankers", "rmed1"))
    assert row["repetitions"] == 20
    assert row["duels"] == 100_000
    assert row["duels/s"] == 3.1e7
    assert row["resets"] == 2
    assert "average regret" not in row
    bandit = next(b for b in read(complete).bandits if b.label == "rmed1")
    assert row["weak regret"]["point"] == pytest.approx(bandit.regret["weak"][-1].mean())
    assert row["weak regret"]["low"] < row["weak regret"]["point"] < row["weak regret"]["high"]
    assert row["weak slope"]["point"] == pytest.approx(0.3 * 22, rel=0.15)


def test_the_slope_of_a_flat_curve_is_zero_without_an_interval() -> None:
    duels = np.unique(np.geomspace(1, 10**5, 40).astype(int))
    flat = np.full((len(duels), 5), 5.0) * np.array([1.0, 1.1, 0.3, 2.0, 1.7])
    slopes = scores.slope(duels, flat)
    assert slopes is not None
    assert scores.estimated_mean(slopes) == scores.Estimate(0.0)


def test_an_interval_does_not_depend_on_other_cells(complete: Path) -> None:
    whole = read(complete)
    alone = dataclasses.replace(whole, lines=whole.lines[:1], bandits=[])
    rows = tables.build(alone, regrets=None)[0].rows
    again = tables.build(whole, regrets=None)[0].rows
    assert rows[0]["return"] in [row["return"] for row in again]


# --- lines --------------------------------------------------------------------------------------


def _named(*configs: dict) -> list[str]:
    return [names.joined(n.learner, n.teacher, n.setting) for n in names.of_families(configs)]


def test_seeds_are_joined_and_settings_kept_apart(tmp_path: Path) -> None:
    for labels in (50, 100):
        _write(tmp_path, *(folders.online(seed=seed, labels=labels) for seed in range(2)))
    _write(tmp_path, folders.online(query="entropy"))
    found = {line.label: line.runs for line in read(tmp_path).lines}
    assert found == {
        "pebble · oracle (labels=50)": 2,
        "pebble · oracle (labels=100)": 2,
        "pebble (query=entropy) · oracle (labels=100)": 1,
    }


def test_a_learner_at_two_budgets_on_one_task_is_the_same_learner_on_another() -> None:
    configs = [folders.online("a", steps=300), folders.online("a", steps=600)]
    for config in configs:
        config["method"]["steps"] = config["steps"]  # as suites fill it in
    configs[1]["eval_every"] = 2000  # evaluations are spaced by the steps
    assert _named(*configs, folders.online("b", steps=300)) == [
        "pebble · oracle (steps=300)",
        "pebble · oracle (steps=600)",
        "pebble · oracle (steps=300)",
    ]


def test_a_learner_tuned_for_each_task_is_one_learner() -> None:
    tuned = [folders.online(task, lr=lr) for task, lr in (("a", 1e-3), ("b", 3e-4))]
    assert _named(*tuned) == ["pebble · oracle"] * 2
    variants = [folders.online(t, lr=x, query=q) for t, x in (("a", 1), ("b", 2)) for q in "de"]
    assert _named(*variants) == ["pebble (query=d) · oracle", "pebble (query=e) · oracle"] * 2


def test_learners_that_share_a_label_are_told_apart_by_what_they_have() -> None:
    configs = [folders.bandit("p", name) for name in ("btw", "rucb", "rucb")]
    configs[1]["algorithm"]["alpha"], configs[2]["algorithm"]["alpha"] = 0.51, None
    for config in configs:
        config["algorithm"]["label"] = "a"
    assert _named(*configs[:2]) == ["a (name=btw)", "a (name=rucb)"]
    assert _named(*configs[1:]) == ["a (alpha=0.51)", "a (alpha=null)"]
    assert _named(*configs) == [
        "a (name=btw)", "a (name=rucb, alpha=0.51)", "a (name=rucb, alpha=null)"
    ]  # fmt: skip


def test_labels_name_learners_and_do_not_make_them(tmp_path: Path) -> None:
    same = [folders.online(task) for task in "ab"]
    same[1]["method"]["label"] = "renamed"
    assert _named(*same) == ["pebble · oracle"] * 2
    other = [folders.online("a", lr=1), folders.online("b", lr=2)]
    other[1]["method"]["label"] = "renamed"
    assert _named(*other) == ["pebble · oracle", "renamed · oracle"]


def test_a_renamed_label_changes_no_digit(tmp_path: Path) -> None:
    def numbers(root: Path, label: str) -> list:
        rng = np.random.default_rng(0)
        for method in ("sac", "random", "pebble", "reed"):
            for task in ("a", "b"):
                for seed in range(4):
                    teacher = "oracle" if method in ("pebble", "reed") else None
                    config = folders.online(task, method, teacher, seed=seed)
                    if method == "pebble":
                        config["method"]["label"] = label
                    folders.write(root, config, folders.learning_rows(500, rng=rng))
        found = json.loads(report.table(root, format="json").replace(label, "pebble"))
        return [sorted(map(str, found[name]["rows"])) for name in found]

    assert numbers(tmp_path / "1", "pebble") == numbers(tmp_path / "2", "own")


def test_budgets_that_differ_are_not_compared(tmp_path: Path) -> None:
    for method, steps in (("pebble", 20_000), ("reed", 20_000), ("rune", 10_000)):
        for seed in range(3):
            config = folders.online(method=method, seed=seed, steps=steps)
            rows = [{"event": "eval", "step": steps, "return": float(seed), "labels": 1}]
            folders.write(tmp_path, config, rows)
    rows = json.loads(report.table(tmp_path, format="json"))["improvement"]["rows"]
    compared = [(row["A"], row["B"]) for row in rows]
    assert compared == [("pebble · oracle (steps=20000)", "reed · oracle (steps=20000)")]


def test_the_baseline_is_chosen_by_its_settings_and_not_by_its_label(tmp_path: Path) -> None:
    for label, hidden in (("sac", 256), ("sac-small", 64)):
        config = folders.online(method="sac", teacher=None, hidden=hidden)
        config["method"]["label"] = label
        _write(tmp_path, config)
    study = read(tmp_path)
    assert scores.baselines(study).truth == {}
    assert "nothing is divided" in scores.baselines(study).notes[0]
    _write(tmp_path, folders.online(hidden=64))
    known = scores.baselines(read(tmp_path))
    assert [line.label for line in known.truth.values()] == ["sac-small"]
    assert known.notes == []


def test_a_line_looks_the_same_in_all_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for problem, algorithms in (("p", "abc"), ("q", "cbd")):
        for algorithm in algorithms:
            config = folders.bandit(problem, algorithm, horizon=100, repetitions=3)
            rows = [
                {"event": "regret", "repetition": r, "t": t, "weak": t / 3 + r, "strong": float(t)}
                | ({} if problem == "p" else {"copeland": float(t)})
                for r in range(3)
                for t in (1, 10, 50, 100)
            ]
            folders.write(tmp_path, config, rows)
    looks: dict[str, set] = {}
    plot = Axes.plot

    def spy(axis: Axes, *values: object, **how: Any) -> list:
        if not str(how.get("label", "_")).startswith("_"):
            style_of = (how["color"], how["linestyle"], how["marker"])
            looks.setdefault(how["label"], set()).add(style_of)
        return plot(axis, *values, **how)

    monkeypatch.setattr(Axes, "plot", spy)
    monkeypatch.setattr(style, "save", lambda *_: [])
    report.plot(tmp_path, regrets=("weak", "strong", "copeland"))
    assert set(looks) == set("abcd")
    assert all(len(of_one) == 1 for of_one in looks.values())
    assert len({next(iter(x)) for x in looks.values()}) == 4


def test_seeds_evaluated_at_different_steps_are_compared_where_both_were(tmp_path: Path) -> None:
    for seed, steps in enumerate(((0, 1000, 3000), (0, 2000, 3000))):
        rows = [{"event": "eval", "step": s, "return": float(s), "labels": 0} for s in steps]
        folders.write(tmp_path, folders.online(seed=seed, steps=3000), rows)
    (line,) = read(tmp_path).lines
    assert line.steps.tolist() == [0, 3000]
    assert line.returns.tolist() == [[0, 0], [3000, 3000]]


def test_efficiency_takes_the_last_evaluation_of_each_count(tmp_path: Path) -> None:
    for seed, answered in enumerate(((0, 10, 10, 20), (0, 0, 15, 20))):
        rows = [
            {"event": "eval", "step": i * 1000, "return": float(10 * i), "labels": labels}
            for i, labels in enumerate(answered)
        ]
        folders.write(tmp_path, folders.online(seed=seed, steps=3000), rows)
    found = figures._efficiency_curve(read(tmp_path).lines[0])
    assert found is not None
    assert found[0].tolist() == [0, 10, 15, 20]
    assert found[1].T.tolist() == [[0, 20, 20, 30], [10, 10, 20, 30]]


# --- what is missing is said --------------------------------------------------------------------


def _damaged(root: Path) -> Path:
    """Two good cells, one failed, one with a truncated file, one that never ran."""
    cells = [store.Cell(root, folders.online(seed=seed)) for seed in range(5)]
    _write(root, *(folders.online(seed=seed) for seed in (0, 1, 3)))
    with cells[2].lock():
        cells[2].fail("numeric", "reward <nan> at step 7", traceback="", command="pbrl run x")
    parquet = cells[3].path / "metrics.parquet"
    parquet.write_bytes(parquet.read_bytes()[:-5])
    store.write_plan(root, cells)
    return root


def test_missing_and_failed_cells_are_named_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = _damaged(tmp_path)
    page = report.plot(root)[-1].read_text()
    assert "reward &lt;nan&gt; at step 7" in page
    assert "<nan>" not in page
    texts = _texts(read(root), tmp_path / "figures", monkeypatch)
    for text in (report.table(root), page, texts):
        for status, seed in (("ailed", 2), ("amaged", 3), ("issing", 4)):
            assert re.search(status, text)
            assert f"pebble · oracle on walker-walk seed {seed}" in text
    assert "metrics.parquet is damaged: it has" in report.table(root)
    with pytest.raises(StoreError, match=r"Failed, 1 cell: .*seed 2.*Run the suite again"):
        report.table(root, strict=True)


def test_a_complete_study_is_not_complained_about(complete: Path) -> None:
    assert read(complete).problems() == []
    assert report.table(complete, strict=True) == report.table(complete)


def test_mixed_versions_are_named(complete: Path) -> None:
    study = read(complete)
    assert set(study.versions) >= {"pbrl", "numpy"}
    mixed = dataclasses.replace(study, versions={"torch": Counter({"2.12": 3, "2.13": 9})})
    assert mixed.problems() == ["Mixed versions of torch: 3 cells 2.12, 9 cells 2.13"]
    assert "Mixed versions of torch" in tables.table_text(
        mixed, format="md", strict=False, regrets=None
    )
    with pytest.raises(StoreError, match="Mixed versions"):
        tables.table_text(mixed, format="md", strict=True, regrets=None)


def test_versions_are_read_from_the_manifests(complete: Path) -> None:
    cells, runs = recorded(complete)
    other = dataclasses.replace(cells[0], environment={"pbrl": "0.0.9", "source": "f" * 64})
    study = group([other, *cells[1:]], runs)
    assert any("1 cell 0.0.9 ffffffff" in text for text in study.problems())


def test_plug_ins_and_other_versions_within_a_cell_are_mixtures(
    complete: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (one, two, *rest), runs = recorded(complete)
    one = dataclasses.replace(one, environment=one.environment | {"plugins": {"own.py": "a" * 64}})
    two = dataclasses.replace(
        two,
        environment=two.environment | {"plugins": {"own.py": "b" * 64}},
        notices=("continued from step 5 with other versions: torch 2.13 after 2.12",),
    )
    study = group([one, two, *rest], runs)
    expected = (
        "Mixed versions of own.py: 1 cell aaaaaaaa, 1 cell bbbbbbbb",
        "Mixed within 1 cell, continued with other versions: sac on walker-walk seed 1",
    )
    with pytest.raises(StoreError, match=r"Mixed versions of own\.py.*Mixed within 1 cell"):
        tables.table_text(study, format="md", strict=True, regrets=None)
    table = tables.table_text(study, format="md", strict=False, regrets=None)
    figure = _texts(study, tmp_path, monkeypatch)
    page = write_page(study, "x", tmp_path / "x.html", [], regrets=None).read_text()
    for text in expected:
        assert text in table
        assert text in figure
        assert text in page


def test_notes_of_cells_stand_in_table_figure_and_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for problem in ("cyclic", "plain"):
        config = folders.bandit(problem, "ccb", horizon=100, repetitions=3)
        known = ("copeland",) if problem == "cyclic" else ("copeland", "average")
        rows = [
            {"event": "regret", "repetition": r, "t": t} | dict.fromkeys(known, t / 10 + r)
            for r in range(3)
            for t in (1, 10, 50, 100)
        ]
        notes = ["average regret is not defined"] if problem == "cyclic" else []
        folders.write(tmp_path, config, rows, notes=notes)
    study = read(tmp_path)
    page = write_page(study, "x", tmp_path / "x.html", [], regrets=None).read_text()
    figure = _texts(study, tmp_path, monkeypatch)
    for text in (page, figure, report.table(tmp_path)):
        assert "cyclic: average regret is not defined" in text
    columns = list(
        csv.DictReader(io.StringIO(report.table(tmp_path, format="csv"))).fieldnames or []
    )
    assert columns.index("average regret") < columns.index("copeland regret")


@pytest.mark.parametrize("seeds", [1, 2, 4, 5])
def test_below_five_seeds_the_runs_are_drawn_and_no_band(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seeds: int
) -> None:
    _write(tmp_path, *(folders.online(seed=seed) for seed in range(seeds)))
    bands, lines = [], []
    monkeypatch.setattr("matplotlib.axes.Axes.fill_between", lambda *a, **k: bands.append(a))
    plot = Axes.plot
    monkeypatch.setattr(Axes, "plot", lambda *a, **k: lines.extend(plot(*a, **k)) or lines[-1:])
    text = _texts(read(tmp_path), tmp_path, monkeypatch)
    thin = [line for line in lines if line.get_linewidth() < 0.8]
    assert "In training: mean of the episodes since the evaluation before" in text
    if seeds < 5:
        assert not bands
        assert len(thin) == (2 * seeds if seeds > 1 else 0)  # in two figures
        assert ("thin: each seed" in text) == (seeds > 1)
    else:
        assert bands
        assert not thin
        assert "Mean of 5 seeds; shaded: 95 % t interval (measured coverage" in text


def test_lines_without_a_band_are_named_when_others_have_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(tmp_path, *(folders.online(seed=seed) for seed in range(5)))
    _write(tmp_path, folders.online(method="sac", teacher=None))
    text = _texts(read(tmp_path), tmp_path, monkeypatch)
    assert "Mean of 1 to 5 seeds" in text
    assert "each seed, where fewer than 5: sac on walker-walk (1)" in text


@pytest.mark.parametrize(("seeds", "marked"), [(2, None), (3, True), (4, True), (5, False)])
def test_intervals_of_few_runs_are_marked(tmp_path: Path, seeds: int, marked: bool | None) -> None:
    _write(tmp_path, *(folders.online(seed=seed) for seed in range(seeds)))
    text = report.table(tmp_path)
    assert ("]" in text.split("- return")[0]) == (marked is not None)
    assert (formats.FEW in text) == bool(marked)
    assert ("one run in five failing" in text) == (marked is not None)


def test_separated_runs_are_not_certain_to_improve(tmp_path: Path) -> None:
    for method, level in (("sac", 900), ("random", 10), ("pebble", 300), ("reed", 700)):
        teacher = "oracle" if method in ("pebble", "reed") else None
        configs = [folders.online(method=method, teacher=teacher, seed=seed) for seed in range(3)]
        _write(tmp_path, *configs, level=level)
    found = json.loads(report.table(tmp_path, format="json"))["improvement"]["rows"]
    chance = next(r["P(A > B)"] for r in found if r["A"].startswith("pebble"))
    assert chance["point"] == 0
    assert chance["low"] == 0
    assert chance["high"] == pytest.approx(0.5, abs=0.005)


def test_runs_that_do_not_differ_have_no_interval(tmp_path: Path) -> None:
    for seed in range(6):
        rows = [{"event": "eval", "step": s, "return": 0.1 + s / 3, "labels": 1} for s in (0, 1000)]
        folders.write(tmp_path, folders.online(steps=1000, seed=seed), rows)
    (row,) = json.loads(report.table(tmp_path, format="json"))["returns"]["rows"]
    assert row["return"]["low"] is None
    report.plot(tmp_path)


def test_a_run_that_ended_early_is_named_and_left_out(tmp_path: Path) -> None:
    rows = [{"event": "eval", "step": step, "return": 1.0, "labels": 0} for step in (0, 500)]
    folders.write(tmp_path, folders.online(steps=1000), rows)
    study = read(tmp_path)
    assert study.lines == []
    assert (study.left[0].status, study.left[0].cause) == (
        "ended early",
        "its last row is at 500 of 1000",
    )


def test_a_problem_without_a_condorcet_winner_shows_copeland_regret(tmp_path: Path) -> None:
    config = folders.bandit("cyclic", "ccb", horizon=100, repetitions=3)
    rows = [
        {"event": "regret", "repetition": r, "t": t, "copeland": t / 10, "average": float("nan")}
        for r in range(3)
        for t in (1, 10, 50, 100)
    ]
    rows += [{"event": "end", "repetition": r, "policy_regret": 5.0 + r} for r in range(3)]
    folders.write(tmp_path, config, rows)
    (row,) = json.loads(report.table(tmp_path, format="json"))["bandits"]["rows"]
    assert row["copeland regret"]["point"] == 10
    assert row["policy regret"] == 6
    assert not any("average" in column for column in row)


def test_a_folder_without_a_finished_cell(tmp_path: Path) -> None:
    store.write_plan(tmp_path, [store.Cell(tmp_path, folders.online())])
    assert "missing" in report.table(tmp_path)
    assert len(report.plot(tmp_path)) == 1
    assert "0 finished cells of 1" in report.plot(tmp_path)[-1].read_text()


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="not a results folder"):
        report.table(tmp_path)


# --- formats ------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["md", "csv", "latex", "json"])
def test_the_same_folder_gives_the_same_text(complete: Path, format: str) -> None:
    assert report.table(complete, format=format) == report.table(complete, format=format)


def test_csv_is_one_rectangle_with_exact_numbers(complete: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(report.table(complete, format="csv"))))
    assert {row["table"] for row in rows} == {"returns", "aggregates", "improvement", "bandits"}
    exact = json.loads(report.table(complete, format="json"))["returns"]["rows"][0]["return"]
    assert float(rows[0]["return"]) == exact["point"]
    assert float(rows[0]["return low"]) == exact["low"]


def test_markdown_columns_align(complete: Path) -> None:
    for block in re.findall(r"(?:^\|.*\n)+", report.table(complete), flags=re.MULTILINE):
        assert len({len(line) for line in block.splitlines()}) == 1


def test_latex_escapes_and_balances() -> None:
    text = formats._latex([formats.Table("x", "A & B", [{"a_b": "50 % <$>"}], ["n_1"])])
    assert r"\caption{A \& B}" in text
    assert r"a\_b \\" in text
    assert r"50 \% $<$\$$>$ \\" in text
    assert text.count(r"\begin{") == text.count(r"\end{") == 2


HOSTILE = (
    "SAC [ours] | a_b <b>&amp; $x$ % \\ \x1b[31m\x9b\u202e \ud800 \nnew *row* `c` [l](http://x)"
)


def test_hostile_labels_are_shown_as_written_in_every_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = folders.online()
    for axis in ("env", "method", "teacher"):
        config[axis]["label"] = HOSTILE
    _write(tmp_path, config, notes=[HOSTILE])
    failed = store.Cell(tmp_path, config | {"seed": 1})
    with failed.lock():
        failed.fail("bug", HOSTILE, traceback="", command=HOSTILE)
    shown = (
        r"SAC [ours] | a_b <b>&amp; $x$ % \ \x1b[31m\x9b\u202e \ud800 \nnew *row* `c` [l](http://x)"
    )
    outputs = {format: report.table(tmp_path, format=format) for format in formats.FORMATS}
    outputs["html"] = report.plot(tmp_path)[-1].read_text(encoding="utf-8")
    outputs["figure"] = _texts(read(tmp_path), tmp_path, monkeypatch)
    for format, text in outputs.items():
        assert not [c for c in text if not c.isprintable() and c not in "\n\N{NO-BREAK SPACE}"], (
            format
        )
        text.encode()
    (row,) = json.loads(outputs["json"])["returns"]["rows"]
    assert row["task"] == row["learner"] == row["teacher"] == shown
    assert next(csv.DictReader(io.StringIO(outputs["csv"])))["learner"] == shown
    assert html.escape(shown) in outputs["html"]
    assert shown in outputs["figure"]


@given(st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1))
@example("__0__")
def test_markdown_cells_read_as_written(text: str) -> None:
    table = formats.Table("x", "x", [{"a": text, "b": "end"}], [])
    rendered = (
        MarkdownIt("commonmark")
        .enable(["table", "strikethrough"])
        .render(formats.markdown([table]))
    )
    cells = re.findall(r"<td[^>]*>(.*?)</td>", rendered, flags=re.DOTALL)
    assert [html.unescape(cell) for cell in cells] == [text, "end"]


@given(st.text(st.characters(codec="ascii", exclude_categories=("C",)), min_size=1))
def test_latex_cells_hold_no_bare_special(text: str) -> None:
    escaped = formats._tex(text)
    for known in (*formats.LATEX.values(), "{[}", "{*}"):
        escaped = escaped.replace(known, "")
    assert not set(escaped) & set("\\&%$#_{}~^<>")
    assert not formats._tex(text).startswith(("[", "*"))


def test_unknown_format_and_regret(complete: Path) -> None:
    with pytest.raises(ConfigError, match="unknown table format 'mdd'; did you mean 'md'"):
        report.table(complete, format="mdd")
    with pytest.raises(ConfigError, match="no cell recorded regret 'week'; did you mean 'weak'"):
        report.plot(complete, regrets=("week",))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (1234567, "1,234,567"),
        (0.12345, "0.123"),
        (12.345, "12.35"),
        (123.45, "123.5"),
        (12345.6, "12,346"),
        (scores.Estimate(0.5), "0.500"),
        (scores.Estimate(512.31, 498.2, 530.0), "512.3 [498.2, 530.0]"),
        (scores.Estimate(512.31, 498.2, 530.0, few=True), "512.3 [498.2, 530.0]†"),
        (scores.Estimate(5.0, 4.99999, 5.00001), "5.00000 [4.99999, 5.00001]"),
        (scores.Estimate(-0.0001, -0.0002, 0.4), "0.000 [0.000, 0.400]"),
        (-0.0, "0.000"),
        (-0.00001, "0.000"),
    ],
)
def test_numbers_as_people_read_them(value: formats.Value, text: str) -> None:
    assert formats.shown(value) == text


# --- figures and page ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def drawn(complete: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in report.plot(complete)}


def test_figures_repeat_to_the_byte_and_leave_matplotlib_alone(
    complete: Path, drawn: dict[Path, bytes]
) -> None:
    names = ("returns", "efficiency", "profiles", "regret-average", "regret-weak")
    files = {f"{name}.{suffix}" for name in names for suffix in ("png", "pdf")}
    assert {path.name for path in drawn} == files | {"report.html"}
    before = dict(matplotlib.rcParams)
    assert {path: path.read_bytes() for path in report.plot(complete)} == drawn
    assert dict(matplotlib.rcParams) == before


def test_regret_figure_has_changes_and_bound(
    complete: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = _texts(read(complete), tmp_path, monkeypatch)
    for part in (
        "slope of C ln T",
        "Only the slope is drawn",
        "curves cut at the top)",
        "problem changes",
        "duels",
        "Mean of 20 repetitions",
        "cumulative weak regret",
        "environment steps",
        "labels answered",
    ):
        assert part in text


def test_many_lines_are_split_by_teacher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    teachers = ("oracle", "mistake", "skip", "equal")
    for teacher in teachers:
        for method in ("pebble", "reed"):
            _write(tmp_path, folders.online(method=method, teacher=teacher))
    _write(tmp_path, folders.online(method="sac", teacher=None))
    study = read(tmp_path)
    panels = dict(figures._panels(study.lines, split=figures._is_split(study)))
    assert set(panels) == {f"walker-walk, {teacher} teacher" for teacher in teachers}
    for lines in panels.values():
        assert lines[0].learner == "sac"
        assert sorted(x.learner for x in lines[1:]) == ["pebble", "reed"]


@pytest.mark.parametrize("number", [8, 30, 211, 1000])
def test_styles_stay_apart(number: int) -> None:
    references = [f"reference {i}" for i in range(25)]
    styles = style.line_styles([f"line {i}" for i in range(number)], references)
    assert len(set(styles.values())) == number + 25
    nearest = [styles[f"line {i}"] for i in range(6)]
    assert all(
        len({getattr(x, what) for x in nearest}) >= 5 for what in ("color", "dash", "marker")
    )


def test_figures_of_an_earlier_call_are_removed_and_nothing_else(tmp_path: Path) -> None:
    _write(tmp_path, folders.online())
    first = {path.name for path in report.plot(tmp_path)[:-1]}
    assert "efficiency.png" in first
    own = tmp_path / "figures" / "own.png"
    own.write_bytes(b"a user's picture")
    shutil.rmtree(tmp_path / "cells")
    _write(tmp_path, folders.online(method="sac", teacher=None))
    second = {path.name for path in report.plot(tmp_path)[:-1]}
    assert "efficiency.png" not in second
    assert {path.name for path in (tmp_path / "figures").iterdir()} == second | {"own.png"}


def test_results_that_cannot_be_written_to_are_reported_elsewhere(tmp_path: Path) -> None:
    root = tmp_path / "results"
    _write(root, folders.online(method="sac", teacher=None))
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    written = report.plot(root, tmp_path / "new" / "place")
    report.table(root)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before
    assert all(path.is_relative_to(tmp_path / "new" / "place") for path in written)
    assert written[-1].name == "report.html"
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"choose another folder \(-o DIR\)"):
        report.plot(root, tmp_path / "file")


def test_the_page_needs_nothing_else(complete: Path, drawn: dict[Path, bytes]) -> None:
    page = next(text for path, text in drawn.items() if path.suffix == ".html").decode()
    assert page.count("data:image/png;base64,") == 5
    assert not re.search(r"https?:|<script|<link|src=\"(?!data:)|href=", page)
    assert str(complete.parent) not in page


@given(st.lists(st.integers(0, 10**6), min_size=2, unique=True))
def test_numbers_in_names_sort_as_numbers(sizes: list[int]) -> None:
    shown = [f"piecewise(K={size}, p=0.5)" for size in sizes]
    assert sorted(shown, key=names.natural) == [f"piecewise(K={n}, p=0.5)" for n in sorted(sizes)]
    assert sorted(["a", "2", "10", "b2a", "", "b10"], key=names.natural)[:3] == ["", "2", "10"]


@pytest.mark.parametrize("room", [40, 80, 100, 400])
def test_a_table_fits_its_terminal_and_loses_nothing(complete: Path, room: int) -> None:
    whole, parts = report.table(complete), report.table(complete, room=room)
    rules = re.compile(r"\|[-:|]+\|")
    found = [{*rules.sub("", text).split()} for text in (whole, parts)]
    assert found[0] == found[1]
    if room >= 80:
        assert max(map(len, parts.splitlines())) <= room


def test_each_part_of_a_wide_table_says_what_its_rows_are() -> None:
    """Also where a number, such as that of labels, tells them apart or stands before a text."""
    score = formats.Estimate(0.5, 0.25, 0.75)
    rows: list[dict[str, formats.Value]] = [
        {"world": "delivery", "labels": n, "learner": learner, "seeds": 3, "one": score, "two": 0.5}
        for n in (30, 300)
        for learner in ("regret", "partial-return")
    ]
    for columns in (["world", "labels", "learner"], ["learner", "labels"]):
        kept = [{k: row[k] for k in (*columns, "seeds", "one", "two")} for row in rows]
        text = formats.markdown([formats.Table("t", "T", kept)], room=50)
        parts = text.split("\n\n")[1:]
        assert len(parts) > 1
        for part in parts:
            head, _, *lines = part.strip().splitlines()
            assert [name.strip() for name in head.split("|")[1 : len(columns) + 1]] == columns
            assert len(set(lines)) == 4
