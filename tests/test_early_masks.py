"""What notebook 16 says of the studies `before_training`, on a table made by hand."""

import re

import numpy as np
import pandas as pd
import pytest

from prunelab.lab import early_masks
from prunelab.lab.claims import counted
from prunelab.studies import before_training_gradual
from prunelab.studies.before_training import CHECKED, CHECKS, DENSITIES, points

POINTS_OF = {  # by method; the checks take their points off
    "dense": 88.0,
    "SNIP": 85.0,
    "GraSP": 82.0,
    "SynFlow": 84.0,
    "random, layerwise": 83.0,
    "random, ERK": 84.9,
    "SET": 85.5,
    "RigL": 85.8,
    "magnitude after training": 86.0,
    "magnitude after half of it": 85.9,
    "gradual pruning": 85.6,
}
LOST = {"shuffled within layers": 0.0, "new weights": 0.05, "scores inverted": 30.0}


def table(seeds: int = 5) -> pd.DataFrame:
    """A table as `measure` makes it: differences are those above, but for a little noise."""
    rows, rng = [], np.random.default_rng(0)
    arm = {"network": "lenet300", "method": "gradual pruning", "check": "none"}
    gradual = [{**point, **arm} for point in before_training_gradual.grid(seeds)]
    for point in points("lenet300", seeds) + gradual:
        value = POINTS_OF[point["method"]] - LOST.get(point["check"], 0.0)
        if point["method"] == "magnitude after training" and point["check"] != "none":
            value -= 1.0
        row = {**point, "rate": 0.1, "valid_accuracy": value / 100}
        if point["seed"] is None:
            for seed in (100, 101):
                for rate, loss in ((0.03, 0.01), (0.1, 0.0), (0.3, 0.02)):
                    one = {**row, "role": "choice", "seed": seed, "rate": rate}
                    rows.append(one | {"valid_accuracy": row["valid_accuracy"] - loss})
            continue
        noise = rng.normal(scale=0.02)
        density = point["density"]
        after = point["method"] == "magnitude after training"
        row |= {"role": "comparison", "weights": round(density * 266_200), "empty_layers": 0}
        row["training_macs"] = density + (1.0 if after else 0.0)
        rows.append(row | {"test_accuracy": (value + noise) / 100})
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def study():
    return table()


def test_a_lead_is_paired_and_in_points(study):
    lead = early_masks.lead(study, ("SNIP", "none"), ("GraSP", "none"))
    assert lead["kept"].tolist() == [f"{100 * d:g} %" for d in DENSITIES["lenet300"]]
    assert lead["n"].tolist() == [5] * 4
    assert lead["mean"].tolist() == pytest.approx([3.0] * 4, abs=0.1)


def test_checks_are_held_against_the_method_itself(study):
    lost = early_masks.lost_to(study, tuple(CHECKS))
    assert set(lost["mask"]) == set(CHECKED)
    assert len(lost) == len(CHECKED) * len(CHECKS) * 4
    means = lost.groupby(["mask", "source"])["mean"].mean()
    assert means["SNIP", "scores inverted"] == pytest.approx(30, abs=0.1)
    assert means["magnitude after training", "shuffled within layers"] == pytest.approx(1, abs=0.1)


def test_claims_have_the_verdicts_of_the_table(study):
    claims = early_masks.early_claims(study)
    assert len(claims) == 4 * len(early_masks.CLAIMS)
    said = claims.groupby(["claim", "mask"])["verdict"].unique().map(list)
    assert said["scores beat a random mask", "SNIP"] == ["holds"]
    assert said["scores beat a random mask", "GraSP"] == ["does not hold"]
    assert said["scores beat lots drawn by ERK", "SNIP"] == ["no difference that matters"]
    assert said["magnitude after training beats scores", "SynFlow"] == ["holds"]
    shuffled = said["shuffling a mask costs accuracy"]
    assert shuffled["SNIP"] == ["no difference that matters"]
    assert shuffled["magnitude after training"] == ["holds"]
    assert said["gradients choose better than chance", "RigL over SET"] == ["holds"]
    assert said["gradual pruning beats scores", "GraSP"] == ["holds"]
    gradual = said["gradual pruning beats a moving mask"]
    assert (gradual["SET"], gradual["RigL"]) == (["no difference that matters"], ["does not hold"])
    close = claims[claims["claim"].str.startswith("RigL loses little")]
    assert close["mean"].tolist() == pytest.approx([0.2] * 4, abs=0.1)
    assert counted(claims)["verdicts"] == len(claims)


def test_the_grid_has_a_column_a_density_and_a_color_a_verdict(study):
    claims = early_masks.early_claims(study)
    grid = early_masks.verdict_grid(claims)
    assert grid.page.count("<tr>") == len(early_masks.CLAIMS) + 2
    columns = [f"{100 * d:g} %" for d in DENSITIES["lenet300"]]
    assert [grid.page.index(f">{name}<") for name in columns] == sorted(
        grid.page.index(f">{name}<") for name in columns
    )
    assert "holds" in grid.text
    assert early_masks.verdict_grid(claims) == grid


def test_a_rate_at_the_end_of_its_grid_is_named(study):
    assert early_masks.rates_at_an_edge(study).empty
    lowest = (study["method"] == "SNIP") & (study["density"] == 0.05) & (study["rate"] == 0.03)
    lowest &= study["role"] == "choice"
    changed = study.assign(valid_accuracy=study["valid_accuracy"].mask(lowest, 0.99))
    (edge,) = early_masks.rates_at_an_edge(changed).to_dict("records")
    assert (edge["method"], edge["density"], edge["edge"]) == ("SNIP", 0.05, "low")


def test_claims_about_arms_that_were_left_out_are_left_out(study):
    few = study[(study["method"] != "SET") & (study["check"] != "new weights")]
    words = set(early_masks.early_claims(few)["claim"])
    assert words == {claim.words for claim in early_masks.CLAIMS} - {
        "new weights cost accuracy",
        "gradients choose better than chance",
    }
    masks = early_masks.early_claims(few).query("claim.str.startswith('a moving')")["mask"]
    assert set(masks) == {"RigL"}


def test_networks_stand_side_by_side_and_what_was_left_out_is_empty(study):
    half = study[study["density"] == 0.5]
    few = half[half["method"] != "SET"].assign(network="resnet20")
    both = pd.concat([early_masks.early_claims(half), early_masks.early_claims(few)])
    grid = early_masks.verdict_grid(both, "network")
    lines = grid.text.splitlines()
    for mask in ("a moving mask is better than a fixed one +SET", "gradients .* RigL over SET"):
        (row,) = [line for line in lines if re.match(mask, line)]
        assert row.count("[") == 1
    assert grid.text.count("[") == 2 * len(early_masks.CLAIMS) - 3  # gradual pruning over SET, too
    assert grid.page.count("<td") == 2 * len(early_masks.CLAIMS)
