"""The study `iterative_instability`: what a round starts from, and the way from round to round."""

import copy
from dataclasses import replace

import pandas as pd
import pytest
import torch

from prunelab.batchnorm import recalibrate_bn
from prunelab.lab import cache, runner
from prunelab.lab.tickets import matching_and_connected, rounds_and_at_once
from prunelab.masks import get_masks, make_pruning_permanent
from prunelab.pruning import apply_global_pruning
from prunelab.rewinding import error_barrier, snapshot
from prunelab.studies import instability
from prunelab.studies import iterative_instability as study
from prunelab.studies.trajectories import BUILD
from tests.helpers import same

KS = (0, 17, 86, 430)
WHICH = {"learning_rate": 0.3, "seed": 0, "k": 86}


def drawn(seed: int):
    return BUILD["half_convnet"](seed=seed)


def weights(model) -> dict:
    """What the network computes with, zeros included."""
    return snapshot(make_pruning_permanent(copy.deepcopy(model)))


@pytest.fixture
def states(monkeypatch):
    """The original's weights at every k and at the end; a round ends with weights of its own."""
    states = {k: snapshot(drawn(k)) for k in (*KS, 1720)}

    def remembered(function, **which):
        if function is instability.train:
            return states, 0.5
        return get_masks(study.ticket(**which)), snapshot(drawn(which["round"]))

    monkeypatch.setattr(study, "remember", remembered)
    return states


def test_grid_is_round_after_round():
    points = study.grid(seeds=2)
    cells = [(p["round"], p["k"], p["seed"]) for p in points]
    assert cells == [(r, k, seed) for r in range(4) for k in KS for seed in range(2)]
    assert {(p["network"], p["learning_rate"]) for p in points} == {("half_convnet", 0.3)}
    shares = instability.SHARES["half_convnet"]
    assert set(study.SHARES) <= set(shares["ticket"]) & set(shares["dense"])
    assert [study.density_after(r) for r in range(4)] == [1.0, 0.447214, 0.2, 0.089443]
    assert study.describe(**points[2]) == "seed 0, round 0, rewound to iteration 17"


def test_a_round_prunes_what_the_one_before_has_trained_and_goes_back_to_k(states):
    start = study.ticket(**WHICH, round=0)
    assert get_masks(start) == {}
    assert same(snapshot(start), states[86])
    end = drawn(0)
    for round in (1, 2, 3):
        apply_global_pruning(end, sparsity=1 - study.density_after(round))
        masks, ticket = get_masks(end), study.ticket(**WHICH, round=round)
        assert same(get_masks(ticket), masks)
        assert same(weights(ticket), weights(instability.weight_rewinding(end, states[86])))
        assert same(weights(study.trained(**WHICH, round=round)), weights(_ends(end, round)))
    once = instability.starting_point("half_convnet", states, "ticket", 86, seed=0)
    twice = study.ticket(**WHICH, round=2)
    kept = [sum(int(m.sum()) for m in get_masks(model).values()) for model in (once, twice)]
    assert kept[0] == kept[1]
    assert not same(get_masks(once), get_masks(twice))


def _ends(model, round: int):
    """Weights as at the end of a round, under the masks of the model."""
    return instability.weight_rewinding(model, snapshot(drawn(round)))


def test_orders_are_those_of_no_other_training():
    cells = [(seed, round, i) for seed in range(5) for round in range(4) for i in (1, 2)]
    orders = {study.order(*cell) for cell in cells}
    others = {10 * seed + i for seed in range(5) for i in range(9)}
    assert len(orders | others) == len(cells) + len(others)


