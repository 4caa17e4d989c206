"""The study of criteria for channels, at the scale of a few steps."""

from functools import partial

import pandas as pd
import pytest
import torch

from prunelab.data import load_data
from prunelab.early import snip_scores
from prunelab.models import small_convnet
from prunelab.studies import (
    before_training,
    channel_criteria_convnet,
    channel_criteria_relative,
    channel_criteria_resnet20,
    recovery,
    shared,
)
from prunelab.studies import channel_criteria as study
from prunelab.studies.channel_criteria import CRITERIA, NEW_WEIGHTS, NOTHING, RELATIVE, SCOPES
from prunelab.studies.shared import cost
from prunelab.training import evaluate

CELL = {"network": "convnet", "left": 0.25}
DATA = load_data(train=400, valid=100)
BUILD = partial(small_convnet, width=8)
RATES = (0.01, 0.1, 1.0)
ARMS = [(criterion, scope) for criterion in CRITERIA for scope in SCOPES]


def dense(network: str, seed: int):
    """A network whose scales of BatchNorm differ, as those of a trained one do."""
    model, generator = BUILD(seed=seed), torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if name.startswith("bn") and name.endswith("weight"):
            parameter.data.uniform_(0.1, 2.0, generator=generator)
    return model.state_dict()


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setitem(recovery.ORIGINALS, "convnet", recovery.Original(BUILD, 8, 32))
    for module in (study, before_training):
        monkeypatch.setattr(module, "load_data", lambda: DATA)
    monkeypatch.setattr(before_training, "IMAGES", 50)
    monkeypatch.setattr(study, "trained", dense)
    monkeypatch.setattr(study, "remember", lambda function, **call: function(**call))
    monkeypatch.setattr(recovery, "RATES", RATES)
    monkeypatch.setattr(study, "FIRST_RATES", (RATES[0], RATES[-1]))


def cut(criterion: str, scope: str, seed: int = 0):
    return study.smaller(**CELL, criterion=criterion, scope=scope, seed=seed)


def test_all_arms_leave_as_many_parameters_but_for_one_unit():
    whole = cost(BUILD(), DATA.train.x[:1])["parameters"]
    one_unit = 9 * (8 + 32) + 2  # the largest: of the second convolution
    for criterion, scope in [*ARMS, (NEW_WEIGHTS, "uniform")]:
        count = cost(cut(criterion, scope), DATA.train.x[:1])["parameters"]
        assert 0.25 * whole - one_unit < count <= 0.25 * whole
    shapes = {
        tuple(p.shape for p in cut(criterion, "uniform").parameters())
        for criterion in (*CRITERIA, NEW_WEIGHTS)
    }
    assert len(shapes) == 1


def test_what_is_kept_scores_highest_by_the_criterion_it_says():
    model = BUILD()
    model.load_state_dict(dense("convnet", 0))
    filters = model.conv1.weight.detach().flatten(1)
    scores = {
        "l1": filters.abs().sum(1),
        "l2": filters.norm(dim=1),
        "bn_scale": model.bn1.weight.detach().abs(),
        "Taylor": snip_scores(model, study.images(0))["conv1"].flatten(1).sum(1),
        "Fisher": study.SCORED["Fisher"](model, study.images(0))["conv1"].flatten(1).sum(1),
    }
    kept = {name: cut(name, "uniform").kept_channels["conv1.weight"][0] for name in CRITERIA}
    for name, score in scores.items():
        assert kept[name].tolist() == sorted(score.topk(len(kept[name])).indices.tolist()), name
    assert len({tuple(channels.tolist()) for channels in kept.values()}) > 3
    other = cut("random", "uniform", seed=1).kept_channels["conv1.weight"][0]
    assert not torch.equal(kept["random"], other)


@pytest.mark.parametrize("criterion", RELATIVE)
def test_relative_scores_are_ranked_by_their_share_of_the_mean(criterion):
    model, ranked = BUILD(), []
    model.load_state_dict(dense("convnet", 0))
    scores = study.SCORED[RELATIVE[criterion]](model, study.images(0))
    small = cut(criterion, "global")
    widths = {name: getattr(small, name).out_channels for name in ("conv1", "conv2", "conv3")}
    for name in widths:
        of_channel = scores[name].flatten(1).sum(1)
        ranked += [(score, name) for score in (of_channel / of_channel.mean()).tolist()]
    left = [name for _, name in sorted(ranked)[-sum(widths.values()) :]]
    assert widths == {name: left.count(name) for name in widths}
    assert widths != {
        name: getattr(cut(RELATIVE[criterion], "global"), name).out_channels for name in widths
    }


