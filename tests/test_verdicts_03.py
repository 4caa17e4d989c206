"""The verdicts of notebook 03, recomputed from the recorded table."""

from pathlib import Path

import pandas as pd
import pytest
from scipy import stats

RECORD = Path(__file__).parents[1] / "data" / "results" / "rewinding.csv"
LENET_DENSITIES = (0.5, 0.2, 0.05, 0.02)
CASES = [*(("lenet300", density) for density in LENET_DENSITIES), ("half_convnet", 0.2)]
every_case = pytest.mark.parametrize(("network", "density"), CASES)
REWOUND = ["rewind to start", "rewind to early", "rewind to late"]


def points(network: str, density: float, value: str = "test_accuracy") -> pd.DataFrame:
    rows = pd.read_csv(RECORD)
    rows = rows[(rows["network"] == network) & (rows["density"] == density)]
    return 100 * rows.pivot_table(index="seed", columns="method", values=value)


def interval(values: pd.Series) -> tuple[float, float]:
    assert len(values) == 5
    return stats.t.interval(0.95, 4, values.mean(), stats.sem(values))


@every_case
@pytest.mark.parametrize("method", REWOUND)
def test_rewinding_weights_is_nowhere_ahead_of_rewinding_the_rate(network, density, method):
    by_method = points(network, density)
    difference = by_method[method] - by_method["LR rewinding"]
    assert difference.mean() < 0
    assert interval(difference)[0] < 0


@pytest.mark.parametrize("density", [0.2, 0.05, 0.02])
def test_rewinding_beats_fine_tuning_at_low_density(density):
    by_method = points("lenet300", density)
    assert interval(by_method["rewind to start"] - by_method["fine-tune"])[0] > 0


@pytest.mark.parametrize("density", LENET_DENSITIES)
@pytest.mark.parametrize("control", ["random reinit", "random mask"])
def test_the_first_weights_and_their_mask_matter(density, control):
    by_method = points("lenet300", density)
    assert interval(by_method["rewind to start"] - by_method[control])[0] > 0


def test_in_the_convnet_new_weights_cannot_be_told_from_the_first():
    by_method = points("half_convnet", 0.2)
    low, high = interval(by_method["rewind to start"] - by_method["random reinit"])
    assert low < 0 < high


@pytest.mark.parametrize("density", [0.2, 0.02])
def test_no_barrier_in_lenet(density):
    barriers = points("lenet300", density, "barrier")
    assert all(interval(barriers[method])[1] < 0.2 for method in barriers)


def test_the_largest_barrier_of_the_convnet_is_that_of_the_start():
    assert points("half_convnet", 0.2, "barrier").mean().idxmax() == "rewind to start"
