"""The study of masks found before training, at the scale of a few steps."""

import pandas as pd
import pytest

from prunelab.data import load_data
from prunelab.masks import get_masks
from prunelab.models import lenet300
from prunelab.studies import before_training, before_training_gradual, recovery
from prunelab.studies.before_training import CHECKED, CHECKS, EARLY, MOVING, YARDSTICKS
from tests.helpers import same

CELL = {"network": "lenet300", "density": 0.05}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    data = load_data(train=500, valid=200)
    few_steps = recovery.ORIGINALS["lenet300"]._replace(steps=6)
    monkeypatch.setitem(recovery.ORIGINALS, "lenet300", few_steps)
    monkeypatch.setattr(recovery, "dense_rate", lambda network: 0.1)
    monkeypatch.setattr(before_training, "IMAGES", 50)
    monkeypatch.setattr(recovery, "RATES", (0.01, 0.1, 1.0))
    for study in (before_training, before_training_gradual):
        monkeypatch.setattr(study, "load_data", lambda: data)
        monkeypatch.setattr(study, "EVERY", 2)
        monkeypatch.setattr(study, "remember", lambda function, **call: function(**call))
        monkeypatch.setattr(study, "FIRST_RATES", (0.01, 1.0))


@pytest.mark.parametrize("method", [*EARLY, *before_training.CHANCE, *MOVING, *YARDSTICKS])
def test_each_method_keeps_as_many_weights(method):
    model = before_training.trained(**CELL, method=method, check="none", seed=0, rate=0.1)
    assert recovery.kept(model) == pytest.approx(0.05 * 266_200, abs=2)


@pytest.mark.parametrize("method", CHECKED)
def test_each_check_changes_one_thing(method):
    masks, weights = {}, {}
    for check in ("none", *CHECKS):
        model = lenet300(seed=0)
        before_training.mask(model, method, 0.05, check, seed=0)
        masks[check] = get_masks(model)
        weights[check] = model.fc1.weight_orig
    assert same(masks["new weights"], masks["none"])
    for check in ("shuffled within layers", "scores inverted"):
        assert not same(masks[check], masks["none"])
        assert weights[check].equal(weights["none"])
    kept = {check: {n: int(m.sum()) for n, m in masks[check].items()} for check in masks}
    assert kept["shuffled within layers"] == kept["none"] != kept["scores inverted"]


def test_a_choice_has_no_test_accuracy_and_a_comparison_takes_its_rate():
    point = {**CELL, "method": "SNIP", "check": "none"}
    tries = pd.DataFrame(before_training.measure(**point, seed=None))
    assert "test_accuracy" not in tries
    assert set(tries["seed"]) == {*recovery.TUNING_SEEDS}
    (row,) = before_training.measure(**point, seed=0)
    assert row["rate"] == recovery.best(tries.to_dict("records"), "rate")
    assert row["training_macs"] == pytest.approx(0.05, abs=1e-3)
    (yardstick,) = before_training.measure(**point | {"method": next(iter(YARDSTICKS))}, seed=0)
    assert yardstick["training_macs"] == pytest.approx(1.05, abs=1e-3)


def test_a_rate_at_which_a_moving_mask_diverges_is_no_error_and_is_not_chosen():
    point = {**CELL, "method": "RigL", "seed": 100}
    assert before_training.attempt(**point, rate=1e30) == 0
    assert before_training.attempt(**point, rate=0.1) > 0


def test_the_grid_chooses_first():
    points = before_training.grid(2)
    seeds = [point["seed"] for point in points]
    first = seeds.index(0)
    assert set(seeds[:first]) == {None}
    assert None not in seeds[first:]
    assert {point["check"] for point in points[:first]} == {"none"}


def test_gradual_pruning_begins_dense_and_ends_as_sparse_as_the_others():
    tries = pd.DataFrame(before_training_gradual.measure(0.05, seed=None))
    assert "test_accuracy" not in tries
    assert set(tries["seed"]) == {*recovery.TUNING_SEEDS}
    (row,) = before_training_gradual.measure(0.05, seed=0)
    assert row["rate"] == recovery.best(tries.to_dict("records"), "rate")
    assert row["weights"] == pytest.approx(0.05 * 266_200, abs=2)
    halfway = 0.05 + 0.95 / 2**3  # two steps each at 1, at this density, and at 0.05
    assert row["training_macs"] == pytest.approx((1 + halfway + 0.05) / 3, abs=1e-3)
    assert before_training_gradual.attempt(0.05, seed=100, rate=1e30) == 0
    columns = before_training.measure(**CELL, method="SNIP", check="none", seed=0)[0].keys()
    assert row.keys() == columns
