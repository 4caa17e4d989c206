"""What the playbook says of the studies of recovery, on a table whose answers are known."""

import numpy as np
import pandas as pd
import pytest

from prunelab import figures
from prunelab.lab.playbook import agreement, behind_best, held_out, worst_case

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
