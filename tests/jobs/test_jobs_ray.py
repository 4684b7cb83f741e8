"""The Ray executor on a cluster of several nodes on this machine, one of which dies."""

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import tiny_cells

from pbrl.errors import ConfigError
from pbrl.jobs import queue
from pbrl.store import Cell

WITHOUT_RAY = """
import sys
sys.modules["ray"] = None
from pathlib import Path
from pbrl.jobs import queue
from pbrl.store import Cell
queue.run_cells([Cell(Path(sys.argv[1]), {"seed": 1})], Path(sys.argv[1]), executor="ray")
"""


def test_without_ray_the_error_names_the_extra(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_RAY, str(tmp_path)], capture_output=True, text=True
    )
    assert "ConfigError: executor 'ray' needs Ray" in done.stderr
    assert "pip install 'pbrl[ray]'" in done.stderr


@pytest.fixture
def cluster() -> Any:
    """A head node for the scheduler, and two nodes of one CPU each."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    made.add_node(num_cpus=1)
    yield made
    made.shutdown()


def test_an_unknown_address_is_one_sentence(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    cell = Cell(tmp_path, tiny_cells.config(0))
    with pytest.raises(ConfigError, match="no Ray cluster at nowhere"):
        queue.run_cells([cell], tmp_path, executor="ray", address="nowhere")


def test_cells_survive_the_death_of_a_node(cluster: Any, tmp_path: Path) -> None:
    nodes = cluster.worker_nodes
    victim = next(iter(nodes))
    cells = [Cell(tmp_path, tiny_cells.config(s, steps=40, sleep=0.05)) for s in range(4)]
    cells.append(Cell(tmp_path, tiny_cells.config(9, mischief="raise")))
    events: list[tuple[str, str]] = []

    def kill_a_node() -> None:
        while sum(cell.progress() is not None for cell in cells) < 2:
            time.sleep(0.05)
        cluster.remove_node(victim, allow_graceful=False)

    killer = threading.Thread(target=kill_a_node)
    killer.start()
    summary = queue.run_cells(
        cells,
        tmp_path,
        plugins=[tiny_cells.PLUGIN],
        executor="ray",
        address=cluster.address,
        on_event=lambda what, cell, note: events.append((what, cell.id)),
    )
    killer.join()
    assert [cell.status() for cell in cells] == ["done"] * 4 + ["failed"]
    assert [cell.id for cell in summary.failed] == [cells[-1].id]
    log = "".join((cell.path / "log.txt").read_text() for cell in cells)
    assert log.count("--- process") > len(cells), "no cell was on the node that died"
