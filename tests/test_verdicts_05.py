"""The verdict of notebook 05, recomputed from the recorded table."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

ZOO = pd.read_csv(Path(__file__).parents[1] / "data" / "results" / "zoo.csv")
OURS = ZOO[ZOO["tool"] == "prunelab"]


def interval_of_speedup(rows: pd.DataFrame) -> np.ndarray:
    log = np.log(rows["latency_before"] / rows["latency_after"])
    log = log.groupby(rows["seed"]).mean()
    assert len(log) == 5
    return np.exp(stats.t.interval(0.95, 4, log.mean(), stats.sem(log)))


def test_every_family_is_cut_and_exact():
    assert OURS["model"].nunique() == 22
    assert OURS["works"].all()
    assert OURS["error"].max() < 1e-9


def test_every_cut_changed_the_network():
    assert OURS["change"].min() > 1e-3
    assert (OURS["params_after"] < 0.75 * OURS["params_before"]).all()


@pytest.mark.parametrize("model", OURS["model"].unique())
def test_every_network_became_faster(model):
    low, _ = interval_of_speedup(OURS[OURS["model"] == model])
    assert low > 1


def test_twice_as_fast_on_average_and_less_than_the_operations_promise():
    low, high = interval_of_speedup(OURS)
    operations = np.exp(np.log(OURS["macs_before"] / OURS["macs_after"]).mean())
    assert 2 < low < high < operations


def test_torch_pruning_fails_where_the_figure_says():
    others = ZOO[ZOO["tool"] == "torch-pruning"].groupby("model")["works"].all()
    failing = {"googlenet", "inception_v3", "shufflenet_v2_x0_5", "swin_t", "swin_v2_t", "maxvit_t"}
    assert set(others.index[~others]) == failing
