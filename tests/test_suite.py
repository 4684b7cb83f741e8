"""Suite files: what they expand to, and one clear message for each thing wrong with them."""

import copy
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pbrl import suite, suites
from pbrl.errors import ConfigError
from pbrl.suites import fit

GOOD = {
    "name": "good",
    "seeds": 2,
    "blocks": [
        {
            "kind": "online",
            "env": ["pointmass"],
            "method": ["sac", "pebble"],
            "teacher": ["oracle", {"name": "mistake", "eps": 0.2}],
            "steps": 4000,
            "labels": 40,
        },
        {"kind": "bandit", "problem": "six-rankers", "algorithm": ["uniform"], "horizon": 100},
    ],
}


def changed(path: str, value: object) -> dict:
    content = copy.deepcopy(GOOD)
    *parents, last = path.split(".")
    place: object = content
    for part in parents:
        place = place[int(part)] if isinstance(place, list) else place[part]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return content


def test_every_list_is_an_axis_and_a_method_without_labels_has_no_teacher() -> None:
    cells = suite.cells(GOOD)
    # 2 seeds x (sac + pebble x 2 teachers) + 1 bandit cell
    assert len(cells) == 2 * (1 + 2) + 1
    assert {c["teacher"]["name"] if c["teacher"] else None for c in cells[:2]} == {None}
    assert cells[-1]["repetitions"] == 100


def test_a_list_of_parameter_values_is_an_axis_with_labels_that_tell_them_apart() -> None:
    content = changed("blocks.0.teacher", [{"name": "mistake", "eps": [0.1, 0.2]}])
    labels = [c["teacher"]["label"] for c in suite.cells(content) if c.get("teacher")]
    assert sorted(set(labels)) == ["mistake(eps=0.1)", "mistake(eps=0.2)"]


def test_what_is_left_open_is_not_in_a_label() -> None:
    content = changed("blocks.0.teacher", ["regret", {"name": "regret", "beta": 1, "draws": "tie"}])
    labels = [c["teacher"]["label"] for c in suite.cells(content) if c.get("teacher")]
    assert sorted(set(labels)) == ["regret", "regret(draws=tie, beta=1.0)"]


@given(
    steps=st.integers(1, 10**7),
    horizon=st.integers(1, 2000),
    episodes=st.integers(1, 100),
    final=st.integers(1, 100),
)
def test_evaluations_are_spaced_so_that_they_cost_little(steps, horizon, episodes, final) -> None:
    """At least five of them; more only where they play at most 0.6 steps for one of the run."""
    every = fit.eval_every(steps, horizon, episodes, final)
    number = len(range(0, steps, every)) + 1  # one at the start, one at the end
    assert number <= 21
    if steps >= 1000:
        assert number >= 6
        played = (number * episodes + final) * horizon
        assert number == 6 or played <= 0.6 * steps


def test_a_block_that_does_not_space_its_evaluations_gets_a_share_of_its_steps() -> None:
    content = changed("blocks.0.steps", [4000, 400_000])
    every = {c["steps"]: c["eval_every"] for c in suite.cells(content) if c["kind"] == "online"}
    assert every == {4000: 800, 400_000: 20_000}
    given_ = changed("blocks.0.eval_every", 123)
    assert suite.cells(given_)[0]["eval_every"] == 123


def test_parameters_are_filled_in_so_that_a_default_written_out_is_the_same_cell() -> None:
    content = changed("blocks.0.teacher", ["mistake", {"name": "mistake", "eps": 0.1}])
    with pytest.raises(ConfigError, match=r"blocks\.0: a cell is there twice"):
        suite.cells(content)


def test_what_computes_an_agent_follows_from_the_device_and_is_part_of_the_cell() -> None:
    found = {}
    for device in ("cpu", "cuda", "mps"):
        content = changed("blocks.0.device", device)
        content["blocks"][0]["method"] = ["random", "sac", {"name": "reed"}]
        cells = suite.cells(content)[:8]
        found[device] = {c["method"].get("core") for c in cells if c["method"]["name"] != "random"}
        assert not any("core" in c["method"] for c in cells if c["method"]["name"] == "random")
    assert found == {"cpu": {"compiled"}, "cuda": {"torch"}, "mps": {"torch"}}
    cells = suite.cells(changed("blocks.0.method", ["sac", {"name": "sac", "core": "torch"}]))
    labels = {c["method"]["label"] for c in cells[:-1]}
    assert labels == {"sac(core=compiled)", "sac(core=torch)"}
    written = {"name": "sac", "core": "compiled"}
    with pytest.raises(ConfigError, match="a cell is there twice"):
        suite.cells(changed("blocks.0.method", ["sac", written]))
    both = suite.cells(changed("blocks.0.method", [{"name": "sac", "core": ["compiled", "torch"]}]))
    assert {c["method"]["label"] for c in both[:-1]} == {"sac(core=compiled)", "sac(core=torch)"}
    content = changed("blocks.0.method", [written])
    content["blocks"][0]["device"] = "cuda:1"
    message = r"blocks.0.method: sac has core .compiled., which is for the CPU, on device .cuda:1."
    with pytest.raises(ConfigError, match=message):
        suite.cells(content)


