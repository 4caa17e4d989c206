"""The table of claims says what the recorded tables say."""

import pandas as pd
import pytest
from scipy import stats

from prunelab.claims import CLAIMS, Claim, claims, verdict
from prunelab.sweep import load_results


@pytest.fixture(scope="module")
def table():
    return claims()


@pytest.mark.parametrize(
    ("low", "high", "above", "expected"),
    [
        (2.1, 3.0, True, "holds"),
        (1.0, 1.9, True, "does not hold"),
        (1.5, 2.5, True, "cannot be told"),
        (2.0, 2.5, True, "cannot be told"),
        (1.0, 1.9, False, "holds"),
        (float("nan"), float("nan"), False, "cannot be told"),
        (2.1, 3.0, False, "does not hold"),
    ],
)
def test_verdict_follows_from_interval_and_bound(low, high, above, expected):
    assert verdict(Claim("00", "a claim", "a number", 2.0, above), low, high) == expected


def test_every_claim_has_a_measurement(table):
    assert set(table["quantity"]) == {claim.quantity for claim in CLAIMS.values()}
    assert table[["mean", "low", "high"]].notna().all(axis=None)


def test_means_lie_in_their_intervals(table):
    assert ((table["low"] <= table["mean"]) & (table["mean"] <= table["high"])).all()


def test_a_row_is_the_paired_difference_of_its_study(table):
    rows = load_results("gradual").query("network == 'lenet300' and sparsity == 0.5")
    rows = rows[rows["budgets"] == 1]
    best = []
    for method in ("five steps", "one-shot"):
        of_method = rows[rows["method"] == method]
        rate = of_method.groupby("rate")["valid_accuracy"].mean().idxmax()
        best.append(of_method[of_method["rate"] == rate].set_index("seed")["test_accuracy"])
    points = 100 * (best[0] - best[1])
    row = table[(table["notebook"] == "08") & (table["setting"] == "lenet300, 0.5")].iloc[0]
    low, high = stats.t.interval(0.95, len(points) - 1, points.mean(), stats.sem(points))
    assert (row["low"], row["mean"], row["high"]) == pytest.approx((low, points.mean(), high))


def test_speed_is_a_ratio_of_seconds(table):
    rows = load_results("recovery_speed")
    rows = rows[(rows["network"] == "lenet300") & (rows["amount"] == 0.95)]
    best = rows.groupby(["loss", "rate"])["steps"].mean().groupby("loss").idxmin()
    rows = pd.concat(rows[(rows["loss"] == a) & (rows["rate"] == b)] for a, b in best)
    seconds = rows.pivot_table(index="seed", columns="loss", values="seconds")
    product = (seconds["labels"] / seconds["distillation"]).prod()
    row = table[(table["notebook"] == "02") & (table["setting"] == "lenet300, 0.95")].iloc[0]
    assert row["mean"] == pytest.approx(product ** (1 / 5))
