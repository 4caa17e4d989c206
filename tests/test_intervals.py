"""Means, intervals and paired differences are those of the textbook."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from prunelab.intervals import choose, mean_interval, paired_difference, paired_ratio, written


def table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        [
            {"rule": rule, "sparsity": sparsity, "seed": seed, "accuracy": rng.normal()}
            for rule in ("z", "a")
            for sparsity in (0.5, 0.9)
            for seed in range(5)
        ]
    )


def test_interval_is_that_of_scipy():
    rows = table()
    first = mean_interval(rows, ["rule", "sparsity"], "accuracy").iloc[0]
    x = rows["accuracy"][:5]
    expected = stats.t.interval(0.95, df=4, loc=x.mean(), scale=stats.sem(x))
    assert (first["low"], first["high"]) == pytest.approx(expected)


def test_interval_by_hand():
    row = mean_interval(pd.DataFrame({"g": 1, "x": [1.0, 2.0, 3.0]}), ["g"], "x").iloc[0]
    assert (row["mean"], row["sd"], row["n"]) == (2, 1, 3)
    assert row["high"] == pytest.approx(2 + 4.302653 / 3**0.5)


def test_groups_keep_their_order_and_the_columns_are_named():
    summary = mean_interval(table(), ["rule", "sparsity"], "accuracy")
    assert list(summary.columns) == ["rule", "sparsity", "mean", "low", "high", "sd", "n"]
    assert summary["rule"].tolist() == ["z", "z", "a", "a"]


def test_interval_covers_the_truth_nineteen_times_in_twenty():
    x = np.random.default_rng(0).normal(3, 2, size=(4000, 5))
    rows = pd.DataFrame({"g": np.repeat(range(4000), 5), "x": x.ravel()})
    summary = mean_interval(rows, ["g"], "x")
    covered = ((summary["low"] < 3) & (summary["high"] > 3)).mean()
    assert 0.94 < covered < 0.96


def test_interval_of_one_measurement_is_not_a_number():
    row = mean_interval(pd.DataFrame({"g": [1], "x": [2.0]}), ["g"], "x").iloc[0]
    assert (row["mean"], row["n"]) == (2, 1)
    assert np.isnan([row["low"], row["high"], row["sd"]]).all()


def test_missing_column_is_named():
    with pytest.raises(ValueError, match=r"\['speed'\] are not columns of the table"):
        mean_interval(table(), ["rule"], "speed")


def difference(rows: pd.DataFrame) -> pd.DataFrame:
    return paired_difference(rows, ["sparsity"], "accuracy", between="rule", a="z", b="a")


def test_paired_difference_is_taken_seed_by_seed():
    rows = table()
    values = rows.set_index(["rule", "sparsity", "seed"])["accuracy"]
    d = values["z"][0.9] - values["a"][0.9]
    row = difference(rows).set_index("sparsity").loc[0.9]
    assert (row["mean"], row["sd"], row["n"]) == pytest.approx((d.mean(), d.std(), 5))
    assert row["high"] - row["mean"] == pytest.approx(2.776445 * d.std() / 5**0.5)


def test_paired_difference_does_not_depend_on_the_order_of_rows():
    rows = table()
    pd.testing.assert_frame_equal(difference(rows.sample(frac=1, random_state=0)), difference(rows))


def test_constant_difference_has_no_uncertainty():
    rows = table()
    rows.loc[rows["rule"] == "z", "accuracy"] = (
        rows.loc[rows["rule"] == "a", "accuracy"].to_numpy() + 0.25
    )
    row = difference(rows).iloc[0]
    assert (row["mean"], row["low"], row["high"]) == pytest.approx((0.25, 0.25, 0.25))


@pytest.mark.parametrize("lost", [0, 19])
def test_missing_seed_is_an_error(lost):
    with pytest.raises(ValueError, match="rule='z' and rule='a' must have the same seeds"):
        difference(table().drop(index=lost))


def test_value_that_is_not_there_is_an_error():
    rows = table()
    with pytest.raises(ValueError, match="rule='z' and rule='b' must have the same seeds"):
        paired_difference(rows, ["sparsity"], "accuracy", between="rule", a="z", b="b")


def test_paired_ratio_is_a_ratio_of_geometric_means_and_turns_round():
    rows = table().assign(seconds=lambda t: np.exp(t["accuracy"]))
    two = {"by": ["sparsity"], "value": "seconds", "between": "rule"}
    ratio = paired_ratio(rows, **two, a="z", b="a")
    logs = difference(rows)[["mean", "low", "high"]]
    assert list(ratio.columns) == ["sparsity", "mean", "low", "high", "n"]
    assert np.allclose(np.log(ratio[["mean", "low", "high"]]), logs)
    turned = paired_ratio(rows, **two, a="a", b="z")
    assert np.allclose(turned[["mean", "low", "high"]], 1 / ratio[["mean", "high", "low"]])


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan])
def test_what_is_not_above_zero_has_no_ratio(value):
    rows = table().assign(accuracy=1.0)
    rows.loc[3, "accuracy"] = value
    with pytest.raises(ValueError, match="accuracy has values that are not above zero"):
        paired_ratio(rows, ["sparsity"], "accuracy", between="rule", a="z", b="a")


def test_an_effect_is_written_with_its_interval():
    effects = pd.DataFrame({"mean": [0.416], "low": [-0.1], "high": [1.0]}, index=[7])
    assert written(effects).to_dict() == {7: "+0.42 [-0.10, +1.00] points"}
    assert written(effects, "", ".1%")[7] == "41.6% [-10.0%, 100.0%]"
    with pytest.raises(ValueError, match=r"\['high'\] are not columns of the table"):
        written(effects.drop(columns="high"))


def trials(**accuracies) -> pd.DataFrame:
    """Two seeds a rate of each network: their validation accuracies at 0.1, 0.3 and 1."""
    return pd.DataFrame(
        [
            {"network": network, "rate": rate, "seed": seed, "valid_accuracy": mean + spread}
            for network, means in accuracies.items()
            for rate, mean in zip((1.0, 0.3, 0.1), means[::-1], strict=True)
            for seed, spread in enumerate((-0.25, 0.25))
        ]
    )


def test_the_best_mean_is_chosen_and_a_best_at_the_end_of_the_grid_is_marked():
    table = trials(z=(1, 3, 2), a=(1, 2, 3), b=(3, 2, 1))
    assert choose(table, ["network"], "rate").to_dict("list") == {
        "network": ["z", "a", "b"],
        "rate": [0.3, 1.0, 0.1],
        "edge": ["", "high", "low"],
    }
    smallest = choose(table, ["network"], "rate", largest=False)
    assert smallest["rate"].tolist() == [0.1, 0.1, 1.0]
    assert smallest["edge"].tolist() == ["low", "low", "high"]


def test_of_two_as_good_the_lower_is_chosen_in_any_order_of_rows():
    table = trials(a=(1, 2, 2), b=(2, 1, 2))
    chosen = choose(table, ["network"], "rate")
    assert chosen["rate"].tolist() == [0.3, 0.1]
    assert choose(table.iloc[::-1], ["network"], "rate")["rate"].tolist() == [0.1, 0.3]


def test_the_mean_decides_and_not_the_best_seed():
    table = trials(a=(1, 3, 2))
    table.loc[(table["rate"] == 1) & (table["seed"] == 0), "valid_accuracy"] = 3.3
    table.loc[(table["rate"] == 1) & (table["seed"] == 1), "valid_accuracy"] = 0.1
    assert choose(table, ["network"], "rate")["rate"].tolist() == [0.3]


def test_one_setting_has_no_edge():
    table = trials(a=(1, 2, 3)).query("rate == 0.3")
    assert choose(table, ["network"], "rate")["edge"].tolist() == [""]


def test_what_cannot_be_chosen_from_is_named():
    table = trials(a=(1, 2, 3))
    with pytest.raises(ValueError, match=r"\['speed'\] are not columns of the table"):
        choose(table, ["network"], "rate", "speed")
    table.loc[0, "valid_accuracy"] = np.nan
    with pytest.raises(ValueError, match=r"\['valid_accuracy'\] have missing values"):
        choose(table, ["network"], "rate")
