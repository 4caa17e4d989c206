"""What the playbook says of the studies of recovery, on a table whose answers are known."""

import numpy as np
import pandas as pd
import pytest

from prunelab import figures
from prunelab.lab.playbook import (
    against_dense,
    agreement,
    behind_best,
    decisions,
    held_out,
    worst_case,
)

LOSS = {"cosine": 0.0, "LR rewinding": 0.1, "distillation": 1.0, "scratch": -3.0}
"""Points of a way behind the first, where half of the weights are left."""


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """In the convnet LR rewinding is ahead by 0.5 points; validation sees what test sees."""
    rows = []
    for network in ("lenet300", "convnet"):
        for density in (0.5, 0.2):
            for method, loss in LOSS.items():
                points = loss / (2 * density)
                points -= 1.0 if (network, method) == ("convnet", "LR rewinding") else 0.0
                for seed in range(5):
                    noise = 0.01 * (seed - 2) * (method != "cosine")
                    accuracy = 0.9 - (points + noise) / 100
                    row = {"network": network, "pruned": "weights", "density": density}
                    row |= {"budget": 1.0, "method": method, "seed": seed}
                    rows.append(row | {"valid_accuracy": accuracy, "test_accuracy": accuracy})
    return pd.DataFrame(rows)


def test_every_way_is_measured_against_the_one_that_validation_prefers(table):
    behind = behind_best(table).set_index(["network", "density", "method"]).sort_index()
    assert set(behind.loc["lenet300"]["best"]) == {"cosine"}  # a control is never preferred
    assert set(behind.loc["convnet"]["best"]) == {"LR rewinding"}
    half = behind.loc[("lenet300", 0.5)]
    assert half["mean"].to_dict() == pytest.approx({m: -loss for m, loss in LOSS.items()})
    low = -1.0 - 2.7764 * np.std(0.01 * np.arange(5), ddof=1) / np.sqrt(5)
    assert half.loc["distillation", "low"] == pytest.approx(low, abs=1e-4)
    assert half["as_good"].to_dict() == {
        "cosine": True,
        "LR rewinding": True,
        "distillation": False,
        "scratch": True,
    }
    assert not behind.loc[("lenet300", 0.2, "LR rewinding"), "as_good"]  # −0.25 points


def test_the_worst_case_the_agreement_and_a_network_held_out(table):
    behind = behind_best(table)
    ranked = worst_case(behind).set_index("method")
    assert ranked["worst"].to_dict() == pytest.approx(
        {"scratch": 2.1, "LR rewinding": -0.25, "cosine": -0.9, "distillation": -3.25}, abs=0.01
    )
    assert list(ranked.index) == ["scratch", "LR rewinding", "cosine", "distillation"]
    assert ranked.loc["LR rewinding", "as_good"] == 3
    assert agreement(behind, "network").loc["lenet300", "convnet"] == pytest.approx(0.8)
    out = held_out(behind).set_index("network")
    assert out["decided"].to_dict() == {"convnet": "cosine", "lenet300": "LR rewinding"}
    assert out.loc["lenet300", "worst"] == pytest.approx(-0.25, abs=0.01)


def test_the_heat_map_writes_every_distance(table):
    behind = behind_best(table)
    picture = figures.ways_back(behind)
    (ax,) = picture.figure.axes
    texts = [text.get_text() for text in ax.texts]
    assert len(texts) == len(behind)
    assert texts.count("best") == 4
    assert ax.get_yticklabels()[0].get_text() == "scratch"
    assert ax.get_xticklabels()[0].get_text() == "lenet300\nweights\n50%"
    assert "cosine in 2, LR rewinding in 2 of 4 cells" in picture.caption
    shown = ax.images[0].get_array()
    assert shown.shape == (4, 4)
    assert shown.max() == pytest.approx(-behind["mean"].min())
    assert shown.min() == 0


