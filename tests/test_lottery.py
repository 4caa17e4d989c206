"""Lottery tickets: the fast loop is exact, and every known trap of the experiment is avoided."""

import functools
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from prunelab.data import Data, load_data
from prunelab.engines.masked_mlp import MaskedMLP, fit_masked, living_units
from prunelab.engines.together import fit_together
from prunelab.lab import cache, runner
from prunelab.lottery import early_stop, prune_round, random_masks
from prunelab.masks import get_masks, prunable_layers
from prunelab.models import lenet300, small_convnet
from prunelab.rewinding import snapshot, weight_rewinding
from prunelab.studies import lottery_tickets as study
from prunelab.studies import tickets
from prunelab.training import evaluate, fit
from tests.helpers import is_subset, same

RATES = study.RATES
MASKED = {"dense": 0, "half": 3, "a tenth": 10, "a hundredth": 21}
"""Rounds of pruning at initialization. After 21, inputs and units of both layers are dead."""


def masked_lenet(rounds: int, seed: int = 0) -> nn.Sequential:
    model = lenet300(seed=seed)
    for _ in range(rounds):
        prune_round(model, RATES)
    return model


needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
every_density = pytest.mark.parametrize("rounds", MASKED.values(), ids=MASKED)


@every_density
def test_fast_loop_is_the_plain_one(data, rounds):
    fast, plain = masked_lenet(rounds), masked_lenet(rounds)
    how = {"steps": 50, "eval_every": 25, "seed": 3}
    history = fit_masked(fast, data, **how).history
    adam = torch.optim.Adam(plain.parameters(), 1.2e-3, fused=True)
    expected = fit(plain, data, batch_size=60, optimizer=adam, progress=False, **how)
    assert history["step"].tolist() == expected["step"].tolist() == [0, 25, 50]
    assert history["loss"].tolist() == pytest.approx(expected["loss"].tolist(), abs=1e-5)
    torch.testing.assert_close(fast.state_dict(), plain.state_dict(), atol=2e-5, rtol=0)


def test_living_units_follow_the_weights_backwards():
    first = torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 0]], dtype=torch.bool)
    second = torch.tensor([[1, 0, 1], [0, 1, 0]], dtype=torch.bool)
    last = torch.tensor([[1, 0], [0, 0]], dtype=torch.bool)
    inputs, hidden, upper, outputs = (u.tolist() for u in living_units([first, second, last]))
    assert outputs == [True, True]
    assert upper == [True, False]
    assert hidden == [True, False, True]  # the last has no input left, but its bias still acts
    assert inputs == [True, False, False]


@every_density
def test_gradient_is_that_of_autograd(data, rounds):
    model = masked_lenet(rounds).double()
    batch = replace(data.train[:20], x=data.train.x[:20].double())
    F.cross_entropy(model(batch.x), batch.y).backward()

    network = MaskedMLP(model)
    network.differentiate(network.reduced(batch).x, F.one_hot(batch.y, 10).double())
    assert network.evaluate(network.reduced(batch)) == pytest.approx(evaluate(model, batch))

    network.parameters.copy_(network.parameters.grad)
    gradient = masked_lenet(rounds).double()
    for parameter in gradient.parameters():
        nn.init.constant_(parameter, 1e-20)  # next to zero, where the network writes nothing
    network.write_to(gradient)
    found, expected = dict(gradient.named_parameters()), dict(model.named_parameters())
    expected = {name: parameter.grad for name, parameter in expected.items()}
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)


def test_what_is_dead_is_dropped_and_a_first_layer_of_low_density_is_stored_sparse():
    networks = [MaskedMLP(masked_lenet(rounds)) for rounds in MASKED.values()]
    is_sparse = [network.weights[0].layout == torch.sparse_csr for network in networks]
    assert is_sparse == [False] * 2 + [torch.backends.mkl.is_available()] * 2
    inputs, *hidden, outputs = (int(units.sum()) for units in networks[-1].alive)
    assert inputs < 784
    assert hidden < [300, 100]
    assert outputs == 10


@pytest.mark.parametrize("constant", [False, True])
def test_a_round_prunes_the_exact_number_of_lowest_magnitudes_even_where_they_tie(constant):
    model = lenet300(seed=0)
    if constant:
        for layer in prunable_layers(model).values():
            nn.init.constant_(layer.weight, 0.1)
    magnitudes = {n: layer.weight.detach().abs() for n, layer in prunable_layers(model).items()}
    left = {"fc1": 235_200, "fc2": 30_000, "fc3": 1_000}
    for _ in range(5):
        prune_round(model, RATES)
        left = {name: count - round(RATES[name] * count) for name, count in left.items()}
        for name, mask in get_masks(model).items():
            assert mask.sum() == left[name]
            assert magnitudes[name][mask].min() >= magnitudes[name][~mask].max()


