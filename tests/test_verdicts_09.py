"""The verdict of notebook 09, recomputed from the recorded table."""

from pathlib import Path

import pandas as pd
import pytest
from scipy import stats

RECORD = Path(__file__).parents[1] / "data" / "results" / "bn_recalibration.csv"
DAMAGE = [("weights", 0.5), ("weights", 0.8), ("filters", 0.25), ("filters", 0.5)]
every_damage = pytest.mark.parametrize(("pruned", "amount"), DAMAGE)


def gain(pruned: str, amount: float, statistics: str, steps: int) -> tuple[float, float]:
    """The 95 % interval of the gain over stale statistics, in points."""
    rows = pd.read_csv(RECORD)
    rows = rows[(rows["pruned"] == pruned) & (rows["amount"] == amount) & (rows["steps"] == steps)]
    points = 100 * rows.pivot_table(index="seed", columns="statistics", values="accuracy")
    difference = points[statistics] - points["stale at the start"]
    assert len(difference) == 5
    return stats.t.interval(0.95, 4, difference.mean(), stats.sem(difference))


@every_damage
def test_recalibration_helps_before_training(pruned, amount):
    low, _ = gain(pruned, amount, "recalibrated now", 0)
    assert low > 0


@every_damage
def test_recalibration_before_training_is_forgotten_after_100_steps(pruned, amount):
    low, high = gain(pruned, amount, "recalibrated at the start", 100)
    assert -0.2 < low <= high < 0.2


@every_damage
def test_recalibration_after_the_whole_schedule_gains_nearly_nothing(pruned, amount):
    low, high = gain(pruned, amount, "recalibrated now", 860)
    assert -0.2 < low <= high < 0.2


@every_damage
def test_in_the_middle_it_shows_for_filters_only(pruned, amount):
    low, _ = gain(pruned, amount, "recalibrated now", 100)
    assert (low > 0) == (pruned == "filters")
