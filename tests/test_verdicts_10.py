"""The verdicts of notebook 10, recomputed from the recorded tables."""

from pathlib import Path

import pandas as pd
import pytest
from scipy import stats

RESULTS = Path(__file__).parents[1] / "data" / "results"
SPARSITIES = (0.5, 0.8, 0.9, 0.95, 0.98)


def interval(difference: pd.Series) -> tuple[float, float]:
    assert len(difference.dropna()) == len(difference) == 5
    return stats.t.interval(0.95, 4, difference.mean(), stats.sem(difference))


def filters(ratio: float, stage: str, a: str, b: str) -> tuple[float, float]:
    rows = pd.read_csv(RESULTS / "filter_norms.csv").query("ratio == @ratio and stage == @stage")
    points = 100 * rows.pivot_table(index="seed", columns="criterion", values="accuracy")
    return interval(points[a] - points[b])


def best_strength(sparsity: float, penalty: str, retraining: str, rows: pd.DataFrame) -> pd.Series:
    """Test accuracy by seed, in points, at the strength of the best mean validation accuracy."""
    rows = rows[
        (rows["sparsity"] == sparsity)
        & (rows["penalty"] == penalty)
        & (rows["retraining"] == retraining)
    ]
    best = rows.groupby("strength")["valid_accuracy"].mean().idxmax()
    return 100 * rows[rows["strength"] == best].set_index("seed")["test_accuracy"]


def penalties(sparsity: float, a: tuple[str, str], b: tuple[str, str]) -> tuple[float, float]:
    rows = pd.read_csv(RESULTS / "regularization.csv")
    return interval(best_strength(sparsity, *a, rows) - best_strength(sparsity, *b, rows))


@pytest.mark.parametrize("ratio", [0.1, 0.3, 0.5])
@pytest.mark.parametrize("stage", ["recalibrated", "fine-tuned"])
@pytest.mark.parametrize("other", ["l2", "random"])
def test_no_difference_of_filter_norms_can_be_told(ratio, stage, other):
    low, high = filters(ratio, stage, "l1", other)
    assert low < 0 < high


@pytest.mark.parametrize("sparsity", [0.8, 0.9, 0.95, 0.98])
def test_l1_penalty_is_ahead_before_retraining_from_80_percent_on(sparsity):
    low, _ = penalties(sparsity, ("l1", "before"), ("l2", "before"))
    assert low > 0


@pytest.mark.parametrize("sparsity", [0.9, 0.95, 0.98])
def test_l1_penalty_is_ahead_after_retraining_from_90_percent_on(sparsity):
    low, _ = penalties(sparsity, ("l1", "l1"), ("l2", "l2"))
    assert low > 0


@pytest.mark.parametrize("sparsity", [0.5, 0.8])
def test_no_difference_after_retraining_at_moderate_sparsity(sparsity):
    low, high = penalties(sparsity, ("l1", "l1"), ("l2", "l2"))
    assert low < 0 < high


@pytest.mark.parametrize("sparsity", SPARSITIES)
def test_l2_penalty_is_never_ahead_after_retraining(sparsity):
    _, high = penalties(sparsity, ("l1", "l1"), ("l2", "l2"))
    assert high > 0


@pytest.mark.parametrize("sparsity", SPARSITIES)
def test_changing_from_l1_to_l2_for_retraining_matters_little(sparsity):
    low, high = penalties(sparsity, ("l1", "l2"), ("l1", "l1"))
    assert abs(low + high) / 2 < 0.5
