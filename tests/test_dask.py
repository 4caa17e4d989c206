"""A study on a cluster: the same table as on one machine, also if a worker dies on the way."""

import os
import signal
import threading
import time

import pandas as pd
import pytest
from distributed import Client, LocalCluster

from prunelab.lab import cache, runner

TINY = {"seeds": 1, "scale": "quick", "rounds": 2, "iterations": 200}


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PRUNELAB_CACHE", str(tmp_path / "cluster"))  # for the workers
    monkeypatch.setattr(cache, "CACHE", tmp_path / "local")
    return tmp_path / "cluster"


def kill_when_something_is_finished(pid: int, cache) -> None:
    while not list(cache.rglob("*measure/*")):
        time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)


def test_cluster_with_a_killed_worker_gives_the_local_table(own_cache, tmp_path):
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        Client(cluster) as client,
    ):
        pids = list(client.run(os.getpid).values())
        killer = threading.Thread(target=kill_when_something_is_finished, args=(pids[0], own_cache))
        killer.start()
        on_cluster = runner.run(
            "lottery_tickets", results=tmp_path, dask=cluster.scheduler_address, **TINY
        )
        killer.join()
        assert pids[0] not in client.run(os.getpid).values()
    local = runner.run("lottery_tickets", results=tmp_path, jobs=1, **TINY)
    pd.testing.assert_frame_equal(on_cluster, local)
