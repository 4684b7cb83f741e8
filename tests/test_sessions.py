"""Feedback sessions: the published runs' arithmetic, and laws of every schedule."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbrl import sessions
from pbrl.errors import ConfigError

WALKER = {"steps": 500_000, "first": 10_000, "interval": 20_000, "per_session": 50, "labels": 500}


@pytest.mark.parametrize(("per_session", "spent"), [(50, 9_900), (100, 19_800)])
def test_meta_world_budgets_cannot_be_spent(per_session: int, spent: int) -> None:
    settings = {
        "steps": 1_000_000,
        "labels": 200 * per_session,
        "seed_steps": 1_000,
        "unsup_steps": 9_000,
        "label_interval": 5_000,
        "labels_per_session": per_session,
    }
    assert sessions.spendable(settings) == spent
    assert len(sessions.sessions_of(settings)) == 198


def test_walker_ends_its_feedback_at_step_190_000() -> None:
    found = sessions.sessions(**WALKER)
    assert found[0] == (10_000, 50)
    assert found[-1] == (190_000, 50)
    assert len(found) == 10


def test_sizes_over_time() -> None:
    plain = {"steps": 100, "first": 0, "interval": 25, "per_session": 8, "labels": 1000}
    assert sessions.sessions(**plain) == ((0, 8), (25, 8), (50, 8), (75, 8))
    assert sessions.sessions(**plain, kind="decay") == ((0, 8), (25, 6), (50, 4), (75, 2))
    assert sessions.sessions(**plain, kind="growth") == ((0, 7), (25, 10), (50, 15), (75, 30))


@given(
    st.integers(0, 500),
    st.integers(0, 300),
    st.integers(1, 100),
    st.integers(1, 50),
    st.integers(0, 400),
    st.sampled_from(["constant", "decay", "growth"]),
)
def test_laws(steps, first, interval, per_session, labels, kind) -> None:
    found = sessions.sessions(
        steps=steps,
        first=first,
        interval=interval,
        per_session=per_session,
        labels=labels,
        kind=kind,
    )
    at = [step for step, _ in found]
    assert at == sorted(set(at))
    assert all(first <= step < steps and (step - first) % interval == 0 for step in at)
    assert all(size > 0 for _, size in found)
    assert sum(size for _, size in found) <= labels


@given(
    st.integers(100, 5000),
    st.integers(0, 99),
    st.integers(1, 50),
    st.integers(1, 400),
    st.sampled_from(["constant", "decay", "growth"]),
)
def test_without_an_interval_the_budget_is_spread(steps, first, per_session, labels, kind) -> None:
    """Over three quarters of the steps, as far apart as that allows; where it fits at all."""
    sizes = {"per_session": per_session, "labels": labels, "kind": kind}
    end = first + int(0.75 * (steps - first))

    def fits(interval: int) -> bool:
        found = sessions.sessions(steps=steps, first=first, interval=interval, **sizes)
        return bool(found) and sum(size for _, size in found) == labels and found[-1][0] <= end

    found = sessions.sessions(steps=steps, first=first, interval=None, **sizes)
    assert all(first <= step < steps for step, _ in found)
    if fits(1):
        assert sum(size for _, size in found) == labels
        assert found[-1][0] <= end
    if kind == "constant" and fits(1) and len(found) > 1:
        assert not fits(found[1][0] - found[0][0] + 1)


@pytest.mark.parametrize("setting", ["interval", "per_session"])
def test_a_schedule_that_never_moves_is_refused(setting: str) -> None:
    with pytest.raises(ConfigError, match="expected at least 1"):
        sessions.sessions(**(WALKER | {setting: 0}))


def test_planning_imports_no_torch() -> None:
    code = "import pbrl.sessions, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