def test_errors_between_are_those_of_the_barrier_where_masks_are_alike(data):
    few = data.test[:200]
    a, b = (apply_global_pruning(drawn(seed), sparsity=0.5) for seed in (1, 2))
    b = instability.weight_rewinding(b, snapshot(drawn(2)), get_masks(a))

    def repair(model):
        return recalibrate_bn(model, data.train.x[:200])

    before = [copy.deepcopy(model.state_dict()) for model in (a, b)]
    errors = study.errors_between(a, b, few, repair)
    barrier = max(errors[1:-1]) - (errors[0] + errors[-1]) / 2
    assert barrier == pytest.approx(error_barrier(b, a, few, points=5, repair=repair))
    assert all(same(m.state_dict(), s) for m, s in zip((a, b), before, strict=True))
    dense = drawn(1)
    errors = study.errors_between(dense, b, few, repair)
    assert errors == pytest.approx(study.errors_between(b, dense, few, repair)[::-1])


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ([0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4], 0.0),  # straight
        ([0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.4], -0.05),  # below the line: no barrier
        ([0.1, 0.1, 0.5, 0.1, 0.1, 0.1, 0.4], 0.3),
        ([0.4, 0.1, 0.1, 0.1, 0.5, 0.1, 0.1], 0.3),
    ],
)
def test_rise_is_above_the_straight_line_between_the_ends(errors, expected):
    assert study.rise(errors) == pytest.approx(expected)


def test_a_tiny_run_is_tidy_and_resumes(tmp_path, monkeypatch, data):
    few = replace(data, train=data.train[:400], valid=data.valid[:100], test=data.test[:100])
    for module in (study, instability):
        monkeypatch.setattr(module, "load_data", lambda: few)
    monkeypatch.setattr(cache, "CACHE", tmp_path / "cache")
    monkeypatch.setitem(study.STEPS, "half_convnet", 4)
    monkeypatch.setattr(study, "SHARES", (0, 0.25))
    monkeypatch.setitem(instability.SHARES, "half_convnet", {"ticket": (0, 0.25)})
    table = runner.run("iterative_instability", seeds=1, results=tmp_path)
    assert len(table) == 2 * 4
    assert table.isna().any(axis=1).equals(table["round"] == 0)
    assert not table.duplicated(["k", "round"]).any()
    assert sorted(table["density"].unique()) == [0.089443, 0.2, 0.447214, 1.0]
    assert (table["share"] == table["k"] / 4).all()
    for column in ("valid_accuracy", "test_accuracy", "original_test_accuracy"):
        assert table[column].between(0, 1).all()
    assert len(list((tmp_path / "cache").glob("*.train_round/*"))) == 2 * 4
    monkeypatch.setattr(study, "trained_copy", lambda *_: pytest.fail("trained again"))
    which = {"learning_rate": 0.3, "seed": 0, "k": 1, "round": 3}
    first, again = (study.trained(**which) for _ in range(2))
    assert torch.equal(first.conv2.weight, again.conv2.weight)


def test_tickets_are_held_against_the_dense_network_from_the_same_iteration():
    once = pd.DataFrame(
        [
            ("half_convnet", 0, "dense", 1.0, 17, 0.01, 0.01, 0.88),
            ("half_convnet", 0, "dense", 1.0, 43, 0.025, 0.01, 0.5),
            ("half_convnet", 0, "ticket", 0.2, 17, 0.01, 0.002, 0.86),
            ("half_convnet", 1, "dense", 1.0, 17, 0.01, 0.01, 0.8),
            ("half_convnet", 1, "ticket", 0.2, 17, 0.01, 0.002, 0.9),
            ("lenet300", 0, "ticket", 0.05, 17, 0.01, 0.5, 0.5),
        ],
        columns=["network", "seed", "kind", "density", "k", "share", "barrier", "test_accuracy"],
    )
    rounds = once.loc[[0, 2, 3, 4]].drop(columns="kind")
    rounds["round_barrier"] = [None, 0.006, None, 0.004]
    rounds["test_accuracy"] = [0.9, 0.899, 0.7, 0.697]
    tickets = rounds_and_at_once(rounds, once).set_index(["mask", "seed"])
    assert tickets["lost to dense"].to_dict() == pytest.approx(
        {
            ("at once, 20%", 0): 2.0,
            ("at once, 20%", 1): -10.0,
            ("in rounds, 20%", 0): 0.1,
            ("in rounds, 20%", 1): 0.3,
        }
    )
    assert set(tickets["percent"]) == {1.0}
    assert set(tickets["barrier"]) == {0.2}
    counts = matching_and_connected(tickets.reset_index()).set_index("ticket")
    assert counts["pairs"].to_dict() == {"matches": 1, "does not match": 1}
    assert counts["no barrier"].to_dict() == {"matches": 0, "does not match": 1}
    assert counts[["low", "high"]].to_numpy().tolist() == [[0.0, 97.5], [2.5, 100.0]]
