"""The studies of recovery: their grids, how they choose, and that each way is what it says."""

import copy
import math
from itertools import pairwise

import pandas as pd
import pytest
import torch

from prunelab.data import load_data
from prunelab.lab.results import load_results
from prunelab.masks import effective_weight, get_masks, prunable_layers
from prunelab.models import lenet300, small_convnet
from prunelab.sparsity import Latency
from prunelab.studies import (
    recovery,
    recovery_convnet,
    recovery_cost,
    recovery_lenet300,
    recovery_lenet300_densities,
    recovery_rates,
    recovery_resnet20_filters,
    recovery_resnet20_weights,
    recovery_speed,
    shared,
    structured,
    undecided,
)
from prunelab.studies.recovery import ALPHAS, BUDGETS, OPEN, RATES, TUNING_SEEDS, Original
from prunelab.training import evaluate, fit
from tests.helpers import same

STEPS = 40
CELL = {"network": "lenet300", "pruned": "weights", "density": 0.1, "budget": 0.25}

TIMED = Latency(1.0, 1.0, 1.0)


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(recovery, "remember", lambda function, **call: function(**call))
    monkeypatch.setitem(recovery.ORIGINALS, "lenet300", Original(lenet300, STEPS, 128))


@pytest.mark.parametrize(
    ("study", "ways"),
    [
        (recovery_lenet300, set(OPEN)),
        (recovery_lenet300_densities, {"training", "cosine"}),
        (recovery_convnet, {"training", "cosine", "distillation", "gradual"}),
        (recovery_resnet20_weights, {"training", "cosine", "distillation", "gradual"}),
        (recovery_resnet20_filters, {"training", "cosine", "distillation"}),
    ],
)
def test_choices_come_first_and_every_cell_has_its_controls(study, ways):
    points = study.grid(2)
    choices = [point for point in points if point["seed"] is None]
    assert points[: len(choices)] == choices
    assert {choice["method"] for choice in choices} == ways
    compared = [tuple(point.values()) for point in points[len(choices) :]]
    assert len(set(compared)) == len(compared)
    for network, pruned, density, method, budget, seed in compared:
        if method == "distillation" and pruned != "nothing":
            for control in ("scratch", "random mask"):
                assert (network, pruned, density, control, budget, seed) in compared
            if study is not recovery_resnet20_filters:
                assert (network, "nothing", 1.0, "cosine", budget, seed) in compared
        if method == "gradual":
            assert pruned == "weights"


