"""Lottery tickets: the fast loop is exact, and every known trap of the experiment is avoided."""

import copy
import functools
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from prunelab.data import ROOT, Data, load_data
from prunelab.engines.masked_mlp import MaskedMLP, fit_masked, living_units
from prunelab.engines.together import fit_together
from prunelab.lab import cache, runner
from prunelab.lottery import early_stop, prune_round, random_masks
from prunelab.masks import get_masks, kept_weights, prunable_layers
from prunelab.models import lenet300, small_convnet
from prunelab.rewinding import snapshot, weight_rewinding
from prunelab.studies import lottery_tickets as study
from prunelab.studies import tickets
from prunelab.training import evaluate, fit
from tests.helpers import same
from tests.processes import environment, stop_hard, wait_until

RATES = study.RATES
MASKED = {"dense": 0, "half": 3, "a tenth": 10, "a hundredth": 21}
"""Rounds of pruning at initialization. After 21, inputs and units of both layers are dead."""


def masked_lenet(rounds: int, seed: int = 0) -> nn.Sequential:
    model = lenet300(seed=seed)
    for _ in range(rounds):
        prune_round(model, RATES)
    return model


def adam(parameters) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, 1.2e-3, fused=True)


every_density = pytest.mark.parametrize("rounds", MASKED.values(), ids=MASKED)


@every_density
def test_fast_loop_is_the_plain_one(data, rounds):
    fast, plain = masked_lenet(rounds), masked_lenet(rounds)
    history = fit_masked(fast, data, steps=50, eval_every=25, seed=3).history
    expected = fit(
        plain, data, steps=50, batch_size=60, optimizer=adam, eval_every=25, seed=3, progress=False
    )
    assert history["step"].tolist() == expected["step"].tolist() == [0, 25, 50]
    assert history["loss"].tolist() == pytest.approx(expected["loss"].tolist(), abs=1e-5)
    for name, tensor in plain.state_dict().items():
        torch.testing.assert_close(fast.state_dict()[name], tensor, atol=2e-5, rtol=0, msg=name)


def test_some_inputs_and_units_are_dropped():
    alive = [units.sum().item() for units in MaskedMLP(masked_lenet(21)).alive]
    assert alive[0] < 784
    assert alive[1] < 300
    assert alive[2] < 100
    assert alive[3] == 10


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
    outputs = model(batch.x)
    F.cross_entropy(outputs, batch.y).backward()

    network = MaskedMLP(model)
    network.differentiate(network.reduced(batch).x, F.one_hot(batch.y, 10).double())
    assert network.evaluate(network.reduced(batch)) == pytest.approx(evaluate(model, batch))

    network.parameters.copy_(network.parameters.grad)
    gradient = masked_lenet(rounds).double()
    for parameter in gradient.parameters():
        nn.init.constant_(parameter, 1e-20)  # next to zero, where the network writes nothing
    network.write_to(gradient)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(
            gradient.get_parameter(name).detach(), parameter.grad, atol=1e-12, rtol=0, msg=name
        )


def test_sparse_first_layer_is_used_at_low_density():
    sparse = {
        name: MaskedMLP(masked_lenet(rounds)).weights[0].layout == torch.sparse_csr
        for name, rounds in MASKED.items()
    }
    has_kernel = torch.backends.mkl.is_available()
    assert sparse == {
        "dense": False,
        "half": False,
        "a tenth": has_kernel,
        "a hundredth": has_kernel,
    }


def test_masked_weights_stay_exactly_zero(data):
    model = masked_lenet(7)
    before = snapshot(model)
    fit_masked(model, data, steps=30)
    for name, layer in prunable_layers(model).items():
        kept = kept_weights(layer)
        assert torch.all(layer.weight[~kept] == 0)
        assert torch.equal(layer.weight_orig[~kept], before[f"{name}.weight"][~kept])


