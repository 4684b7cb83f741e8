"""The registry answers without a simulator, says what it expected, and takes plug-ins."""

import subprocess
import sys

import pytest

import envs
from envs.registry import ENVS, EnvSpec, env, register, signature_parameters


def test_listing_imports_no_simulator():
    code = (
        "import sys, envs; envs.names(); envs.spec('walker-walk'); "
        "heavy = {'numpy', 'gymnasium', 'mujoco', 'dm_control', 'metaworld', 'torch'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_known_facts():
    assert len([n for n in envs.names() if n.endswith("-v3")]) == 50
    spec = envs.spec("button-press-v3")
    assert (spec.horizon, spec.reward_range, spec.success_key) == (500, (0.0, 10.0), "success")
    assert spec.parameters == {"goal_visible": (bool, True)}
    assert envs.spec("hopper-v5").early_termination
    assert not envs.spec("hopper-v5", terminate_when_unhealthy=False).early_termination


@pytest.mark.parametrize(("repeat", "horizon"), [(1, 1000), (2, 500), (3, 334), (1000, 1)])
def test_action_repeat_divides_the_horizon(repeat, horizon):
    spec = envs.spec("walker-walk", action_repeat=repeat)
    assert spec.horizon == horizon
    assert spec.reward_range == (0.0, float(repeat))


@pytest.mark.parametrize("repeat", [0, -1, 1.5, True, "2"])
def test_action_repeat_must_be_a_positive_whole_number(repeat):
    with pytest.raises(ValueError, match=r"action_repeat = .*; expected (a whole|at least 1)"):
        envs.spec("walker-walk", action_repeat=repeat)


def test_unknown_names_offer_near_matches():
    with pytest.raises(
        ValueError, match=r"unknown environment 'walker-wlak'; did you mean .*'walker-walk'"
    ):
        envs.make("walker-wlak")
    with pytest.raises(
        ValueError, match="has no parameter 'goal_visibl'; did you mean 'goal_visible'"
    ):
        envs.spec("reach-v3", goal_visibl=False)
    with pytest.raises(ValueError, match="no parameter 'speed'; it takes none"):
        envs.spec("pointmass", speed=2)


def test_tables_give_the_parameters_of_their_entry_points():
    for name in ["walker-walk", "reach-v3", "pointmass", "gridworld", "pendulum", "hopper-v5"]:
        spec = ENVS[name]
        found = signature_parameters(spec.factory())
        for key in spec.fixed:
            del found[key]
        declared = {  # the range stands in the table alone
            key: (getattr(kind, "__origin__", kind), default)
            for key, (kind, default) in spec.parameters.items()
        }
        assert found == declared, name


def test_tables_list_what_the_simulators_offer():
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS

    import envs.dm_control
    from envs.catalog import DM_CONTROL, META_WORLD

    offered = {(d, t) for d, t in envs.dm_control.suite.ALL_TASKS if d != "lqr"}
    listed = {(domain, task) for domain, tasks in DM_CONTROL.items() for task in tasks}
    assert listed == offered - {("humanoid", "run_pure_state")}
    assert {f"{task}-v3" for task in META_WORLD.split()} == set(ALL_V3_ENVIRONMENTS)


@pytest.fixture
def clean_registry():
    before = dict(ENVS)
    yield
    ENVS.clear()
    ENVS.update(before)


@pytest.mark.usefixtures("clean_registry")
def test_decorator_registers_what_a_suite_needs():
    @env("corridor", horizon=30, reward_range=(0.0, 1.0), success_key="reached")
    def corridor(length: int, wind: float = 0.0):
        """A corridor with wind.

        More about it.
        """

    spec = envs.registry.ENVS["corridor"]
    assert spec.summary == "A corridor with wind."
    assert spec.parameters == {"length": (int, "<required>"), "wind": (float, 0.0)}
    assert spec.__module__ == __name__
    with pytest.raises(ValueError, match="needs a value for 'length'; found none"):
        envs.spec("corridor", wind=1.0)


@pytest.mark.usefixtures("clean_registry")
def test_a_class_without_a_docstring_does_not_take_that_of_its_base():
    class Base:
        """Something about gymnasium."""

    @env("mine", horizon=5, reward_range=(0.0, 1.0))
    class Mine(Base):
        def __init__(self, speed: "float" = 2.0):
            pass

    assert ENVS["mine"].summary == ""
    assert ENVS["mine"].parameters == {"speed": (float, 2.0)}


@pytest.mark.usefixtures("clean_registry")
def test_a_plug_in_cannot_take_a_name_or_give_nonsense():
    with pytest.raises(ValueError, match=r"'walker-walk' of .* is already registered by envs"):

        @env("walker-walk", horizon=30, reward_range=(0.0, 1.0))
        def walker():
            """Mine."""

    with pytest.raises(ValueError, match="horizon = 0; expected at least 1"):
        register(EnvSpec("a", 0, (0.0, 1.0), None, "", "a:b"))
    with pytest.raises(
        ValueError, match=r"reward_range = \(1.0, 0.0\); expected \(lowest, highest\)"
    ):
        register(EnvSpec("a", 1, (1.0, 0.0), None, "", "a:b"))
