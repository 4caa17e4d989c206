"""Lottery tickets taken apart: every arm is what it says, and differs in that alone."""

from itertools import combinations

import numpy as np
import pytest
import torch
from torch import nn

from prunelab.engines.masked_mlp import fit_masked
from prunelab.lab import cache, runner
from prunelab.lottery import early_stop, prune_round, supermask
from prunelab.masks import effective_weight, get_masks, make_pruning_permanent
from prunelab.models import lenet300
from prunelab.pruning import apply_global_pruning
from prunelab.rewinding import snapshot, weight_rewinding
from prunelab.studies import supermasks as study
from prunelab.training import evaluate
from tests.helpers import same
from tests.test_lottery import few_images

RATES = study.RATES
LEFT = {0: [235_200, 30_000, 1_000], 3: [120_422, 15_360, 729], 18: [4_237, 541, 150]}
EVERY_ARM = [(name, *arm) for name, arms in study.ARMS.items() for arm in arms]


@pytest.fixture
def small_study(tmp_path, monkeypatch):
    """The study on few images, with a cache of its own."""
    monkeypatch.setattr(cache, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(study, "load_data", few_images)
    return tmp_path


@pytest.fixture(scope="module")
def weights() -> tuple[dict, dict]:
    """A trial's weights before training, and others that kept most of their signs."""
    initial, noise = (snapshot(lenet300(seed=seed)) for seed in (0, 1))
    return initial, {name: initial[name] + noise[name] for name in initial}


def test_masks_by_default_and_errors_of_a_supermask(weights):
    expected = supermask(*weights, {"fc3": 600}, "large final, same sign")
    assert same(supermask(*weights, {"fc3": 600}), expected)
    known = '"large final", "large final, same sign" or "magnitude increase"'
    with pytest.raises(ValueError, match=f"criterion='small' is unknown; choose {known}"):
        supermask(*weights, {"fc3": 10}, "small")
    with pytest.raises(ValueError, match=r"keep\['fc3'\]=1001 must be from 0 to its 1000 weights"):
        supermask(*weights, {"fc3": 1001})


@pytest.mark.parametrize("rounds", LEFT)
def test_criteria_keep_as_many_of_each_layer_and_large_final_is_the_one_shot_mask(weights, rounds):
    for criterion in (*study.CRITERIA, "random"):
        masks = study.masks_after(rounds, *weights, criterion, seed=0)
        assert [int(mask.sum()) for mask in masks.values()] == LEFT[rounds]
    model = apply_global_pruning(weight_rewinding(lenet300(), weights[1]), 0.0)
    for _ in range(rounds):
        prune_round(model, RATES)
    assert same(study.masks_after(rounds, *weights, "large final", seed=0), get_masks(model))


def test_random_masks_are_drawn_by_their_seed(weights):
    a, other, again = (study.masks_after(7, *weights, "random", seed=s)["fc1"] for s in (0, 1, 0))
    assert torch.equal(a, again)
    assert (a & other).sum() < 0.5 * a.sum()


def test_kept_and_pruned_values_are_those_of_the_arm():
    initial, fresh = torch.tensor([1.0, -1.0, 3.0, -3.0]), torch.tensor([-2.0, -4.0, 5.0, 6.0])
    std = 5**0.5
    kept = {
        "initial": [1, -1, 3, -3],
        "random reinit": [-2, -4, 5, 6],
        "reinit, initial signs": [2, -4, 5, -6],
        "signed constant": [std, -std, std, -std],
        "constant, random signs": [-std, -std, std, std],
    }
    for values, weights in kept.items():
        assert study.kept_values(values, initial, fresh).tolist() == pytest.approx(weights)
    trained = torch.tensor([0.5, 1.5, 3.5, -1.5])
    pruned = {"zero": [0] * 4, "initial": [1, -1, 3, -3], "initial if it grew": [0, -1, 3, 0]}
    for values, weights in pruned.items():
        assert study.pruned_values(values, initial, trained).tolist() == weights


def start_of(monkeypatch, weights, experiment: str, round: int = 7, seed: int = 0, **arm):
    """The network of an arm before it is trained or measured."""
    seen = []
    arm = {"criterion": "large final", "values": "initial", "pruned": "zero"} | arm
    monkeypatch.setattr(study, "moment", lambda name, i, model, data: seen.append(model) or {})
    monkeypatch.setattr(study, "train_masked", lambda model, *rest: (seen.append(model) or {}, 0))
    monkeypatch.setattr(study, "train_kept", lambda model, *rest: seen.append(model) or {})
    study.measure_at(round, experiment, *weights, None, seed, 5, **arm)
    return seen[0]


@pytest.mark.parametrize("experiment", ["masks", "signs", "zeros"])
def test_weights_under_the_mask_are_those_of_the_arm(monkeypatch, weights, experiment):
    masks = study.masks_after(7, *weights, "large final", seed=0)
    for name, criterion, values, pruned in EVERY_ARM:
        if name != experiment or criterion != "large final":
            continue
        model = start_of(monkeypatch, weights, experiment, values=values, pruned=pruned)
        fresh = snapshot(lenet300(seed=study.seed_for(0, "reinit", 7)))
        for layer, mask in masks.items():
            initial, trained = (state[f"{layer}.weight"] for state in weights)
            weight = effective_weight(model.get_submodule(layer))
            kept = study.kept_values(values, initial, fresh[f"{layer}.weight"])
            others = study.pruned_values(pruned, initial, trained)
            assert torch.equal(weight[mask], kept[mask])
            assert torch.equal(weight[~mask], others[~mask])
            assert torch.all(model.get_submodule(layer).bias == 0)
        assert list(get_masks(model)) == ([] if experiment == "zeros" else list(RATES))


def test_draws_differ_between_trials_and_rounds_and_arms_share_one(monkeypatch, weights):
    def start(**which) -> torch.Tensor:
        return effective_weight(start_of(monkeypatch, weights, **which).fc1)

    reinit = {"experiment": "signs", "values": "random reinit"}
    fresh, same_signs = start(**reinit), start(**reinit | {"values": "reinit, initial signs"})
    assert torch.equal(fresh.abs(), same_signs.abs())
    assert torch.equal(same_signs.sign(), start(experiment="signs").sign())
    for arm in (reinit, {"experiment": "masks", "criterion": "random"}):
        first, other_trial, other_round = (
            start(**arm, **which) for which in ({}, {"seed": 1}, {"round": 6})
        )
        assert (first == other_trial)[first != 0].double().mean() < 0.3
        assert (first == other_round)[first != 0].double().mean() < 0.3


@pytest.mark.parametrize("pruned", ["zero", "initial", "initial if it grew"])
def test_pruned_weights_do_not_move_and_kept_ones_do(monkeypatch, weights, pruned):
    masks = study.masks_after(3, *weights, "large final", seed=0)
    with monkeypatch.context() as patch:
        model = start_of(patch, weights, "zeros", round=3, pruned=pruned)
    before = snapshot(model)
    study.train_kept(model, masks, few_images(), 0, 30)
    after = snapshot(model)
    for name, mask in masks.items():
        weight, earlier = after[f"{name}.weight"], before[f"{name}.weight"]
        assert torch.equal(weight[~mask], earlier[~mask])
        assert (weight != earlier)[mask].double().mean() > 0.8
        assert not torch.equal(after[f"{name}.bias"], before[f"{name}.bias"])


def test_zeros_are_trained_as_masks_are(weights):
    masks = study.masks_after(7, *weights, "large final", seed=0)
    by_hook = weight_rewinding(lenet300(), weights[0])
    for name, mask in masks.items():
        by_hook.get_submodule(name).weight.data.mul_(mask)
    row = study.train_kept(by_hook, masks, few_images(), 4, 40)
    masked = weight_rewinding(lenet300(), weights[0], masks)
    fit_masked(masked, few_images(), steps=40, seed=4)
    make_pruning_permanent(masked)
    torch.testing.assert_close(snapshot(by_hook), snapshot(masked), atol=2e-4, rtol=0)
    assert (row["moment"], row["iteration"]) == ("end", 40)
    assert row["test_accuracy"] == evaluate(by_hook, few_images().test).accuracy


def test_masked_training_is_measured_at_its_early_stop(monkeypatch):
    monkeypatch.setattr(study, "EVALUATE_EVERY", 10)
    monkeypatch.setattr(study, "LEARNING_RATE", 0.01)
    model, again = lenet300(seed=0), lenet300(seed=0)
    row, last = study.train_masked(model, few_images(), 3, 150)
    history, best = fit_masked(again, few_images(), steps=150, lr=0.01, seed=3, eval_every=10)
    assert same(last, snapshot(again))
    assert same(snapshot(model), best)
    assert row == study.moment("early stop", early_stop(history), model, few_images())
    assert row["iteration"] < 150


def test_masks_come_from_the_last_iteration_of_the_trial(small_study):
    initial, trained, rows = study.train_dense(seed=1, iterations=20, dataset="fashion-mnist")
    model = lenet300(seed=study.seed_for(1, "init"))
    assert same(initial, snapshot(model))
    data = few_images(seed=study.seed_for(1, "split"))
    fit_masked(model, data, steps=20, seed=study.seed_for(1, "order", 0))
    assert same(trained, snapshot(model))
    assert [row["moment"] for row in rows] == ["early stop", "end"]
    assert rows[1]["test_accuracy"] == evaluate(model, data.test).accuracy


def test_drawn_mask_keeps_each_weight_with_its_probability():
    torch.manual_seed(0)
    mask = study.DrawnMask(torch.zeros(2, 20_000), rescaled=False)
    mask.scores.data[0], mask.scores.data[1] = -1.0, 2.0
    kept = mask(torch.full((2, 20_000), 3.0)).detach()
    assert kept.unique().tolist() == [0, 3]
    share = (kept != 0).double().mean(dim=1)
    assert share.tolist() == pytest.approx([1 / (1 + np.e), 1 / (1 + np.e**-2)], abs=0.015)


def test_gradient_of_a_drawn_mask_is_that_of_the_probability():
    mask = study.DrawnMask(torch.zeros(4), rescaled=False)
    mask.scores.data = torch.tensor([-1.0, 0.0, 1.0, 3.0])
    weight, upstream = torch.tensor([2.0, -3.0, 5.0, 7.0]), torch.tensor([1.0, 2.0, 3.0, 4.0])
    mask(weight).backward(upstream)
    p = torch.tensor(1 / (1 + np.exp(-mask.scores.detach().numpy())))
    expected = upstream * weight * p * (1 - p)
    torch.testing.assert_close(mask.scores.grad, expected, rtol=1e-6, atol=0)


def test_rescaling_makes_up_for_the_weights_that_are_gone():
    mask = study.DrawnMask(torch.zeros(10, 10), rescaled=True)
    effective = mask(torch.ones(10, 10))
    kept = (effective != 0).sum().item()
    assert 20 < kept < 80
    assert effective.sum().item() == pytest.approx(100, rel=1e-5)
    assert effective.unique().tolist() == pytest.approx([0, 100 / kept])


@pytest.mark.parametrize(("kind", "factor"), [("initial", 1), ("signed constant, rescaled", 2)])
def test_learned_masks_are_a_mean_over_drawn_masks_of_fixed_weights(monkeypatch, kind, factor):
    initial, seen = snapshot(lenet300(seed=0)), []

    def spy(name, iteration, model, data):
        assert torch.equal(model.fc1.weight, model.fc1.weight)  # one mask for all images
        seen.append((snapshot(model), model.fc1.weight.detach().clone()))
        return {"moment": name, "valid_accuracy": len(seen), "test_accuracy": 0.5}

    monkeypatch.setattr(study, "moment", spy)
    monkeypatch.setattr(study, "SAMPLES", 3)
    row = study.learned_masks(kind, 0.3, initial, few_images(), seed=0, iterations=10)
    states, effective = zip(*seen, strict=True)
    assert len(seen) == 3
    assert row["valid_accuracy"] == 2
    assert row["density"] == pytest.approx(0.5, abs=0.05)
    masks = [weight != 0 for weight in effective]
    assert not any(torch.equal(a, b) for a, b in combinations(masks, 2))
    expected = study.kept_values(kind.split(",")[0], initial["fc1.weight"], initial["fc1.weight"])
    assert torch.equal(states[-1]["fc1.parametrizations.weight.original"], expected)
    assert torch.all(states[-1]["fc1.bias"] == 0)
    ratios = (effective[0] / expected)[masks[0]]
    assert ratios.min().item() == pytest.approx(ratios.max().item())
    assert ratios.mean().item() == pytest.approx(factor, rel=0.05)


def test_density_of_learned_masks_is_that_of_the_drawn_ones(monkeypatch):
    def prune_first_layer(model: nn.Module, *rest) -> None:
        nn.init.constant_(model.fc1.parametrizations.weight[0].scores, -100)

    monkeypatch.setattr(study, "fit_to_the_end", prune_first_layer)
    row = study.learned_masks("initial", 0.3, snapshot(lenet300(seed=0)), few_images(), 0, 10)
    assert row["density"] == pytest.approx((30_000 + 1_000) / 2 / 266_200, rel=0.05)


def test_masks_are_learned_at_every_rate(monkeypatch, small_study):
    used = []
    monkeypatch.setattr(study, "SAMPLES", 1)
    monkeypatch.setattr(study, "fit_to_the_end", lambda model, data, rate, *rest: used.append(rate))
    points = [p for p in study.grid(seeds=1, iterations=3) if p["experiment"] == "learned masks"]
    recorded = [study.measure(**point)[0]["mask_learning_rate"] for point in points]
    assert used == recorded == [0.03, 0.1, 0.3] * 4


def test_training_a_mask_helps():
    initial = snapshot(lenet300(seed=0))
    which = ("signed constant", 0.3, initial, few_images(), 0)
    first, last = (study.learned_masks(*which, n)["test_accuracy"] for n in (1, 150))
    assert first < 0.35 < 0.55 < last


def test_grid_has_every_arm_of_every_trial_once():
    points = study.grid(seeds=5)
    arms = {key: len(arms) for key, arms in study.ARMS.items()}
    assert arms == {"dense": 1, "masks": 8, "signs": 5, "zeros": 3, "learned masks": 4}
    assert len(points) == 5 * (17 + 4 * 3) == len({tuple(point.items()) for point in points})
    assert [point["seed"] for point in points[:6]] == [0, 1, 2, 3, 4, 0]
    assert {point["iterations"] for point in points} == {5_000}


def test_table_is_tidy_and_complete(small_study, monkeypatch):
    monkeypatch.setattr(study, "SAMPLES", 2)
    monkeypatch.setitem(study.ROUNDS, "masks", (0, 18))
    table = runner.run("supermasks", seeds=1, iterations=4, results=small_study)
    names = ["experiment", "criterion", "values", "pruned", "seed", "density", "moment"]
    accuracies, rate = ["valid_accuracy", "test_accuracy"], "mask_learning_rate"
    assert list(table) == [*names, "iteration", *accuracies, rate]
    assert not table.drop(columns=rate).isna().any(axis=None)
    assert (table[rate].notna() == (table["experiment"] == "learned masks")).all()
    assert not table.duplicated([*names, rate]).any()
    assert table[accuracies].stack().between(0, 1).all()
    assert table.groupby(["experiment", "moment"]).size().to_dict() == {
        ("dense", "early stop"): 1,
        ("dense", "end"): 1,
        ("masks", "start"): 8 * 2,
        ("signs", "early stop"): 5 * 3,
        ("zeros", "end"): 3 * 2,
        ("learned masks", "end"): 12,
    }
    dense = table[(table["experiment"] == "masks") & (table["density"] == 1)]
    assert len(dense.groupby(["values", "test_accuracy"])) == 2


def test_global_random_state_has_no_influence(small_study):
    arms = {arm[1:]: arm[0] for arm in (EVERY_ARM[8], EVERY_ARM[10], EVERY_ARM[-1])}
    for (criterion, values, pruned), experiment in arms.items():
        point = {"experiment": experiment, "criterion": criterion, "values": values}
        point |= {"pruned": pruned, "iterations": 3, "dataset": "fashion-mnist", "seed": 0}
        runs = []
        for state in (1, 2):
            torch.manual_seed(state)
            runs.append(study.measure(**point, **study.mask_learning_rates(experiment)[0]))
        assert runs[0] == runs[1]


def test_points_are_named_in_words():
    assert study.describe(**study.grid(seeds=1)[-1]) == (
        "trial 0, learned masks: learned, kept signed constant, rescaled, pruned zero, "
        "learning rate 0.3"
    )