def test_large_negative_weights_are_kept():
    model = lenet300(seed=0)
    magnitudes = {
        name: layer.weight.detach().abs() for name, layer in prunable_layers(model).items()
    }
    negative = model.fc1.weight.detach() < 0
    prune_round(model, RATES)
    for name, mask in get_masks(model).items():
        assert magnitudes[name][mask].min() >= magnitudes[name][~mask].max()
    assert (get_masks(model)["fc1"] & negative).sum() > 0.75 * negative.sum()


@pytest.mark.parametrize("constant", [False, True])
def test_counts_are_exact_even_where_magnitudes_tie(constant):
    model = lenet300(seed=0)
    if constant:
        for layer in prunable_layers(model).values():
            nn.init.constant_(layer.weight, 0.1)
    left = {"fc1": 235_200, "fc2": 30_000, "fc3": 1_000}
    for _ in range(5):
        prune_round(model, RATES)
        left = {name: count - round(RATES[name] * count) for name, count in left.items()}
        assert {name: mask.sum().item() for name, mask in get_masks(model).items()} == left


def test_rates_must_name_every_layer():
    with pytest.raises(ValueError, match=r"rates are for fc1; the layers are fc1, fc2, fc3"):
        prune_round(lenet300(seed=0), {"fc1": 0.2})


def test_optimizer_starts_afresh_in_every_call(data):
    model = masked_lenet(3)
    start = snapshot(model)
    first = fit_masked(model, data, steps=40, eval_every=20).history
    weight_rewinding(model, start)
    pd.testing.assert_frame_equal(fit_masked(model, data, steps=40, eval_every=20).history, first)


def test_best_is_the_network_at_early_stop(data):
    model = masked_lenet(3)
    history, best = fit_masked(model, data, steps=400, eval_every=10, lr=0.01)
    stop = early_stop(history)
    assert 0 < stop < 400
    again = masked_lenet(3)
    fit_masked(again, data, steps=stop, eval_every=10, lr=0.01)
    assert same(best, snapshot(again))
    last = history.iloc[-1]
    assert evaluate(model, data.valid) == pytest.approx((last["loss"], last["accuracy"]), abs=1e-6)
    assert evaluate(again, data.valid).loss == pytest.approx(history["loss"].min(), abs=1e-6)


def test_test_images_choose_nothing(data):
    recipe = {"steps": 100, "eval_every": 10, "lr": 0.01}
    garbage = replace(data, test=replace(data.test, y=data.test.y.flip(0)))
    alone = fit_masked(masked_lenet(3), data, **recipe)
    both = fit_masked(masked_lenet(3), garbage, **recipe, eval_splits=("test", "valid"))
    test, valid = (both.history[both.history["split"] == name] for name in ("test", "valid"))
    assert test["loss"].idxmin() + 1 != valid["loss"].idxmin()
    assert valid["loss"].tolist() == alone.history["loss"].tolist()
    assert early_stop(both.history) == early_stop(alone.history)
    assert same(both.best, alone.best)


def test_history_says_what_evaluate_says_of_each_split(data):
    model, names = masked_lenet(3), ("test", "valid", "train")
    history = fit_masked(model, data, steps=50, eval_every=30, eval_splits=names).history
    assert history["step"].tolist() == [0] * 3 + [30] * 3 + [50] * 3
    assert history["split"].tolist() == [*names] * 3
    for name, row in zip(names, history[-3:].itertuples(), strict=True):
        expected = evaluate(model, getattr(data, name))
        assert (row.loss, row.accuracy) == pytest.approx(expected, abs=1e-6)


def table_of(valid: list[float]) -> pd.DataFrame:
    """As `fit` returns it, with the lowest loss of the test images first."""
    rows = [
        {"step": 100 * i, "split": split, "loss": loss}
        for i, found in enumerate(valid)
        for split, loss in (("test", i / 100), ("valid", found))
    ]
    return pd.DataFrame(rows)


def test_early_stop_is_the_first_lowest_validation_loss():
    assert early_stop(table_of([2.3, float("nan"), 0.4, 0.4, 0.5])) == 200
    assert (
        early_stop(table_of([2.3, -float("inf"), 0.5, 0.4, 0.4]).set_index("split", drop=False))
        == 300
    )