def test_labels_for_reading_do_not_change_what_a_cell_is() -> None:
    one = suite.cells(changed("blocks.0.method", ["pebble"]))
    other = suite.cells(changed("blocks.0.method", [{"name": "pebble", "label": "mine"}]))
    assert [suite.identity(c) for c in one] == [suite.identity(c) for c in other]
    assert one != other


BAD = [
    ("seeds", 0, r"seeds: found 0; expected a whole number in \[1, 100_000\] or a list"),
    ("seeds", [1, 1], r"expected distinct numbers"),
    ("seeds", "three", r"suite\.seeds: found 'three'"),
    ("blocks", [], r"suite\.blocks"),
    ("nmae", "x", r"suite\.nmae: unknown key; did you mean 'name'"),
    ("name", "Not A Name", r"suite\.name: found 'Not A Name'"),
    ("blocks.0.kind", "onlin", r"blocks\.0: kind: found 'onlin'; did you mean 'online'"),
    ("blocks.0.kind", None, r"blocks\.0: kind is missing"),
    ("blocks.0.stepz", 5, r"blocks\.0\.stepz: unknown key; did you mean 'steps'"),
    ("blocks.0.steps", None, r"blocks\.0\.steps: missing"),
    ("blocks.0.steps", "many", r"blocks\.0\.steps.*found 'many'"),
    ("blocks.0.steps", 0, r"blocks\.0\.steps.*found 0"),
    (
        "blocks.0.env",
        "pointmas",
        r"blocks\.0\.env: unknown env 'pointmas'; did you mean 'pointmass'",
    ),
    ("blocks.0.method", ["peble"], r"unknown method 'peble'; did you mean 'pebble'"),
    ("blocks.0.teacher", ["oracel"], r"unknown teacher 'oracel'; did you mean 'oracle'"),
    ("blocks.0.teacher", [], r"blocks\.0\.teacher: the list is empty"),
    (
        "blocks.0.teacher",
        [{"name": "mistake", "epz": 1}],
        r"teacher 'mistake' has no parameter 'epz'; did you mean 'eps'",
    ),
    (
        "blocks.0.teacher",
        [{"name": "mistake", "eps": "much"}],
        r"teacher 'mistake': eps = 'much'; expected a number",
    ),
    ("blocks.0.method", [{"name": "pebble", "query": "entropi"}], r"unknown query 'entropi'"),
    ("blocks.0.method", [{"name": "pebble", "loss": "sigmoidd"}], r"unknown loss 'sigmoidd'"),
    ("blocks.0.method", [{"name": "pebble", "steps": 5}], r"steps belongs to the block"),
    ("blocks.0.method", [{"eps": 1}], r"expected a name or \{name: \.\.\., key: value\}"),
    ("blocks.0.labels", 0, r"pebble learns from labels; expected over 0"),
    ("blocks.0.labels", 100000, r"can spend \d+ of 100000 labels in 4000 steps"),
    (
        "blocks.0.method",
        [{"name": "pebble", "segment_length": 500}],
        r"segment_length 500, but an episode of pointmass has 100 steps",
    ),
    ("blocks.0.method", [{"name": "pebble", "members": 1}], r"members that can disagree"),
    ("blocks.0.method", [{"name": "pebble", "loss": "kto"}], r"'kto' is a point loss"),
    (
        "blocks.0.method",
        [{"name": "pebble", "seed_steps": 50, "unsup_steps": 0}],
        r"first asks at step 50",
    ),
    ("blocks.0.env", [{"name": "walker-walk", "action_repeat": 0}], r"action_repeat = 0; expected"),
    ("blocks.0.kind", ["online"], r"kind: found \['online'\]"),
    ("blocks.1.algorithm", "rucbb", r"blocks\.1\.algorithm: unknown bandit 'rucbb'"),
    (
        "blocks.1.algorithm",
        [{"name": "mdb", "base": {"name": "rucbb"}}],
        r"blocks\.1\.algorithm\.base: unknown bandit 'rucbb'; did you mean 'rucb'",
    ),
    (
        "blocks.1.algorithm",
        [{"name": "detect", "base": {"name": "mdb", "base": {"name": "rucb", "alhpa": 1}}}],
        r"algorithm\.base\.base: bandit 'rucb' has no parameter 'alhpa'; did you mean 'alpha'",
    ),
    (
        "blocks.1.algorithm",
        [{"name": "sparring", "base": {"name": "ucb", "a": "much"}}],
        r"algorithm\.base: base bandit 'ucb': a = 'much'; expected a number",
    ),
    ("blocks.1.algorithm", [{"name": "doubler", "base": "ucb1"}], r"unknown base bandit 'ucb1'"),
    ("blocks.1.algorithm", [{"name": "mdb", "base": {"alpha": 1}}], r"expected a name or \{name:"),
    ("blocks.1.algorithm", [{"name": "mdb", "base": 3}], r"mdb': base = 3; expected"),
    ("blocks.1.algorithm", [{"name": "mdb", "base": "vacdb"}], r"use a base without features"),
    (
        "blocks.1.algorithm",
        [{"name": "detect", "base": "uniform"}],
        r"base uniform.* names no winner",
    ),
    ("blocks.1.algorithm", [{"name": "discounted", "base": "btw"}], r"no counts to forget"),
    ("blocks.1.algorithm", [{"name": "mdb", "eps": 0.5}], r"eps = 0.5 hide changes"),
    ("blocks.1.problem", "six", r"blocks\.1\.problem: unknown problem 'six'"),
]