@pytest.fixture(scope="module")
def with_dense(table) -> pd.DataFrame:
    """The dense network gains 0.5 points along a cosine, and nothing otherwise."""
    dense = table[table["density"] == 0.5].assign(pruned="nothing", density=1.0)
    dense = dense[dense["method"].isin(["cosine", "LR rewinding"])]
    accuracy = 0.9 + 0.005 * (dense["method"] == "cosine")
    dense = dense.assign(valid_accuracy=accuracy, test_accuracy=accuracy)
    untrained = dense.assign(method="as pruned", test_accuracy=0.99, valid_accuracy=0.99)
    return pd.concat([table, dense, untrained])


def test_the_dense_network_beside_is_the_best_that_was_trained_as_long(with_dense):
    lost = against_dense(with_dense).set_index(["network", "density", "method"])["mean"]
    assert lost["lenet300", 0.5, "cosine"] == pytest.approx(-0.5)
    assert lost["lenet300", 0.2, "distillation"] == pytest.approx(-3.0)
    assert lost["convnet", 0.5, "LR rewinding"] == pytest.approx(0.4)
    assert not (lost.index.get_level_values("density") == 1.0).any()


def test_what_to_do_is_what_is_nearest_to_the_best_over_the_networks(with_dense):
    decided = decisions(behind_best(with_dense), against_dense(with_dense)).set_index("density")
    half = decided.loc[0.5]
    assert (half["do"], half["networks"], half["as_good"]) == ("LR rewinding", 2, 2)
    assert half["worst"] == pytest.approx(-0.1)
    assert half["also"] == ()  # the cosine is 0.9 points behind in the convnet
    assert (half["least"], half["most"]) == pytest.approx((-0.4, 0.6))
    assert decided.loc[0.2, "do"] == "LR rewinding"
    assert decided.loc[0.2, "as_good"] == 1  # 0.25 points behind in lenet300


def test_a_way_that_one_network_has_not_tried_is_not_what_to_do(with_dense):
    behind = behind_best(with_dense)
    missing = (behind["network"] == "convnet") & (behind["method"] == "LR rewinding")
    decided = decisions(behind[~missing], against_dense(with_dense))
    assert set(decided["do"]) == {"cosine"}


def test_the_chart_writes_every_decision(with_dense):
    decided = decisions(behind_best(with_dense), against_dense(with_dense))
    picture = figures.decision_chart(decided)
    (ax,) = picture.figure.axes
    texts = [text.get_text() for text in ax.texts]
    assert texts[:4] == [
        "LR rewinding",
        "loses -0.4 to 0.6 points",
        "as good as the best in 2 of 2 networks",
        "also shown to be as good: none",
    ]
    assert len(texts) == 4 * len(decided)
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        "prune weights,\nkeep 50%\nof all weights",
        "prune weights,\nkeep 20%\nof all weights",
    ]
    greens = [patch.get_edgecolor()[:3] for patch in ax.patches]
    assert greens[0] != greens[1]  # sure, and not
    assert "keep 50%, prune weights, 100% of the steps: LR rewinding" in picture.caption


def test_the_front_draws_what_is_lost_against_the_price(with_dense):
    lost = against_dense(with_dense).query("method == 'cosine'")
    picture = figures.front(lost.assign(bytes=lost["density"] / 2), "bytes")
    left, right = picture.figure.axes
    (points,) = [line for line in left.lines if line.get_label() == "weights"]
    assert sorted(points.get_xdata()) == [0.1, 0.25]
    assert [text.get_text() for text in right.texts] == ["50%", "20%"]
    assert left.get_title(loc="left") in {"lenet300", "convnet"}
    assert "50% kept: 25.0%, -0.5 points" in picture.caption


def test_test_images_never_choose(table):
    """Where test accuracies are turned around, the choices are the same, and look worse."""
    turned = table.assign(test_accuracy=1 - table["test_accuracy"])
    behind, before = behind_best(turned), behind_best(table)
    assert behind["best"].tolist() == before["best"].tolist()
    assert behind["valid"].tolist() == pytest.approx(before["valid"].tolist())
    assert held_out(behind)["decided"].tolist() == held_out(before)["decided"].tolist()
    assert held_out(behind)["mean"].min() > 0
    lost = before.assign(low=0.0, high=0.0)
    assert decisions(behind, lost)["do"].tolist() == decisions(before, lost)["do"].tolist()