def test_early_stop_without_a_finite_loss_is_an_error():
    with pytest.raises(ValueError, match="no finite validation loss"):
        early_stop(table_of([float("nan"), float("inf")]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steps": 0}, "steps=0 must be a whole number of at least 1"),
        ({"eval_every": 2.5}, "eval_every=2.5 must be a whole number"),
        ({"batch_size": 2001}, "batch_size=2001 must be from 1 to the 2000 training images"),
        ({"eval_splits": ("test",)}, r"eval_splits=\('test',\) must be a tuple"),
    ],
)
def test_numbers_out_of_range_are_errors(data, arguments, message):
    with pytest.raises(ValueError, match=message):
        fit_masked(lenet300(seed=0), data, **{"steps": 1} | arguments)


def test_other_networks_are_sent_to_fit(data):
    with pytest.raises(ValueError, match=r"model is Conv2d BatchNorm2d .* train other networks"):
        fit_masked(small_convnet(seed=0), data, steps=1)


def test_no_validation_images_is_an_error(data):
    with pytest.raises(ValueError, match="no validation images"):
        fit_masked(lenet300(seed=0), replace(data, valid=data.valid[:0]), steps=1)


def doubled(data: Data) -> Data:
    splits = {name: getattr(data, name) for name in ("train", "valid", "test")}
    return replace(data, **{n: replace(split, x=split.x.double()) for n, split in splits.items()})


def test_networks_trained_together_are_those_trained_alone():
    first, second = (doubled(few_images(seed=seed)) for seed in (0, 1))
    datas, seeds = [first, second, first], [3, 4, 3]
    recipe = {"steps": 40, "batch_size": 70, "eval_every": 15, "eval_splits": ("valid", "test")}
    together = [masked_lenet(rounds, seed).double() for seed, rounds in enumerate((0, 7, 21))]
    start = [snapshot(model) for model in together]
    results = fit_together(together, datas, seeds=seeds, **recipe)
    for i, (history, best) in enumerate(results):
        alone = masked_lenet((0, 7, 21)[i], i).double()
        expected = fit_masked(alone, datas[i], seed=seeds[i], **recipe)
        pd.testing.assert_frame_equal(history, expected.history, rtol=1e-9)
        torch.testing.assert_close(best, expected.best, atol=1e-9, rtol=0)
        torch.testing.assert_close(snapshot(together[i]), snapshot(alone), atol=1e-9, rtol=0)
        for name, mask in get_masks(together[i]).items():
            frozen = snapshot(together[i])[f"{name}.weight"] == start[i][f"{name}.weight"]
            assert frozen[~mask].all()


def test_best_of_networks_trained_together_is_the_own_early_stop(data):
    recipe = {"steps": 150, "eval_every": 10, "lr": 0.02}
    together = [masked_lenet(3), masked_lenet(12)]
    results = fit_together(together, [data, data], seeds=[0, 1], **recipe)
    stops = [early_stop(history) for history, _ in results]
    assert stops[0] != stops[1]
    for model, (history, best) in zip(together, results, strict=True):
        last, lowest = history["loss"].iloc[-1], history["loss"].min()
        assert evaluate(model, data.valid).loss == pytest.approx(last, abs=1e-6)
        assert lowest < last
        weight_rewinding(model, best)
        assert evaluate(model, data.valid).loss == pytest.approx(lowest, abs=1e-6)


def test_networks_trained_together_need_data_of_one_size(data):
    models, other = [lenet300(seed=0), lenet300(seed=1)], replace(data, train=data.train[:1000])
    with pytest.raises(ValueError, match=r"splits of 1000 and 2000 images; they must be equal"):
        fit_together(models, [data, other], seeds=[0, 1], steps=1)


def test_random_masks_keep_as_many_elsewhere():
    masks = get_masks(masked_lenet(7))
    drawn = random_masks(masks, seed=0)
    for name, mask in masks.items():
        assert drawn[name].sum() == mask.sum()
        overlap = (drawn[name] & mask).sum() / mask.sum()
        assert overlap < 0.5
    other = random_masks(masks, seed=1)
    assert not torch.equal(drawn["fc1"], other["fc1"])
    assert torch.equal(drawn["fc1"], random_masks(masks, seed=0)["fc1"])


