"""What is said of the studies `channel_criteria`, on a table made by hand."""

import numpy as np
import pandas as pd
import pytest
import torch

from prunelab.lab import channel_choice
from prunelab.lab.claims import counted
from prunelab.lab.early_masks import verdict_grid
from prunelab.lab.protocol import POINTS
from prunelab.models import lenet300
from prunelab.studies.channel_criteria import LEFT, points
from prunelab.studies.channel_criteria_relative import grid as relative
from prunelab.studies.shared import cost
from prunelab.surgery import prune_network

POINTS_OF = {
    "none": 88.0,
    "new weights": 80.0,
    "random": 84.0,
    "l1": 86.0,
    "l2": 86.01,
    "bn_scale": 83.0,
    "Taylor": 87.0,
    "Fisher": 86.0,
    "Taylor, relative": 87.5,
    "Fisher, relative": 85.0,
}
AHEAD = {"global": 0.5, "uniform": 0.0, "none": 0.0}


def table() -> pd.DataFrame:
    """A table as `measure` makes it: differences are those above, but for a little noise."""
    rows, rng = [], np.random.default_rng(0)
    for point in [*points("lenet300", 5), *points("convnet", 5), *relative(5)]:
        value = (POINTS_OF[point["criterion"]] + AHEAD[point["scope"]]) / 100
        if point["seed"] is None:
            for seed in (100, 101):
                for rate, loss in ((0.03, 0.01), (0.1, 0.0), (0.3, 0.02)):
                    one = {**point, "role": "choice", "seed": seed, "rate": rate}
                    rows.append(one | {"stage": "retrained", "valid_accuracy": value - loss})
            continue
        parameters = point["left"] * (900 if point["scope"] == "global" else 1000)
        row = {**point, "role": "comparison", "parameters": parameters, "macs": 2 * parameters}
        for stage, lost in (("cut", 0.5), ("retrained", 0.0)):
            accuracy = value - lost + rng.normal(scale=2e-4)
            rows.append(row | {"stage": stage, "test_accuracy": accuracy})
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def study():
    return table()


@pytest.fixture(scope="module")
def claims(study):
    return channel_choice.channel_claims(study)


def test_claims_have_the_verdicts_of_the_table(claims):
    said = claims.groupby("arm")["verdict"].unique().map(list)
    assert said["l1 over random, uniform"] == ["holds"]
    assert said["bn_scale over random, global"] == ["does not hold"]
    assert said["Taylor over l1, uniform"] == ["holds"]
    assert said["Fisher over Taylor, global"] == ["does not hold"]
    assert said["l2 over l1, uniform"] == ["no difference that matters"]
    assert said["Fisher over l1, global"] == ["no difference that matters"]
    assert said["l1, global over uniform"] == ["holds"]
    assert said["random over new weights, uniform"] == ["holds"]
    assert said["Taylor, relative over Taylor, global"] == ["holds"]
    assert said["Fisher, relative over l1, global"] == ["does not hold"]
    assert said["Fisher, relative, global over Fisher, uniform"] == ["does not hold"]
    lead = claims.set_index(["arm", "network"])["mean"]
    assert lead["l1 over random, uniform", "convnet"].tolist() == pytest.approx([2] * 3, abs=0.1)
    assert counted(claims)["verdicts"] == len(claims)


def test_a_difference_as_small_as_what_matters_is_no_difference(study):
    near = study["criterion"].eq("Taylor") & study["stage"].eq("retrained")
    by = (86.0 + POINTS / 2 - POINTS_OF["Taylor"]) / 100
    moved = study.assign(test_accuracy=study["test_accuracy"] + near * by)
    claims = channel_choice.channel_claims(moved).set_index("arm")
    assert set(claims.loc["Taylor over l1, uniform", "verdict"]) == {"no difference that matters"}


def test_a_claim_has_a_row_where_a_network_has_both_arms(claims):
    shares = len(LEFT["lenet300"]) + len(LEFT["convnet"])
    arms = [claim.arm for of in channel_choice.CLAIMS.values() for claim in of]
    assert set(claims["arm"]) == set(arms)
    assert len(set(arms)) == len(arms)
    assert claims["against"].unique().tolist() == list(channel_choice.CLAIMS)
    rows = claims.groupby("arm").size()
    with_scales = rows.index.str.contains("bn_scale")
    assert set(rows[~with_scales]) == {shares}
    assert set(rows[with_scales]) == {len(LEFT["convnet"])}


def test_criteria_are_compared_on_the_networks_that_both_have_seen(study, claims):
    late = study["criterion"].eq("l1") & study["seed"].isin([3, 4])
    fewer = channel_choice.channel_claims(study[~late])
    assert set(claims["n"]) == {5}
    with_l1 = fewer["arm"].str.contains("l1")
    assert set(fewer.loc[with_l1, "n"]) == {3}
    pd.testing.assert_frame_equal(fewer[~with_l1], claims[~with_l1])


def test_what_one_arm_has_more_parameters_is_said(claims):
    larger = claims.set_index("arm")["parameters"]
    assert set(larger["l1 over random, global"]) == {1.0}
    assert larger["l1, global over uniform"].tolist() == pytest.approx([0.9] * 6)


def test_verdicts_stand_by_network_and_share(claims):
    shown = verdict_grid(claims, arm="arm").text
    heads = [f"{n}, {100 * s:g} %" for n in ("lenet300", "convnet") for s in LEFT[n]]
    assert [shown.index(head) for head in heads] == sorted(shown.index(head) for head in heads)
    rows = shown.splitlines()[2:]
    assert len(rows) == claims["arm"].nunique()
    (row,) = [row for row in rows if "bn_scale over random, uniform" in row]
    assert row.count("does not hold") == len(LEFT["convnet"])


def test_the_units_of_the_second_layer_follow_from_two_counts():
    x, rows = torch.rand(1, 1, 28, 28), []
    for seed in range(3):
        how = {"criterion": "random", "scope": "global", "seed": seed}
        model = prune_network(lenet300(), 0.8, x, **how)
        rows.append({**cost(model, x), "units": model.fc2.out_features})
    table = pd.DataFrame(rows)
    assert len(set(table["units"])) > 1
    assert channel_choice.second_layer(table).tolist() == pytest.approx(table["units"].tolist())


def test_a_rate_at_the_end_of_its_grid_is_named(study):
    assert channel_choice.rates_at_an_edge(study).empty
    lowest = study["criterion"].eq("l2") & study["left"].eq(0.1) & study["scope"].eq("global")
    lowest &= study["rate"].eq(0.03) & study["network"].eq("convnet")
    changed = study.assign(valid_accuracy=study["valid_accuracy"].mask(lowest, 0.99))
    (edge,) = channel_choice.rates_at_an_edge(changed).to_dict("records")
    assert [edge[name] for name in (*channel_choice.CELL, "edge")] == [
        *("convnet", 0.1, "l2", "global", "low"),
    ]
