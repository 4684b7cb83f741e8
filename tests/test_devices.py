"""Every method learns on every device that is here, stops and resumes there, and stays there."""

import pytest
import torch

from pbrl import registry, suite
from pbrl.check import method as check

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def tensors(value) -> list[torch.Tensor]:
    if isinstance(value, dict):
        return [t for v in value.values() for t in tensors(v)]
    return [value] if isinstance(value, torch.Tensor) else []


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", ["sac", "pebble", "reed"])
def test_a_method_runs_and_resumes_on_the_device(name: str, device: str) -> None:
    entry = registry.describe("method", name)
    small = {key: value for key, value in check.SMALL.items() if key in entry.parameters}
    block = {
        "kind": "online", "env": "pointmass", "method": {"name": name, **small}, "steps": 200,
        "labels": 16 if "labels" in entry.parameters else 0, "eval_every": 70,
        "eval_episodes": 1, "final_episodes": 1, "device": device,
    }  # fmt: skip
    (config,) = suite.cells({"name": "device", "seeds": 1, "blocks": [block]})
    whole, stopped = check.MemoryCell(config), check.MemoryCell(config, stop_at=140)
    weights = check._execute(whole)["weights"]
    assert {t.device.type for t in tensors(weights)} == {device}
    resumed = check._execute(stopped)["weights"]
    pairs = zip(tensors(weights), tensors(resumed), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
