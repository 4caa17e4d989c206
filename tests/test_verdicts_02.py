"""The verdict of notebook 02, recomputed from the recorded table."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

RECORD = Path(__file__).parents[1] / "data" / "results" / "recovery_speed.csv"


def at_its_best_rate(amount: float, loss: str) -> pd.DataFrame:
    rows = pd.read_csv(RECORD)
    rows = rows[(rows["network"] == "lenet300") & (rows["amount"] == amount)]
    rows = rows[rows["loss"] == loss]
    best = rows.groupby("rate")["steps"].mean().idxmin()
    return rows[rows["rate"] == best].set_index("seed").sort_index()


def ratio(amount: float, value: str) -> tuple[float, float, float]:
    """Labels over distillation: low end, geometric mean, high end of the 95 % interval."""
    labels, teacher = (at_its_best_rate(amount, loss) for loss in ("labels", "distillation"))
    assert labels["reached"].all()
    assert teacher["reached"].all()
    assert len(labels) == 5
    log = np.log(labels[value] / teacher[value])
    low, high = stats.t.interval(0.95, 4, log.mean(), stats.sem(log))
    return float(np.exp(low)), float(np.exp(log.mean())), float(np.exp(high))


@pytest.mark.parametrize("amount", [0.9, 0.95])
def test_fewer_steps_where_pruning_is_hard_but_twice_is_not_shown(amount):
    low, mean, _ = ratio(amount, "steps")
    assert 1 < low < 2 < mean


def test_no_fewer_steps_where_pruning_is_light():
    low, _, high = ratio(0.8, "steps")
    assert low < 1 < high


@pytest.mark.parametrize("amount", [0.8, 0.9, 0.95])
def test_not_twice_as_fast_in_seconds(amount):
    assert ratio(amount, "seconds")[1] < 2