def test_rates_must_name_every_layer():
    with pytest.raises(ValueError, match=r"rates are for fc1; the layers are fc1, fc2, fc3"):
        prune_round(lenet300(seed=0), {"fc1": 0.2})


def test_optimizer_starts_afresh_in_every_call(data):
    model = masked_lenet(3)
    start = snapshot(model)
    first = fit_masked(model, data, steps=40, eval_every=20).history
    weight_rewinding(model, start)
    pd.testing.assert_frame_equal(fit_masked(model, data, steps=40, eval_every=20).history, first)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steps": 0}, "steps=0 must be a whole number of at least 1"),
        ({"eval_every": 2.5}, "eval_every=2.5 must be a whole number"),
        ({"batch_size": 2001}, "batch_size=2001 must be from 1 to the 2000 training images"),
        ({"eval_splits": ("test",)}, r"eval_splits=\('test',\) must be a tuple"),
        ({"model": small_convnet()}, r"model is Conv2d BatchNorm2d .* train other networks"),
        ({"valid": 0}, "data has no valid images"),
    ],
)
def test_what_cannot_be_trained_fast_is_an_error(data, arguments, message):
    call = {"model": lenet300(seed=0), "steps": 1} | arguments
    data = replace(data, valid=data.valid[: call.pop("valid", 500)])
    with pytest.raises(ValueError, match=message):
        fit_masked(data=data, **call)


def test_best_is_the_network_at_early_stop_whatever_the_other_images_say(data):
    recipe = {"eval_every": 10, "lr": 0.01}
    garbage = replace(data, test=replace(data.test, y=data.test.y.flip(0)))
    splits = ("test", "train", "valid")
    history, best = fit_masked(masked_lenet(3), garbage, steps=400, **recipe, eval_splits=splits)
    lowest = {
        split: rows.set_index("step")["loss"].idxmin() for split, rows in history.groupby("split")
    }
    stop = early_stop(history)
    assert 0 < stop == lowest["valid"] < lowest["train"]
    assert stop != lowest["test"]
    alone = masked_lenet(3)
    fit_masked(alone, data, steps=stop, **recipe)
    assert same(best, snapshot(alone))


def test_history_says_what_evaluate_says_of_each_split(data):
    model, names = masked_lenet(3), ("test", "valid", "train")
    history = fit_masked(model, data, steps=50, eval_every=30, eval_splits=names).history
    assert history["step"].tolist() == [0] * 3 + [30] * 3 + [50] * 3
    assert history["split"].tolist() == [*names] * 3
    for name, row in zip(names, history[-3:].itertuples(), strict=True):
        expected = evaluate(model, getattr(data, name))
        assert (row.loss, row.accuracy) == pytest.approx(expected, abs=1e-6)


def test_early_stop_is_the_first_of_the_lowest_finite_validation_losses():
    def table_of(*valid: float) -> pd.DataFrame:
        rows = [("test", 0.0, 0)] + [("valid", loss, 100 * i) for i, loss in enumerate(valid)]
        return pd.DataFrame(rows, columns=["split", "loss", "step"])

    nan, inf = float("nan"), float("inf")
    assert early_stop(table_of(2.3, nan, 0.4, 0.4, 0.5)) == 200
    assert early_stop(table_of(2.3, -inf, 0.5, 0.4, 0.4).set_index("split", drop=False)) == 300
    with pytest.raises(ValueError, match="no finite validation loss"):
        early_stop(table_of(nan, inf))


def doubled(data: Data) -> Data:
    splits = {name: getattr(data, name) for name in ("train", "valid", "test")}
    return replace(data, **{n: replace(split, x=split.x.double()) for n, split in splits.items()})


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=needs_gpu)])
def test_networks_trained_together_are_those_trained_alone(device):
    first, second = (doubled(few_images(seed=seed)) for seed in (0, 1))
    rounds, datas, seeds = (0, 7, 21), [first, second, first], [3, 4, 3]
    recipe = {"steps": 62, "batch_size": 70, "eval_every": 4, "lr": 0.01}
    recipe["eval_splits"] = ("valid", "test")
    together = [masked_lenet(n, seed).double().to(device) for seed, n in enumerate(rounds)]
    results = fit_together(together, datas, seeds=seeds, **recipe)
    for i, (history, best) in enumerate(results):
        alone = masked_lenet(rounds[i], i).double()
        expected = fit_masked(alone, datas[i], seed=seeds[i], **recipe)
        pd.testing.assert_frame_equal(history, expected.history, rtol=1e-6)
        how = {"atol": 1e-6, "rtol": 0, "check_device": False}
        torch.testing.assert_close(best, expected.best, **how)
        torch.testing.assert_close(snapshot(together[i]), snapshot(alone), **how)
    stops = [early_stop(history) for history, _ in results]
    assert len(set(stops)) > 1
    assert min(stops) < 62