def test_ways_that_repeat_the_schedule_are_given_a_rate_of_their_own(monkeypatch):
    monkeypatch.setattr(recovery_rates, "remember", lambda function, **call: function(**call))
    monkeypatch.setattr(recovery, "dense_rate", lambda network: 0.1)
    monkeypatch.setattr(recovery, "attempt", lambda rate, **_: -abs(rate - 1.0))
    used = {}

    def recovered(**how):
        used.update(how)
        return lenet300()

    monkeypatch.setattr(recovery, "recovered", recovered)
    points = recovery_rates.grid(2)
    cells = [{**point, "seed": None} for point in points]
    assert points[: len(points) // 3] * 3 == cells
    tries = recovery_rates.measure(**points[0])
    assert sorted({row["rate"] for row in tries}) == [0.03, 0.1, 0.3, 1.0, 3.0]
    (row,) = recovery_rates.measure(**points[0] | {"seed": 1})
    assert used == {**points[0], "seed": 1, "rate": 1.0, "alpha": None}
    assert (row["role"], row["rate"], row["weights"]) == ("comparison", 1.0, 266200)


def test_more_networks_are_given_what_was_chosen_for_the_recorded_ones():
    points = undecided.grid(2)
    assert {point["seed"] for point in points} == {5, 6}
    assert all(one["seed"] != other["seed"] for one, other in pairwise(points))
    for point in points:
        recorded = load_results(point["study"])
        if "role" in recorded:
            recorded = recorded[recorded["role"] == "comparison"]
        for name in set(point) & set(recorded) - {"seed"}:
            value = point[name]
            recorded = recorded[recorded[name].isna() if value is None else recorded[name] == value]
        assert sorted(recorded["seed"]) == [*range(5)], point


def test_a_row_of_one_more_network_says_of_which_study_it_is(monkeypatch):
    points = undecided.grid(1)
    used = {}
    monkeypatch.setattr(undecided, "recovered", lambda **how: used.update(how) or lenet300())
    point = next(point for point in points if point["study"] == "recovery_convnet")
    (row,) = undecided.measure(**point)
    assert {"study": row["study"]} | used == point
    assert (row["role"], row["seed"], row["weights"]) == ("comparison", 5, 266200)
    assert "dense_at" not in row
    monkeypatch.setitem(undecided.MEASURED, "gradual", lambda **how: how)
    monkeypatch.setattr(structured, "measure", lambda **how: [how])
    for study in ("gradual", "structured"):
        point = next(point for point in points if point["study"] == study)
        assert undecided.measure(**point) == [point]


def test_the_dense_training_can_be_given_its_rate(monkeypatch):
    rates = []
    monkeypatch.setattr(
        recovery, "remember", lambda _, rate, **__: rates.append(rate) or {"end": {}}
    )
    monkeypatch.setattr(recovery, "with_weights", lambda build, _: build())
    monkeypatch.setattr(recovery, "dense_rate", lambda _: 0.01)
    how = CELL | {"method": "as pruned", "seed": 0, "rate": None, "alpha": None}
    recovery.recovered(**how)
    recovery.recovered(**how, dense_at=0.03)
    assert rates == [0.01, 0.03]


@pytest.mark.parametrize(
    ("peak", "tried"),
    [
        (0.1, [0.03, 0.1, 0.3]),
        (0.03, [0.01, 0.03, 0.1, 0.3]),
        (0.3, [0.03, 0.1, 0.3, 1.0]),
        (9.9, [0.03, 0.1, 0.3, 1.0, 3.0]),
        (1e-9, [0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3]),
    ],
)
def test_the_grid_of_rates_is_widened_until_its_best_lies_inside(monkeypatch, peak, tried):
    monkeypatch.setattr(recovery, "dense_rate", lambda network: 0.1)
    monkeypatch.setattr(recovery, "attempt", lambda rate, **_: -abs(rate - peak))
    rows = recovery.measure(**CELL, method="cosine", seed=None)
    assert sorted({row["rate"] for row in rows}) == tried
    assert {row["seed"] for row in rows} == set(TUNING_SEEDS)
    assert all(row["role"] == "choice" and "test_accuracy" not in row for row in rows)
    best = min(RATES, key=lambda rate: abs(rate - peak))
    assert recovery.chosen(**CELL, method="cosine") == {"rate": best, "alpha": None}


def test_the_search_beside_a_teacher_begins_where_that_without_one_ended(monkeypatch):
    monkeypatch.setattr(recovery, "dense_rate", lambda network: 0.01)
    monkeypatch.setattr(recovery, "attempt", lambda rate, **_: -abs(rate - 0.3))
    rows = recovery.measure(**CELL, method="one-cycle", seed=None)
    assert sorted({row["rate"] for row in rows}) == [0.1, 0.3, 1.0]


def test_alpha_is_chosen_at_the_best_rate(monkeypatch):
    monkeypatch.setattr(recovery, "dense_rate", lambda network: 0.1)
    monkeypatch.setattr(
        recovery, "attempt", lambda rate, alpha, **_: (alpha or 0) - abs(rate - 0.03)
    )
    rows = recovery.measure(**CELL, method="distillation", seed=None)
    assert {row["alpha"] for row in rows if row["rate"] == 0.03} == set(ALPHAS)
    assert {row["alpha"] for row in rows if row["rate"] != 0.03} == {0.5}
    assert recovery.chosen(**CELL, method="distillation") == {"rate": 0.03, "alpha": 0.9}
    at_dense_rate = recovery.chosen(**CELL, method="distillation, LR rewinding")
    assert at_dense_rate == {"rate": 0.1, "alpha": 0.9}


FIRST_AND_LAST_RATE = {  # of ten steps, as shares of the rate given
    "last rate": (0.01, 0.01),
    "constant": (1.0, 1.0),
    "cosine": (1.0, 0.024),
    "one-cycle": (0.04, 0.041),
    "distillation": (1.0, 0.024),
    "LR rewinding": (1.0, 0.01),
    "weight rewinding": (0.01, 0.01),
    "rewinding to early": (1.0, 0.01),
    "scratch": (1.0, 0.01),
    "random mask": (1.0, 0.01),
}
STARTS_FROM = {"weight rewinding": "0.25 to go", "rewinding to early": "early"}


@pytest.fixture(scope="module")
def states():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(recovery.ORIGINALS, "lenet300", Original(lenet300, STEPS, 128))
        return recovery.training("lenet300", seed=0, rate=0.1)


@pytest.mark.parametrize(("method", "rates"), FIRST_AND_LAST_RATE.items())
def test_each_way_starts_where_it_says_and_keeps_its_schedule(monkeypatch, states, method, rates):
    seen = {}

    def retrain(model, data, pair, steps, seed, loss, batch_size):
        seen.update(model=model, steps=steps, loss=loss, rates=[])
        for _ in range(steps):
            seen["rates"].append(pair[0].param_groups[0]["lr"])
            pair[0].step()
            if pair[1]:
                pair[1].step()

    monkeypatch.setattr(recovery, "dense_rate", lambda network: 0.1)
    monkeypatch.setattr(recovery, "training", lambda **call: states)
    monkeypatch.setattr(recovery, "retrain", retrain)
    alpha = 0.5 if method == "distillation" else None
    recovery.recovered(**CELL, method=method, seed=0, rate=0.1, alpha=alpha)
    assert seen["steps"] == (36 if method == "rewinding to early" else 10)
    assert (seen["loss"] is not None) == (method == "distillation")
    assert seen["rates"][0] == pytest.approx(0.1 * rates[0], rel=0.02)
    assert seen["rates"][-1] == pytest.approx(0.1 * rates[1], rel=0.1)

    dense = recovery.with_weights(lenet300, states["end"])
    pruned = recovery.without(dense, "weights", 0.1, random=None)
    masks, magnitude = get_masks(seen["model"]), get_masks(pruned)
    assert same(masks, magnitude) == (method != "random mask")
    assert {n: m.sum() for n, m in masks.items()} == {n: m.sum() for n, m in magnitude.items()}
    start = states[STARTS_FROM.get(method, "end")]
    for name, layer in prunable_layers(seen["model"]).items():
        as_said = torch.equal(effective_weight(layer), start[f"{name}.weight"] * masks[name])
        assert as_said == (method != "scratch")


def test_the_dense_training_ends_where_its_moments_say(states):
    assert states.keys() == {f"{budget} to go" for budget in BUDGETS} | {"early", "end"}
    assert same(states["1.0 to go"], lenet300(seed=0).state_dict())
    moments = [states[name]["fc1.weight"] for name in ("1.0 to go", "early", "0.25 to go", "end")]
    moved = [(moment - moments[0]).norm().item() for moment in moments]
    assert moved == sorted(moved)
    assert len(set(moved)) == 4


@pytest.mark.parametrize("pruned", ["weights", "weights, layerwise", "filters", "filters, global"])
def test_as_many_weights_are_left_as_the_density_says(pruned):
    dense = small_convnet(width=12, seed=0)
    left = {random: recovery.without(dense, pruned, 0.5, random) for random in (None, 0)}
    for model in left.values():
        assert recovery.kept(model) / recovery.kept(dense) == pytest.approx(0.5, abs=0.03)
    assert recovery.size(left[None])["weights"] == recovery.kept(left[None])
    x = load_data().test.x[:8]
    assert not torch.allclose(left[None].eval()(x), left[0].eval()(x))
    assert recovery.kept(recovery.without(dense, "nothing", 1.0, None)) == recovery.kept(dense)


def test_a_rate_at_which_gradual_pruning_diverges_is_worth_nothing(monkeypatch):
    monkeypatch.setattr(recovery, "dense_rate", lambda network: 0.1)
    cell = CELL | {"method": "gradual", "budget": 1.0, "seed": 0, "alpha": None}
    assert recovery.attempt(**cell, rate=1e30) == 0
    with pytest.raises(ValueError, match="final=-1"):
        recovery.attempt(**cell | {"density": 2.0}, rate=0.1)


def test_a_comparison_is_one_row_of_the_network_brought_back(monkeypatch):
    monkeypatch.setattr(recovery, "chosen", lambda **cell: {"rate": 0.1, "alpha": None})
    cell = CELL | {"method": "gradual", "budget": 1.0}
    (row,) = recovery.measure(**cell, seed=0)
    assert {name: row[name] for name in cell} == cell
    assert (row["role"], row["rate"], row["weights"]) == ("comparison", 0.1, 26620)
    assert 0.5 < row["test_accuracy"] < 0.9
    assert row["bytes"] < 4 * 266_200 / 5


def test_how_many_times_as_fast_is_the_dense_time_over_that_of_the_variant():
    rows = [
        {"network": "lenet300", "batch": 1, "seed": seed, "pruned": pruned, "density": density}
        | {"stored as": stored, "median": seconds * (1 + seed)}
        for seed in range(3)
        for pruned, density, stored, seconds in (
            ("nothing", 1.0, "dense", 4.0),
            ("weights", 0.2, "CSR", 8.0),
            ("filters", 0.5, "cut", 1.0),
        )
    ]
    only_dense = [row | {"network": "convnet"} for row in rows if row["pruned"] == "nothing"]
    faster = recovery_cost.times_as_fast(pd.DataFrame(rows + only_dense)).set_index("variant")
    assert faster["mean"].to_dict() == pytest.approx(
        {"weights, 20%, CSR": 0.5, "filters, 50%, cut": 4.0}
    )


def test_what_is_timed_is_what_the_density_says(monkeypatch):
    seen = []
    monkeypatch.setattr(recovery_cost, "latency", lambda model, x: seen.append(model) or TIMED)
    rows = recovery_cost.measure("lenet300", 1, 0)
    stored = ["dense", "zeros", "CSR", "zeros", "CSR", "cut", "cut"]
    assert [row["stored as"] for row in rows] == stored
    weights = [sum(p.numel() for p in model.parameters()) for model in seen]
    assert weights[1] == weights[3] == weights[0]
    assert weights[6] < weights[5] < weights[0]
    zeros = [(layer.weight == 0).float().mean() for layer in (seen[1].fc1, seen[3].fc1)]
    assert 0.7 < zeros[0] < 0.9 < zeros[1]


@pytest.mark.parametrize(
    ("peak", "tried"),
    [(1.0, [0.3, 1.0, 3.0]), (10.0, [0.3, 1.0, 3.0, 10.0, 30.0]), (0.1, [0.1, 0.3, 1.0, 3.0])],
)
def test_a_grid_of_rates_is_widened_until_its_best_lies_inside(peak, tried):
    def rows_at(rate):
        accuracy = -abs(math.log(rate / peak))
        return [{"network": "n", "rate": rate, "valid_accuracy": accuracy + i} for i in range(2)]

    rates = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
    rows = shared.widened(rows_at, rates, 0.3, 3.0)  # 0.1 is the end of all rates there are
    assert [row["rate"] for row in rows] == [rate for rate in tried for _ in range(2)]


def test_recovery_counts_the_steps_until_the_target_and_both_losses_have_their_price(
    data, monkeypatch
):
    dense = lenet300(seed=0)
    fit(dense, data, steps=150, progress=False)
    target = recovery_speed.TARGET * evaluate(dense, data.valid).accuracy
    monkeypatch.setattr(recovery_speed, "load_data", lambda: data)
    monkeypatch.setattr(recovery_speed, "dense_network", lambda *_: copy.deepcopy(dense))
    monkeypatch.setattr(recovery_speed, "remember", lambda function, **call: function(**call))
    monkeypatch.setattr(recovery_speed, "ROUND", 2)
    monkeypatch.setattr(recovery_speed, "LIMIT", {"lenet300": 40})
    monkeypatch.setattr(recovery_speed, "RATES", (1e-6, 1e-3, 0.01, 0.1))
    monkeypatch.setattr(recovery_speed, "FIRST_RATES", {"lenet300": (1e-6, 0.01)})
    setting = {"network": "lenet300", "learning_rate": 1.0, "pruned": "weights", "amount": 0.8}
    table = pd.DataFrame(recovery_speed.measure(**setting, seeds=1))
    assert (table["reached"] == (table["valid_accuracy"] >= target)).all()
    assert table["steps"].isin([*range(1, 21), 30, 40]).all()
    assert (table.loc[~table["reached"], "steps"] == 40).all()
    assert table.groupby("loss")["reached"].nunique().eq(2).all()  # too small a rate never arrives
    price = (table["seconds"] / table["steps"]).groupby(table["loss"])
    assert price.agg(lambda seconds: seconds.max() / seconds.min()).to_numpy() == pytest.approx(1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_network_on_a_gpu_costs_what_it_costs_on_the_cpu():
    model, x = lenet300(seed=0), torch.zeros(1, 1, 28, 28)
    assert shared.cost(model.cuda(), x) == shared.cost(model.cpu(), x)
