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


@pytest.mark.slow
def test_cells_share_a_gpu_by_what_they_ask_for(tmp_path: Path) -> None:
    """Four CPUs and a GPU that is only counted: halves of it are two cells at once, on that GPU."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 4, "num_gpus": 1})
    cells = []
    for seed in range(4):
        config = tiny_cells.config(seed, steps=20, sleep=0.05, mischief="show gpu", at=1)
        config["execution"]["gpus"] = 0.5
        cells.append(Cell(tmp_path, config))
    at_once, over = [], threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            at_once.append(sum(cell.status() == "running" for cell in cells))

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        queue.run_cells(
            cells, tmp_path, plugins=[tiny_cells.PLUGIN], executor="ray", address=cluster.address
        )
    finally:
        over.set()
        watching.join()
        cluster.shutdown()
    assert [cell.status() for cell in cells] == ["done"] * 4
    assert max(at_once) == 2
    assert all("visible GPUs: 0\n" in (cell.path / "log.txt").read_text() for cell in cells)
