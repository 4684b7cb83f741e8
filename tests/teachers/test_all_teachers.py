"""What holds for every teacher by name: speed, memory, draws counted, plug-ins by the same door."""

import dataclasses
import resource
import time

import numpy as np
import torch

from pbrl import registry
from pbrl.check.teacher import _pairs, violations
from pbrl.teachers.oracle import TabularOracle

LONG = 10  # steps of a segment


def test_a_hundred_thousand_pairs_are_labeled_in_a_second_by_every_teacher() -> None:
    """And in under a gigabyte; those with an oracle look their values up in tables."""
    g = torch.Generator().manual_seed(0)
    values = torch.randn(100, generator=g, dtype=torch.float64).numpy()
    oracle = TabularOracle(values, values[:, None] - np.ones((100, 4)), gamma=0.99)
    pairs = _pairs(100_000, 0, (LONG, 3, 2))

    def numbers(limit: int) -> torch.Tensor:
        return torch.randint(0, limit, (100_000, LONG, 1), generator=g).float()

    tabular = [
        dataclasses.replace(side, obs=numbers(100), next_obs=numbers(100), act=numbers(4))
        for side in pairs
    ]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name in registry.names("teacher"):
        if name == "scored" or registry.resolve("teacher", name).__module__ == __name__:
            continue
        teacher = registry.make("teacher", name)
        given = pairs
        if registry.describe("teacher", name).meta.get("oracle"):
            teacher.consult(oracle)
            given = tabular
        if hasattr(teacher, "bind"):
            teacher.bind(horizon=1000, reward_range=(0.0, 1.0))
            teacher.observe_episode(500.0)
        took = []
        for _ in range(2):
            began = time.process_time()
            labels = teacher.label(*given, np.random.default_rng(0))
            took.append(time.process_time() - began)
        assert labels.shape == (100_000,)
        assert min(took) < 1, name
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1e6  # kilobytes


PLUGIN = '''
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge

from pbrl import registry
from pbrl.teachers.comparison import Comparison
from pbrl.teachers.oracle import start_values


@registry.teacher("careful", oracle=True)
@dataclass(kw_only=True, eq=False)
class Careful(Comparison):
    """Prefers to start where it is good."""

    weight: Annotated[float, Ge(0)] = 1.0
    "Of the value."

    def consult(self, oracle):
        self.oracle = oracle

    def score(self, segments):
        return self.weight * start_values(self.oracle, segments).numpy()
'''


def test_a_users_comparison_has_every_part_as_a_setting(tmp_path) -> None:
    file = tmp_path / "careful.py"
    file.write_text(PLUGIN)
    registry.load_plugin(file)
    entry = registry.describe("teacher", "careful")
    assert entry.meta["oracle"] is True
    assert {"draws", "beta", "eps_mistake", "stage_skip", "weight"} <= entry.parameters.keys()
    settings = {"name": "careful", "beta": 2.0, "eps_mistake": 0.1, "stage_skip": 0.3}
    assert violations(lambda: registry.make("teacher", settings)) == []
