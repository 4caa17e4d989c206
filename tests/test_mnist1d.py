"""MNIST-1D is the same everywhere, and every arm of the study on it is what it says."""

import hashlib
import random

import numpy as np
import pytest
import torch

from prunelab.engines.mnist_1d import drawn_curves, mnist_1d
from prunelab.lab import cache, runner, spatial
from prunelab.masks import get_masks, kept_weights
from prunelab.rewinding import snapshot
from prunelab.studies import mnist1d as study
from tests.helpers import same

CURVES = "714392b8583ad9a15a22581ce36290145f16bc37568429ce06d0caf07bb900c7"
"""SHA-256 of all curves in thousandths, and of their digits."""


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Two networks of every arm, trained for a few steps: the table."""
    folder = tmp_path_factory.mktemp("mnist1d")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache, "CACHE", folder / "cache")
        patch.setattr(study, "RATES", (0.001, 0.003, 0.01))
        patch.setattr(study, "TUNING_SEEDS", (100, 101))
        yield runner.run("mnist1d", seeds=2, steps=4, results=folder)


def test_curves_are_drawn_bit_by_bit_and_leave_the_random_states_alone():
    drawn_curves.cache_clear()
    before = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    x, y = drawn_curves(10_000)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before  # noqa: NPY002
    rounded = (1000 * x).round().short().numpy().tobytes()
    assert hashlib.sha256(rounded + y.numpy().tobytes()).hexdigest() == CURVES
    assert y.bincount().tolist() == [1000] * 10


def test_a_seed_draws_the_validation_curves_and_nothing_else():
    a, again, other = (mnist_1d(seed) for seed in (0, 0, 1))
    assert [len(part) for part in (a.train, a.valid, a.test)] == [4000, 1000, 5000]
    assert a.train.x.shape[1:] == (1, 1, 40)
    assert torch.equal(a.valid.x, again.valid.x)
    assert not torch.equal(a.valid.x, other.valid.x)
    assert torch.equal(a.test.x, other.test.x)
    every = [torch.cat([data.train.x, data.valid.x]).flatten(1) for data in (a, other)]
    assert torch.equal(*(rows[rows[:, 0].argsort()] for rows in every))
    with pytest.raises(ValueError, match="seed"):
        mnist_1d(-1)


def test_a_small_run_adds_up(small):
    rows = small[small["role"] == "comparison"]
    by = ["kind", "round", "inputs"]
    assert len(rows) == 2 * 15
    assert not rows.duplicated([*by, "seed"]).any()
    assert not rows.drop(columns="edge").isna().any(axis=None)
    assert set(small.loc[small["role"] == "choice", "seed"]) == {100, 101}
    assert small.loc[small["role"] == "choice", "test_accuracy"].isna().all()
    assert rows.groupby("round")["density"].nunique().tolist() == [1, 1, 1]
    kept = rows.groupby("round")["density"].first()
    assert kept[2] == pytest.approx((3000 + 7500 + 490) / 43_000)
    assert kept[4] == pytest.approx((750 + 1875 + 240) / 43_000)
    means = small[small["role"] == "choice"].groupby([*by, "rate"])["valid_accuracy"].mean()
    for setting, group in rows.groupby(by):
        assert group["rate"].unique().tolist() == [means[setting].idxmax()]


def test_every_arm_differs_in_what_its_name_says(monkeypatch):
    monkeypatch.setattr(study, "fit_masked", lambda *_, **__: None)
    monkeypatch.setattr(study, "remember", lambda *_, **__: masks)

    def start(kind: str, inputs: str = "as drawn"):
        how = {"round": 2, "inputs": inputs, "seed": 0, "rate": 0.1, "steps": 4}
        return study.trained(kind, **how)

    first = study.lenet300((1, 1, 40), seed=study.seed_for(0, "init"))
    generator = torch.Generator().manual_seed(0)
    masks = {
        name: torch.rand(layer.weight.shape, generator=generator) < 0.3
        for name, layer in first.named_children()
        if name in study.PRUNED
    }
    ticket, data = start("ticket")
    reinit, _ = start("reinit", "shuffled")
    control, _ = start("random mask")
    assert same(snapshot(ticket), snapshot(first))
    assert same(get_masks(ticket), masks)
    assert same(get_masks(reinit), masks)
    assert (reinit.fc1.weight != ticket.fc1.weight)[masks["fc1"]].all()
    assert not same(get_masks(control), masks)
    assert all(int(get_masks(control)[n].sum()) == int(m.sum()) for n, m in masks.items())
    mirrored = start("ticket", "mirrored")[1]
    assert torch.equal(mirrored.test.x, data.test.x.flip(3))
    shuffled = start("ticket", "shuffled")[1]
    assert torch.equal(shuffled.train.x.sort().values, data.train.x.sort().values)
    assert torch.equal(shuffled.test.y, data.test.y)


def test_neighbors_are_those_of_the_curve_whatever_the_order():
    mask = torch.zeros(2, study.POINTS, dtype=torch.bool)
    mask[0, :3] = mask[1, [5, 7]] = True  # two of five have the next one beside them
    assert study.neighbors(mask, "as drawn") == pytest.approx(2 / 5)
    assert study.neighbors(mask.flip(1), "mirrored") == pytest.approx(2 / 5)
    order = study.ORDERS["shuffled"]
    assert sorted(order) == list(range(study.POINTS))
    assert study.neighbors(mask[:, order], "shuffled") == pytest.approx(2 / 5)
    dense = kept_weights(study.lenet300((1, 1, 40)).fc1)
    assert study.neighbors(dense, "shuffled") == 1


def test_leads_and_claims_of_a_small_run(small):
    leads = spatial.leads_of_masks(small)
    assert len(leads) == 12
    assert list(leads["source"].unique()) == ["first weights", "new weights"]
    table = spatial.mask_claims(small)
    assert len(table) == 10
    rows = small[(small["role"] == "comparison") & (small["round"] == 4)]
    points = 100 * rows.set_index(["kind", "inputs", "seed"]).sort_index()["test_accuracy"]
    difference = points["reinit", "mirrored"] - points["reinit", "shuffled"]
    found = table[(table["claim"] == "shuffling costs more") & (table["kept"] == "6.7%")]
    assert found["mean"].item() == pytest.approx(difference.mean())


def test_examples_are_curves_of_their_digit():
    data = mnist_1d().train
    table = spatial.examples(data, (3, 7), count=2)
    assert len(table) == 2 * 2 * 40
    first = table[(table["digit"] == "a 7") & (table["curve"] == "example 1")]
    expected = data.x[data.y == 7][0].flatten()
    assert torch.equal(torch.tensor(first["height"].to_numpy(), dtype=torch.float32), expected)