def test_kept_weights_are_the_dense_ones_but_for_the_control_with_new_ones():
    state = dense("convnet", 0)
    for criterion in ("l1", NEW_WEIGHTS):
        model = cut(criterion, "uniform")
        rows = state["conv1.weight"][model.kept_channels["conv1.weight"][0]]
        assert torch.equal(model.conv1.weight, rows) == (criterion == "l1")
    whole = study.smaller("convnet", **NOTHING, seed=0).state_dict()
    assert all(torch.equal(whole[name], tensor) for name, tensor in state.items())


def test_a_choice_never_sees_test_images(monkeypatch):
    def looked(model, split):
        assert split is not DATA.test, "test images were seen"
        return evaluate(model, split)

    for module in (study, shared):
        monkeypatch.setattr(module, "evaluate", looked)
    point = {**CELL, "criterion": "Taylor", "scope": "global"}
    tries = pd.DataFrame(study.measure(**point, seed=None))
    assert not {"test_accuracy", "parameters"} & {*tries}
    assert set(tries["seed"]) == {*recovery.TUNING_SEEDS}
    assert set(tries["rate"]) == {*RATES}
    with pytest.raises(AssertionError, match="test images were seen"):
        study.measure(**point, seed=0)


@pytest.mark.parametrize("criterion", ["l1", "none", NEW_WEIGHTS])
def test_a_comparison_has_a_row_a_stage_and_the_rate_that_was_chosen(monkeypatch, criterion):
    monkeypatch.setattr(study, "attempt", lambda rate, **_: -abs(rate - 0.1))
    cell = NOTHING if criterion == "none" else {"left": 0.25, "scope": "uniform"}
    rows = study.measure(**{**CELL, **cell, "criterion": criterion}, seed=0)
    stages = ["cut", "recalibrated", "retrained"]
    assert [row["stage"] for row in rows] == (stages[-1:] if criterion == NEW_WEIGHTS else stages)
    assert [row.get("rate") for row in rows] == [None] * (len(rows) - 1) + [0.1]
    assert all(0 <= row["test_accuracy"] <= 1 and row["macs"] > 0 for row in rows)


def test_training_again_takes_a_quarter_of_the_steps(monkeypatch):
    seen = []
    monkeypatch.setattr(study, "retrain", lambda *given, **how: seen.append((given[3], how)))
    study.retrained(cut("l1", "uniform"), "convnet", 0.1, seed=3)
    assert seen == [(2, {"seed": 1003, "batch_size": 32})]


@pytest.mark.parametrize("module", [study, channel_criteria_convnet, channel_criteria_resnet20])
def test_the_grid_chooses_first_and_has_both_controls(module):
    points = module.grid(2)
    choices = [point for point in points if point["seed"] is None]
    assert points[: len(choices)] * 3 == [{**point, "seed": None} for point in points]
    (network,) = {point["network"] for point in points}
    arms = {(p["criterion"], p["scope"]) for p in choices}
    scored = {arm for arm in ARMS if network != "lenet300" or arm[0] != "bn_scale"}
    assert arms == scored | {(NEW_WEIGHTS, "uniform"), ("none", "none")}
    assert {point["left"] for point in choices} == {1.0, *study.LEFT[network]}


def test_the_grid_of_relative_scores_is_that_of_their_criteria():
    points = pd.DataFrame(channel_criteria_relative.grid(2))
    plain = [p for network in study.LEFT for p in study.points(network, 2)]
    plain = pd.DataFrame(plain).query("criterion in ('Taylor', 'Fisher') and scope == 'global'")
    points["criterion"] = points["criterion"].map(RELATIVE)
    pd.testing.assert_frame_equal(
        *(t.sort_values([*t], ignore_index=True) for t in (points, plain))
    )
