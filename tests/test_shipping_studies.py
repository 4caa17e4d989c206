"""The studies of shipping measure what they say, shown on a tiny network and few images."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch

from prunelab.lab import shipped
from prunelab.lab.claims import counted
from prunelab.masks import get_masks
from prunelab.models import small_convnet
from prunelab.studies import shipping, shipping_cost


@pytest.fixture
def tiny(monkeypatch, data):
    build = partial(small_convnet, width=16)
    monkeypatch.setattr(shipping, "ORIGINALS", {"tiny": shipping.Original(build, 6, 0.1)})
    monkeypatch.setattr(shipping_cost, "BUILD", {"tiny": build})
    monkeypatch.setattr(shipping, "load_data", lambda: data)
    monkeypatch.setattr(shipping_cost, "load_data", lambda: data)
    monkeypatch.setattr(shipping, "remember", lambda function, **settings: function(**settings))
    monkeypatch.setattr(shipping, "CALIBRATION", 50)
    monkeypatch.setattr(shipping_cost, "SECONDS", 0.001)


@pytest.mark.long
def test_every_variant_is_shipped_in_every_form(tiny):
    table = pd.DataFrame(shipping.measure("tiny", seed=0))
    assert table["variant"].unique().tolist() == list(shipping.VARIANTS)
    assert table["form"].tolist() == list(shipping.FORMS) * 4
    by = table.set_index(["variant", "form"])
    assert (by.xs("torch", level="form")["difference"] == 0).all()
    exact = by[~(by.index.get_level_values("form") == "int8")]
    assert exact["difference"].max() < 1e-4
    assert exact["changed"].max() <= 1 / 500
    assert by.xs("int8", level="form")["difference"].min() > 0
    weights = by.xs("onnx", level="form")["parameters"]
    assert abs(weights["masked"] - weights["cut"]) < 0.05 * weights["dense"]
    size = by.xs("onnx", level="form")["bytes"]
    assert size["cut"] < 0.6 * size["dense"] < 0.6 * 1.01 * size["masked"]
    assert by.loc[("masked", "torch"), "bytes"] > 1.7 * by.loc[("dense", "torch"), "bytes"]
    assert (by["gzipped"] < by["bytes"]).all()


def test_widths_of_the_variants(tiny):
    dense = small_convnet(seed=0)
    made = shipping.variants(dense, torch.rand(1, 1, 28, 28))
    widths = {
        name: [model.get_submodule(f"conv{i}").out_channels for i in (1, 2, 3)]
        for name, model in made.items()
    }
    assert widths["dense"] == widths["masked"] == [16, 32, 64]
    assert widths["cut"] == [10, 19, 38]
    assert widths["cut, rounded"] == [8, 16, 40]
    assert get_masks(made["masked"])
    assert not get_masks(made["dense"])


@pytest.mark.long
def test_times_have_a_row_for_each_batch_variant_and_form(tiny):
    rows = []
    for point in shipping_cost.grid(1):
        assert point == {"network": "tiny", "threads": len(rows) // 48 + 1, "seed": 0}
        rows += shipping_cost.measure(**point)
    table = pd.DataFrame(rows)
    settings = ["threads", "batch", "variant", "form"]
    assert len(table) == len(table[settings].drop_duplicates()) == 2 * 3 * 4 * 4
    assert (table["q25"] <= table["median"]).all()
    assert (table["q25"] > 0).all()
    assert (table["median"] <= table["q75"]).all()


@pytest.fixture
def recorded():
    """Tables of two networks in which the rounded cut is twice as fast, and 8 bits lose a point."""
    cost, study = [], []
    for seed in (0, 1, 2):
        for variant in shipping.VARIANTS:
            for form in shipping.FORMS:
                row = {"network": "a", "seed": seed, "variant": variant, "form": form}
                ms = 8.0 * (1 + 0.01 * seed)
                ms *= 1 + 0.001 * seed * (len(variant) + ord(form[0]) % 7)
                ms /= 4 if form in ("onnx", "int8") else 1
                ms /= 2 if variant == "cut, rounded" else 1
                cost += [
                    {**row, "threads": threads, "batch": batch, "median": ms / threads}
                    for threads in (1, 2)
                    for batch in (1, 64)
                ]
                lost = 0.01 + 0.001 * seed if form == "int8" else 0.0
                lost += 0.02 + 0.001 * seed if variant != "dense" else 0.0
                study.append({**row, "test_accuracy": 0.9 - lost, "bytes": 1000, "gzipped": 500})
    return pd.DataFrame(study), pd.DataFrame(cost)


def test_tables_of_the_notebook(recorded):
    study, cost = recorded
    fast = shipped.speeds(cost, ("cut, rounded", "onnx"), ("dense", "torch"))
    np.testing.assert_allclose(fast["mean"], 8, rtol=0.02)
    assert fast["setting"].tolist() == ["a, 1 image", "a, 64 images"] * 2
    assert shipped.lost(study, "int8")["mean"].tolist() == pytest.approx([1.1] * 4)
    assert shipped.lost_to_dense(study)["mean"].tolist() == pytest.approx([2.1] * 3)
    assert shipped.kilobytes(study, "gzipped").eq(0.5).all(axis=None)
    claims = shipped.shipping_claims(study, cost)
    said = claims["verdict"].groupby(level="claim", sort=False).unique().map(list).to_dict()
    assert list(said) == [*shipped.FASTER, shipped.SAME]
    assert said["a cut to multiples of 8 makes it faster"] == ["holds"]
    assert said["a cut makes it faster"] == ["no difference that matters"]
    assert said[shipped.SAME] == ["does not hold"]
    is_decided = claims["verdict"].isin(["holds", "does not hold"])
    assert (claims["p"][is_decided] < 0.05).all()
    assert counted(claims)["verdicts"] == len(claims)