@pytest.mark.parametrize(("path", "value", "message"), BAD, ids=[f"{p}={v}" for p, v, _ in BAD])
def test_one_clear_message(path: str, value: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        suite.cells(changed(path, value))


def test_a_threshold_teacher_needs_rewards_that_are_bounded_below() -> None:
    content = changed("blocks.0.env", "hopper-v5")
    content["blocks"][0] |= {"teacher": "skip", "steps": 9000, "method": "pebble"}
    with pytest.raises(ConfigError, match=r"reward of hopper-v5 has no lower bound"):
        suite.cells(content)


def bases(*values: object) -> list[dict]:
    return suite.cells(changed("blocks.1.algorithm", [{"name": "mdb", "base": [*values]}]))[-1:]


def test_parameters_of_a_base_are_part_of_the_cell() -> None:
    one, other, published = (
        suite.identity(bases(base)[0])
        for base in ("rucb", {"name": "rucb", "alpha": 0.51}, {"name": "rucb", "alpha": 1.0})
    )
    assert one == other != published
    assert published["algorithm"]["base"] == {"name": "rucb", "alpha": 1.0}


def test_bases_of_one_axis_are_labeled_by_what_was_given() -> None:
    values = ["ws-s", {"name": "rucb", "alpha": 1.0}]
    cells = suite.cells(changed("blocks.1.algorithm", [{"name": "mdb", "base": values}]))[-2:]
    labels = [cell["algorithm"]["label"] for cell in cells]
    assert labels == ["mdb(base=ws-s)", "mdb(base=rucb(alpha=1.0))"]


def test_a_loss_and_its_defaults_written_out_are_the_same_cell() -> None:
    short, long = ("napo", {"name": "napo"})
    one, other = (
        suite.cells(changed("blocks.0.method", [{"name": "pebble", "loss": loss}]))
        for loss in (short, long)
    )
    assert one == other


def test_the_same_cell_in_two_blocks() -> None:
    content = copy.deepcopy(GOOD)
    content["blocks"].append(copy.deepcopy(content["blocks"][0]))
    with pytest.raises(ConfigError, match=r"blocks\.2: a cell is there twice, first in blocks\.0"):
        suite.cells(content)


def test_settings_change_every_block_that_has_the_key(tmp_path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(yaml.safe_dump(GOOD))
    content = suite.read(str(file), settings=("steps=5000", "seeds=[7]", "blocks.1.horizon=50"))
    assert content["blocks"][0]["steps"] == 5000
    assert content["blocks"][1]["horizon"] == 50
    assert content["seeds"] == [7]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("steps", r"expected KEY=VALUE"),
        ("stepz=5", r"no block has 'stepz'; did you mean 'steps'"),
        ("blocks.9.steps=5", r"the suite has no '9' there"),
        ("steps=[1", r"is not a YAML value"),
    ],
)
def test_settings_that_fit_nothing(setting: str, message: str, tmp_path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(yaml.safe_dump(GOOD))
    with pytest.raises(ConfigError, match=message):
        suite.read(str(file), settings=(setting,))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", r"not a YAML suite: line"),
        ("- 1", r"found list, expected keys name and blocks"),
        ("!!python/object/apply:os.system ['true']", r"not a YAML suite"),
    ],
)
def test_files_that_are_no_suite(text: str, message: str, tmp_path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        suite.read(str(file))


def test_a_missing_file_and_an_unknown_name() -> None:
    with pytest.raises(ConfigError, match=r"'nowhere\.yaml' does not exist"):
        suite.read("nowhere.yaml")
    with pytest.raises(ConfigError, match=r"unknown suite 'quik'; did you mean 'quick'"):
        suite.read("quik")


@pytest.mark.parametrize("name", suites.shipped())
def test_shipped_suites_expand(name: str) -> None:
    assert suite.cells(suite.read(name))


@pytest.mark.parametrize("name", suites.shipped())
def test_shipped_suites_say_what_they_are(name: str) -> None:
    content = suite.read(name)
    assert content["name"] == name
    assert suites.description(name) == content["description"] != ""


def test_a_method_that_asks_nobody_may_inherit_the_setting_labels() -> None:
    from pbrl import registry
    from pbrl.methods import pebble

    class Config(pebble.Config):
        pass

    def train(run: object, cfg: Config) -> None:
        """Nothing."""

    train.meta = {"labels": False}
    train.__annotations__["cfg"] = Config
    with registry.temporarily("method", "test-heir", train):
        block = {"kind": "online", "env": "pointmass", "method": "test-heir", "steps": 4000}
        (cell,) = suite.cells({"name": "t", "seeds": 1, "blocks": [block]})
    assert (cell["labels"], cell["teacher"]) == (0, None)
    assert Config(**registry.split(cell["method"])[1]).labels == pebble.Config(steps=1).labels


def taught_by(teacher: Any, env: str = "pointmass") -> dict[str, Any]:
    block = {"kind": "online", "env": env, "method": "pebble", "teacher": teacher}
    block |= {"steps": 4000, "labels": 20}
    return {"name": "t", "seeds": 1, "blocks": [block]}


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        (
            {"name": "population", "annotators": ["oracle", "myopic"], "shares": [0.5, 0.4]},
            r"shares = \[0.5, 0.4\] of 2 annotators, which sum to 0.9; expected one each",
        ),
        ({"name": "majority", "annotators": ["oracle"], "shares": [0.5, 0.5]}, "of 1 annotators"),
        ({"name": "population", "annotators": ["orcale"]}, "unknown teacher 'orcale'; did you"),
        ({"name": "population", "annotators": []}, "expected a list"),
        (
            {"name": "population", "annotators": [{"name": "mistake", "eps": 2}]},
            r"mistake'?: eps = 2; expected a number in",
        ),
        ({"name": "regret", "gamma": 1.5}, "gamma = 1.5; expected a number in"),
        ({"name": "oracle", "draws": "both"}, "draws = 'both'; expected one of 'first', 'tie'"),
        ({"name": "scored", "file": "nowhere.py"}, "nowhere.py cannot be read"),
        ({"name": "scored"}, "needs a value for 'file'"),
    ],
)
def test_teachers_that_cannot_be_are_refused_when_planned(teacher, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        suite.cells(taught_by(teacher))


def test_thresholds_of_annotators_need_bounded_rewards_too() -> None:
    crowd = {"name": "population", "annotators": ["oracle", {"name": "skip", "eps": 0.2}]}
    suite.cells(taught_by(crowd))
    with pytest.raises(ConfigError, match="compares returns with a threshold"):
        suite.cells(taught_by(crowd, env="hopper-v5"))


def test_a_function_of_the_users_is_found_without_running_its_file(tmp_path) -> None:
    (tmp_path / "mine.py").write_text("def near(s):\n    return 0\n1 / 0\n")
    teacher = {"name": "scored", "file": "mine.py", "function": "near"}
    (config,) = suite.cells(taught_by(teacher), folder=tmp_path)
    assert config["inputs"].keys() == {str(tmp_path / "mine.py")}
    crowd = {"name": "population", "annotators": [teacher | {"function": "neer"}]}
    with pytest.raises(ConfigError, match="no function 'neer'; did you mean 'near'"):
        suite.cells(taught_by(crowd), folder=tmp_path)


def test_noise_by_the_range_of_returns_needs_bounded_rewards() -> None:
    suite.cells(taught_by("range-noise", env="pendulum"))
    with pytest.raises(ConfigError, match="the reward of hopper-v5 has no bounds"):
        suite.cells(taught_by({"name": "population", "annotators": ["range-noise"]}, "hopper-v5"))


def test_a_plan_says_what_is_done_to_thresholds_where_returns_are_negative() -> None:
    crowd = {"name": "population", "annotators": ["oracle", {"name": "equal", "eps": 0.2}]}
    for teacher, env, noted in (
        ("skip", "pendulum", True),
        (crowd, "pendulum", True),
        ("skip", "pointmass", False),
        ("oracle", "pendulum", False),
    ):
        (config,) = suite.cells(taught_by(teacher, env=env))
        note = fit.note_on_thresholds(config)
        assert (note is not None) == noted
        if noted:
            assert "rewards can be negative, so 16.2736 is added to each" in note
