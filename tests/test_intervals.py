"""Means, intervals and paired comparisons are those of the textbook; choices are by the mean."""

import numpy as np
import pandas as pd
import pytest

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


def test_interval_by_hand():
    row = mean_interval(pd.DataFrame({"g": 1, "x": [1.0, 2.0, 3.0]}), ["g"], "x").iloc[0]
    assert (row["mean"], row["sd"], row["n"]) == (2, 1, 3)
    assert (row["low"], row["high"]) == pytest.approx(
        (2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5)
    )


def test_groups_keep_their_order_and_the_columns_are_named():
    summary = mean_interval(table(), ["rule", "sparsity"], "accuracy")
    assert list(summary.columns) == ["rule", "sparsity", "mean", "low", "high", "sd", "n"]
    assert summary["rule"].tolist() == ["z", "z", "a", "a"]


def test_interval_of_one_measurement_is_not_a_number():
    row = mean_interval(pd.DataFrame({"g": [1], "x": [2.0]}), ["g"], "x").iloc[0]
    assert (row["mean"], row["n"]) == (2, 1)
    assert np.isnan([row["low"], row["high"], row["sd"]]).all()


def test_missing_column_is_named():
    with pytest.raises(ValueError, match="value='speed' must be one of the columns of table"):
        mean_interval(table(), ["rule"], "speed")


def difference(rows: pd.DataFrame, b: str = "a") -> pd.DataFrame:
    return paired_difference(rows, ["sparsity"], "accuracy", between="rule", a="z", b=b)


def test_paired_difference_is_taken_seed_by_seed_in_any_order_of_rows():
    rows = table()
    values = rows.set_index(["rule", "sparsity", "seed"])["accuracy"]
    d = values["z"][0.9] - values["a"][0.9]
    row = difference(rows.sample(frac=1, random_state=0)).set_index("sparsity").loc[0.9]
    assert (row["mean"], row["sd"], row["n"]) == pytest.approx((d.mean(), d.std(), 5))
    assert row["high"] - row["mean"] == pytest.approx(2.776445 * d.std() / 5**0.5)


def test_seeds_that_do_not_pair_are_an_error():
    for lost in (0, 19):
        with pytest.raises(ValueError, match="a='z' and b='a' of rule must have the same seeds"):
            difference(table().drop(index=lost))
    with pytest.raises(ValueError, match="a='z' and b='b' of rule must have the same seeds"):
        difference(table(), b="b")
    with pytest.raises(ValueError, match="leaves several rows a seed"):
        difference(pd.concat([table(), table()]))


def test_paired_ratio_turns_round_and_is_the_difference_of_logarithms():
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
    with pytest.raises(ValueError, match=r"effects has no columns \['high'\]"):
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
    table.loc[0, "valid_accuracy"], table.loc[1, "valid_accuracy"] = 3.3, 0.1  # one lucky seed
    assert choose(table, ["network"], "rate").to_dict("list") == {
        "network": ["z", "a", "b"],
        "rate": [0.3, 1.0, 0.1],
        "edge": ["", "high", "low"],
    }
    smallest = choose(table, ["network"], "rate", largest=False)
    assert smallest["rate"].tolist() == [0.1, 0.1, 1.0]
    assert smallest["edge"].tolist() == ["low", "low", "high"]
    alone = choose(table[table["rate"] == 0.3], ["network"], "rate")
    assert alone["edge"].tolist() == ["", "", ""]


def test_of_two_as_good_the_lower_is_chosen_in_any_order_of_rows():
    table = trials(a=(1, 2, 2), b=(2, 1, 2))
    assert choose(table, ["network"], "rate")["rate"].tolist() == [0.3, 0.1]
    assert choose(table.iloc[::-1], ["network"], "rate")["rate"].tolist() == [0.1, 0.3]


def test_what_cannot_be_chosen_from_is_named():
    table = trials(a=(1, 2, 3))
    with pytest.raises(ValueError, match="value='speed' must be one of the columns of table"):
        choose(table, ["network"], "rate", "speed")
    table.loc[0, "valid_accuracy"] = np.nan
    with pytest.raises(ValueError, match=r"\['valid_accuracy'\] have missing values"):
        choose(table, ["network"], "rate")


def test_a_category_without_rows_makes_no_group():
    kinds = pd.Categorical(["a", "a", "a", "a"], categories=["a", "b"])
    table = pd.DataFrame({"kind": kinds, "rate": [1, 1, 2, 2], "value": [0.1, 0.3, 0.5, 0.7]})
    assert len(mean_interval(table, ["kind"], "value")) == 1
    assert choose(table, ["kind"], "rate", "value")["rate"].tolist() == [2]


def test_two_values_of_one_seed_are_refused():
    table = pd.DataFrame({"by": 0, "seed": 0, "arm": ["a", "a", "b"], "value": [0.1, 0.2, 0.3]})
    with pytest.raises(ValueError, match="several rows a seed"):
        paired_difference(table, ["by"], "value", "arm", "a", "b")
