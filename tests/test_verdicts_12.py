"""The verdicts of notebook 12, recomputed from the recorded tables."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

RESULTS = Path(__file__).parents[1] / "data" / "results"
FILTERS, WEIGHTS = "filters", "weights, equal parameters"
CELLS = [(network, ratio) for network in ("lenet300", "half_convnet") for ratio in (0.5, 0.75)]
every_cell = pytest.mark.parametrize(("network", "ratio"), CELLS)


def interval(values: pd.Series) -> tuple[float, float]:
    assert len(values.dropna()) == len(values) == 5
    return stats.t.interval(0.95, 4, values.mean(), stats.sem(values))


def points(network: str, ratio: float, pruned: str, method: str) -> pd.Series:
    """Test accuracy minus the dense network's, by seed, in points."""
    rows = pd.read_csv(RESULTS / "structured.csv")
    rows = rows[(rows["network"] == network) & (rows["ratio"] == ratio)]
    rows = rows[(rows["pruned"] == pruned) & (rows["method"] == method)].set_index("seed")
    return 100 * (rows["test_accuracy"] - rows["test_dense"])


def speedups(network: str, ratio: float, batch: int, variant: str) -> pd.Series:
    rows = pd.read_csv(RESULTS / "structured_cost.csv")
    rows = rows[(rows["network"] == network) & (rows["ratio"] == ratio) & (rows["batch"] == batch)]
    median = rows.pivot_table(index="seed", columns="variant", values="median")
    return median["dense"] / median[variant]


@every_cell
def test_equal_parameters_are_equal(network, ratio):
    rows = pd.read_csv(RESULTS / "structured.csv")
    rows = rows[(rows["network"] == network) & (rows["ratio"] == ratio)]
    parameters = rows.groupby("pruned")["parameters"].mean()
    assert np.isclose(parameters[FILTERS], parameters[WEIGHTS], rtol=1e-3)


@every_cell
def test_filters_cost_more_before_retraining(network, ratio):
    before = (points(network, ratio, kind, "before") for kind in (WEIGHTS, FILTERS))
    low, _ = interval(next(before) - next(before))
    assert low > 0