def test_networks_trained_together_need_data_of_one_size(data):
    models, other = [lenet300(seed=0), lenet300(seed=1)], replace(data, train=data.train[:1000])
    with pytest.raises(ValueError, match=r"splits of 1000 and 2000 images; they must be equal"):
        fit_together(models, [data, other], seeds=[0, 1], steps=1)


def test_random_masks_keep_as_many_elsewhere():
    masks = get_masks(masked_lenet(7))
    drawn, again, other = (random_masks(masks, seed=seed) for seed in (0, 0, 1))
    for name, mask in masks.items():
        assert drawn[name].sum() == mask.sum()
        assert (drawn[name] & mask).sum() < 0.5 * mask.sum()
    assert same(drawn, again)
    assert not torch.equal(drawn["fc1"], other["fc1"])


@functools.cache
def all_images() -> Data:
    return load_data()


def few_images(name: str = "fashion-mnist", seed: int = 0) -> Data:
    """Takes the place of `load_data` in the study."""
    everything = all_images()
    order = torch.randperm(900, generator=torch.Generator().manual_seed(seed))
    train, valid = everything.train[order[300:]], everything.train[order[:300]]
    return replace(everything, train=train, valid=valid, test=everything.test[:300])


@pytest.fixture
def small_study(tmp_path, monkeypatch):
    """The study on few images, with a cache of its own."""
    monkeypatch.setattr(cache, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(study, "load_data", few_images)
    return tmp_path


WHICH = {"iterations": 20, "dataset": "fashion-mnist", "device": "cpu"}


def run_study(folder: Path, **options) -> pd.DataFrame:
    return runner.run(
        "lottery_tickets", results=folder, **{"seeds": 1, "rounds": 2, "iterations": 20} | options
    )


def test_every_kind_is_trained_at_every_density_it_should(small_study):
    table = run_study(small_study, seeds=2, reinits=2)
    runs = table[table["moment"] == "early stop"]
    assert runs.groupby("kind").size().to_dict() == {
        "ticket": 2 * 3,
        "random mask": 2 * 2,
        "random reinit": 2 * 2 * 2,
        "one-shot ticket": 2,
        "one-shot reinit": 2 * 2,
    }
    assert len(table[table["moment"] == "end"]) == len(runs)
    curves = table[table["moment"] == "curve"]
    assert set(zip(curves["kind"], curves["round"], strict=True)) == {("ticket", 0)}
    assert set(runs["density"]) == {study.density_after(rounds) for rounds in (0, 1, 2)}
    assert (runs.groupby(["kind", "round", "replicate"])["valid_loss"].nunique() == 2).all()


def test_densities_are_those_of_the_paper():
    percent = [round(100 * study.density_after(rounds), 1) for rounds in study.CURVE_ROUNDS]
    assert percent == pytest.approx([100, 51.3, 21.1, 7.0, 3.6, 1.9], abs=0.1)


def kept_by_layer(masks: dict[str, torch.Tensor]) -> list[int]:
    return [int(mask.sum()) for mask in masks.values()]


def test_masks_are_by_magnitude_after_training(small_study):
    """Iterative ones inside those of the round before; one-shot ones after the dense training."""
    first = study.ticket_masks(seed=0, round=1, **WHICH)
    second = study.ticket_masks(seed=0, round=2, **WHICH)
    one_shot = study.one_shot_masks(seed=0, round=2, **WHICH)
    assert kept_by_layer(one_shot) == kept_by_layer(second)
    assert is_subset(second, first)
    everything = {name: torch.ones_like(mask) for name, mask in first.items()}
    for masks, before, round in ((second, first, 1), (one_shot, everything, 0)):
        trained = cache.remember(study.train_ticket, seed=0, round=round, **WHICH)[2]
        for name, mask in masks.items():
            magnitude = trained[f"{name}.weight"].abs()
            assert magnitude[mask].min() >= magnitude[before[name] & ~mask].max()


def test_ticket_and_controls_start_from_what_their_names_say(small_study):
    initial = snapshot(lenet300(seed=study.seed_for(0, "init")))
    masks = study.ticket_masks(seed=0, round=1, **WHICH)
    kinds = (("ticket", 0), ("random mask", 0), ("random reinit", 0), ("random reinit", 1))
    models = [study.starting_point(kind, masks, 0, 1, replicate) for kind, replicate in kinds]
    ticket, control, *reinits = models
    assert same(snapshot(ticket), initial)
    assert same(snapshot(control), initial)
    assert all(same(get_masks(model), masks) for model in (ticket, *reinits))
    assert not torch.equal(get_masks(control)["fc1"], masks["fc1"])
    assert kept_by_layer(get_masks(control)) == kept_by_layer(masks)
    for a, b in combinations((ticket, *reinits), 2):
        assert (a.fc1.weight == b.fc1.weight)[masks["fc1"]].double().mean() < 0.01


def test_everything_random_differs_between_trials(small_study):
    seeds = [study.seed_for(trial, purpose) for trial in range(5) for purpose in tickets.PURPOSES]
    assert len(set(seeds)) == len(seeds)
    orders = [study.seed_for(0, "order", rounds) for rounds in range(3)]
    assert len(set(orders)) == 3
    first, second = (snapshot(study.starting_point("ticket", {}, trial, 0)) for trial in (0, 1))
    assert not torch.equal(first["fc1.weight"], second["fc1.weight"])


def test_study_stopped_and_damaged_goes_on_to_the_same_table_whatever_the_random_state(small_study):
    torch.manual_seed(1)
    whole = run_study(small_study)
    for i, path in enumerate(sorted((small_study / "cache").rglob("prunelab*/*"))):
        if i % 2:
            path.unlink()
        else:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    torch.manual_seed(2)
    pd.testing.assert_frame_equal(run_study(small_study), whole)


def test_early_stop_row_is_the_test_accuracy_of_the_kept_network(small_study, monkeypatch):
    monkeypatch.setattr(study, "EVALUATE_EVERY", 10)
    monkeypatch.setattr(study, "LEARNING_RATE", 0.01)
    model, again = (study.starting_point("ticket", {}, 0, 0) for _ in range(2))
    which = {"dataset": "fashion-mnist", "device": "cpu"}
    early, end, *_ = study.train(model, "ticket", 0, 0, 0, iterations=150, **which)
    data = study.load_data("fashion-mnist", seed=study.seed_for(0, "split"))
    recipe = {"steps": 150, "lr": 0.01, "seed": study.seed_for(0, "order", 0), "eval_every": 10}
    history, best = fit_masked(again, data, **recipe)
    assert early["iteration"] == early_stop(history) < end["iteration"] == 150
    assert same(snapshot(model), snapshot(again))
    assert end["test_accuracy"] == evaluate(again, data.test).accuracy
    assert end["train_accuracy"] == evaluate(again, data.train).accuracy
    weight_rewinding(again, best)
    assert early["test_accuracy"] == evaluate(again, data.test).accuracy


def test_rounds_trained_together_give_the_rows_of_runs_alone(small_study, monkeypatch):
    """In double precision: rounding would grow from round to round, as in any two machines."""
    start = study.starting_point
    monkeypatch.setattr(study, "starting_point", lambda *which: start(*which).double())
    monkeypatch.setattr(
        study, "load_data", lambda *which, **seed: doubled(few_images(*which, **seed))
    )
    monkeypatch.setattr(study, "EVALUATE_EVERY", 15)
    alone = study.grid(2, rounds=2, iterations=30)
    together = [{**point, "trials": 2, "reinits": 1} for point in alone]
    tables = [
        pd.DataFrame([row for point in points for row in study.measure(**point)])
        for points in (alone, together)
    ]
    pd.testing.assert_frame_equal(*tables, rtol=1e-9)


def test_points_know_of_each_other_only_on_an_accelerator():
    points = study.grid(3, rounds=1)
    assert study.grid(2, rounds=1) == [point for point in points if point["seed"] < 2]
    on_device = study.grid(2, rounds=1, device="cuda")
    assert all(point["trials"] == 2 and point["reinits"] == 1 for point in on_device)


def test_what_an_accelerator_measures_can_be_recorded_and_less_cannot():
    def folder(seeds, **options):
        settings = runner.grid_settings(study, seeds, "recorded", {"device": "cuda"} | options)
        return runner.results_folder(study, settings, record=True)

    assert folder(50) == runner.RESULTS
    for less in ({"seeds": 2}, {"seeds": 50, "iterations": 600}):
        with pytest.raises(ValueError, match="record=True would put"):
            folder(**less)


def test_a_round_is_trained_together_once(small_study, monkeypatch):
    calls = []

    def spy(*arguments, **options):
        calls.append(len(arguments[0]))
        return fit_together(*arguments, **options)

    monkeypatch.setattr(study, "fit_together", spy)
    for point in study.grid(2, rounds=2, iterations=5):
        study.measure(**point, trials=2, reinits=1)
    assert calls == [2, 2 * 5, 2 * 3]