# The study


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
    counts = runs.groupby("kind").size().to_dict()
    assert counts == {
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


def test_densities_are_those_of_the_paper():
    percent = [round(100 * study.density_after(rounds), 1) for rounds in study.CURVE_ROUNDS]
    assert percent == pytest.approx([100, 51.3, 21.1, 7.0, 3.6, 1.9], abs=0.1)
    assert study.density_after(21) < 0.01


def test_ticket_starts_from_its_first_weights_and_biases(small_study):
    initial = snapshot(lenet300(seed=study.seed_for(0, "init")))
    model = study.starting_point("ticket", study.ticket_masks(seed=0, round=2, **WHICH), 0, 2)
    assert all(torch.equal(initial[name], tensor) for name, tensor in snapshot(model).items())
    trained = cache.remember(study.train_ticket, seed=0, round=1, **WHICH)[2]
    assert all(not torch.equal(initial[f"{name}.bias"], trained[f"{name}.bias"]) for name in RATES)


def test_masks_are_nested_and_by_magnitude_after_training(small_study):
    first = study.ticket_masks(seed=0, round=1, **WHICH)
    second = study.ticket_masks(seed=0, round=2, **WHICH)
    trained = cache.remember(study.train_ticket, seed=0, round=1, **WHICH)[2]
    for name, mask in second.items():
        assert not (mask & ~first[name]).any()
        magnitude = trained[f"{name}.weight"].abs()
        assert magnitude[mask].min() >= magnitude[first[name] & ~mask].max()


def test_one_shot_keeps_as_many_in_every_layer(small_study):
    iterative = study.ticket_masks(seed=0, round=2, **WHICH)
    one_shot = study.one_shot_masks(seed=0, round=2, **WHICH)
    assert {n: m.sum() for n, m in one_shot.items()} == {n: m.sum() for n, m in iterative.items()}
    dense = cache.remember(study.train_ticket, seed=0, round=0, **WHICH)[2]
    for name, mask in one_shot.items():
        magnitude = dense[f"{name}.weight"].abs()
        assert magnitude[mask].min() >= magnitude[~mask].max()


def test_reinit_has_the_masks_of_the_ticket_and_other_weights(small_study):
    masks = study.ticket_masks(seed=0, round=1, **WHICH)
    ticket = study.starting_point("ticket", masks, 0, 1)
    draws = [study.starting_point("random reinit", masks, 0, 1, replicate) for replicate in (0, 1)]
    for model in draws:
        assert all(torch.equal(get_masks(model)[name], mask) for name, mask in masks.items())
        same = (model.fc1.weight == ticket.fc1.weight)[masks["fc1"]]
        assert same.float().mean() < 0.01
    assert not torch.equal(draws[0].fc1.weight, draws[1].fc1.weight)


def test_random_mask_keeps_the_first_weights(small_study):
    masks = study.ticket_masks(seed=0, round=1, **WHICH)
    ticket = study.starting_point("ticket", masks, 0, 1)
    model = study.starting_point("random mask", masks, 0, 1)
    assert torch.equal(model.fc1.weight_orig, ticket.fc1.weight_orig)
    assert not torch.equal(get_masks(model)["fc1"], masks["fc1"])
    assert all(get_masks(model)[name].sum() == mask.sum() for name, mask in masks.items())


def test_everything_random_differs_between_trials(small_study):
    seeds = [study.seed_for(trial, purpose) for trial in range(5) for purpose in tickets.PURPOSES]
    assert len(set(seeds)) == len(seeds)
    orders = [study.seed_for(0, "order", rounds) for rounds in range(3)]
    assert len(set(orders)) == 3
    first, second = (snapshot(study.starting_point("ticket", {}, trial, 0)) for trial in (0, 1))
    assert not torch.equal(first["fc1.weight"], second["fc1.weight"])
    table = run_study(small_study, seeds=2, rounds=1)
    early = table[table["moment"] == "early stop"]
    assert (early.groupby(["kind", "round"])["valid_loss"].nunique() == 2).all()


def test_global_random_state_has_no_influence(small_study, monkeypatch):
    torch.manual_seed(1)
    first = run_study(small_study, rounds=1)
    monkeypatch.setattr(cache, "CACHE", small_study / "other_cache")
    torch.manual_seed(2)
    pd.testing.assert_frame_equal(run_study(small_study, rounds=1), first)


def test_early_stop_row_is_the_test_accuracy_of_the_kept_network(small_study, monkeypatch):
    seen = []

    def spy(*arguments, **options):
        seen.append(fit_masked(*arguments, **options))
        return seen[-1]

    monkeypatch.setattr(study, "fit_masked", spy)
    monkeypatch.setattr(study, "EVALUATE_EVERY", 10)
    monkeypatch.setattr(study, "LEARNING_RATE", 0.01)
    model = study.starting_point("ticket", {}, 0, 0)
    kept = copy.deepcopy(model)
    rows = study.train(
        model, "ticket", 0, 0, 0, iterations=150, dataset="fashion-mnist", device="cpu"
    )
    data = study.load_data("fashion-mnist", seed=study.seed_for(0, "split"))
    (history, best), early, end = seen[0], rows[0], rows[1]
    assert early["iteration"] == early_stop(history) < 150
    assert early["test_accuracy"] == evaluate(weight_rewinding(kept, best), data.test).accuracy
    assert end["iteration"] == 150
    assert end["test_accuracy"] == evaluate(model, data.test).accuracy
    assert end["train_accuracy"] == evaluate(model, data.train).accuracy


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
    assert study.grid(2, rounds=1) == [
        point for point in study.grid(3, rounds=1) if point["seed"] < 2
    ]
    on_device = study.grid(2, rounds=1, device="cuda")
    assert all(point["trials"] == 2 and point["reinits"] == 1 for point in on_device)


def test_a_round_is_trained_together_once(small_study, monkeypatch):
    calls = []

    def spy(*arguments, **options):
        calls.append(len(arguments[0]))
        return fit_together(*arguments, **options)

    monkeypatch.setattr(study, "fit_together", spy)
    for point in study.grid(2, rounds=2, iterations=5):
        study.measure(**point, trials=2, reinits=1)
    assert calls == [2, 2 * 5, 2 * 3]


@pytest.mark.filterwarnings("ignore:Exception while loading results")
def test_damaged_tickets_are_trained_again(small_study):
    first = run_study(small_study)
    for path in (small_study / "cache").rglob("output.pkl"):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    pd.testing.assert_frame_equal(run_study(small_study), first)


def kept(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("output.pkl")}


COMMAND = """
from pathlib import Path
from prunelab.lab import cache, runner
from prunelab.data import ROOT
from tests import test_lottery

test_lottery.study.load_data = test_lottery.few_images
runner.run("lottery_tickets", seeds=1, rounds=2, iterations=60, results=Path("results"))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no process groups on this system")
def test_killed_study_goes_on_to_the_same_table(small_study, tmp_path_factory):
    folder = tmp_path_factory.mktemp("killed")
    command = [sys.executable, "-c", COMMAND]
    variables = environment(PRUNELAB_CACHE=str(folder / "cache"), PYTHONPATH=str(ROOT))
    process = subprocess.Popen(command, cwd=folder, env=variables, start_new_session=True)
    try:
        wait_until(lambda: len(kept(folder / "cache")) >= 4, process)
    finally:
        stop_hard(process)
    before = kept(folder / "cache")
    assert not (folder / "results").exists()

    subprocess.run(command, cwd=folder, env=variables, check=True)
    after = kept(folder / "cache")
    assert before.items() <= after.items()
    run_study(small_study, iterations=60)
    assert len(before) < len(after) == len(kept(small_study / "cache"))
    killed, whole = (
        (path / "lottery_tickets.csv").read_bytes() for path in (folder / "results", small_study)
    )
    assert killed == whole
