"""The study `instability`: what its copies share, and what they do not."""

import copy
from dataclasses import replace

import pytest

from prunelab.lab import cache, runner
from prunelab.masks import get_masks, prunable_layers
from prunelab.pruning import apply_global_pruning
from prunelab.rewinding import snapshot
from prunelab.studies import instability as study
from prunelab.studies.trajectories import BUILD, STEPS
from prunelab.training import Evaluation, fit
from tests.helpers import learning_rates, same

TINY = {
    "half_convnet": {"dense": (0.5,), "random reinit": (0,)},
    "lenet300": {"dense": (0.5,), "ticket": (0, 0.5), "random mask": (0,)},
}
CELLS = [
    (network, kind, study.iteration(network, share))
    for network, kinds in study.SHARES.items()
    for kind, shares in kinds.items()
    for share in shares
]
every_network = pytest.mark.parametrize("network", ["half_convnet", "lenet300"])
every_cell = pytest.mark.parametrize(("network", "kind", "k"), CELLS)


@pytest.fixture(scope="module")
def states():
    """By network, weights as if they were those of every k and of the end."""
    return {
        network: {k: snapshot(BUILD[network](seed=k)) for k in {*iterations(network), steps}}
        for network, steps in STEPS.items()
    }


def iterations(network: str) -> set[int]:
    return {k for name, _, k in CELLS if name == network}


@pytest.fixture
def fitted(monkeypatch, data):
    """What `fit` was asked to train: weights, masks, order and learning rates. Nothing is."""
    calls = []

    def record(model, data, *, steps, optimizer, scheduler, seed, **rest):
        rates = learning_rates(optimizer, scheduler, steps)
        masks = {name: mask.clone() for name, mask in get_masks(model).items()}
        calls.append({"state": snapshot(model), "masks": masks, "seed": seed, "rates": rates})

    monkeypatch.setattr(study, "fit", record)
    monkeypatch.setattr(study, "load_data", lambda: data)
    monkeypatch.setattr(study, "evaluate", lambda *_: Evaluation(0.0, 0.5))
    monkeypatch.setattr(study, "error_barrier", lambda *_, **__: 0.0)
    return calls


def kept_by_layer(model) -> list[int]:
    return [int(mask.sum()) for mask in get_masks(model).values()]


def test_grid_has_every_cell_with_every_seed_once():
    points = study.grid(seeds=3)
    seen = [(p["network"], p["kind"], p["k"], p["seed"]) for p in points]
    assert seen == [(*cell, seed) for cell in CELLS for seed in range(3)]
    assert {p["learning_rate"] for p in points if p["network"] == "half_convnet"} == {0.3}
    assert iterations("half_convnet") == {0, 17, 43, 86, 172, 430}
    assert study.describe(**points[6]) == "seed 0, half_convnet, dense from iteration 43"


def test_a_tiny_run_is_tidy(tmp_path, monkeypatch, data):
    few = replace(data, train=data.train[:400], valid=data.valid[:100], test=data.test[:100])
    monkeypatch.setattr(study, "load_data", lambda: few)
    monkeypatch.setattr(study, "SHARES", TINY)
    monkeypatch.setattr(cache, "CACHE", tmp_path / "cache")
    for network in TINY:
        monkeypatch.setitem(study.STEPS, network, 4)
    table = runner.run("instability", seeds=2, results=tmp_path)
    assert len(table) == 2 * 6
    assert not table.isna().any(axis=None)
    assert not table.duplicated(["network", "seed", "kind", "k"]).any()
    assert (table["share"] == table["k"] / 4).all()
    densities = table[["network", "kind", "density"]].drop_duplicates()
    assert sorted(densities["density"]) == [0.05, 0.05, 0.2, 1.0, 1.0]
    assert len(table[["network", "seed", "original_test_accuracy"]].drop_duplicates()) == 4
    accuracies = table[["valid_accuracy", "test_accuracy", "original_test_accuracy"]]
    assert accuracies.stack().between(0, 1).all()
    assert table["barrier"].between(-1, 1).all()


@every_cell
def test_copies_differ_in_the_order_alone(network, kind, k, states, fitted, monkeypatch):
    monkeypatch.setattr(study, "remember", lambda *_, **__: (states[network], 0.5))
    study.measure(network, 0.1, seed=0, kind=kind, k=k)
    a, b = fitted
    assert same(a["state"], b["state"])
    assert same(a["masks"], b["masks"])
    assert a["rates"] == b["rates"]
    assert a["seed"] != b["seed"]


@every_network
def test_orders_are_never_those_of_an_original(network, states, fitted, monkeypatch):
    for seed in range(5):
        study.train(network, 0.1, seed)
    originals = [call["seed"] for call in fitted]
    fitted.clear()
    monkeypatch.setattr(study, "remember", lambda *_, **__: (states[network], 0.5))
    for seed in range(5):
        study.measure(network, 0.1, seed, kind="dense", k=0)
    copies = [call["seed"] for call in fitted]
    assert len({*originals, *copies}) == len(originals) + len(copies)


@every_network
def test_copies_see_the_learning_rates_of_the_original_from_k_on(network, states, fitted, data):
    kept, _ = study.train(network, 0.1, seed=0)
    assert set(kept) == {STEPS[network], *iterations(network)}
    assert same(kept[0], snapshot(BUILD[network](seed=0)))
    original = [rate for call in fitted for rate in call["rates"]]
    assert len(original) == STEPS[network]
    assert sorted(set(original)) == pytest.approx([0.001, 0.01, 0.1])
    for k in iterations(network):
        start = study.starting_point(network, states[network], "dense", k, seed=0)
        study.trained_copy(start, data, network, 0.1, k, order=1)
        assert fitted[-1]["rates"] == original[k:]


def test_snapshots_are_those_on_the_way_of_one_training(monkeypatch, data):
    monkeypatch.setattr(study, "load_data", lambda: data)
    monkeypatch.setattr(study, "SHARES", TINY)
    monkeypatch.setitem(study.STEPS, "lenet300", 4)
    states, accuracy = study.train("lenet300", 0.1, seed=3)
    model = BUILD["lenet300"](seed=3)
    optimizer, scheduler = study.learning_rate_rewinding(model, 4, lr=0.1)
    for i, k in enumerate((2, 4)):
        options = {"steps": 2, "optimizer": optimizer, "scheduler": scheduler, "seed": 30 + i}
        fit(model, data, **options, eval_splits=(), progress=False)
        assert same(states[k], snapshot(model))
    assert accuracy == study.evaluate(model, data.test).accuracy


@every_cell
def test_masks_have_the_density_over_the_weights_of_k(network, kind, k, states):
    model = study.starting_point(network, states[network], kind, k, seed=0)
    if kind != "random reinit":
        assert same(snapshot(model), states[network][k])
    if kind == "dense":
        assert get_masks(model) == {}
        return
    total = sum(layer.weight.numel() for layer in prunable_layers(model).values())
    assert sum(kept_by_layer(model)) == round(study.DENSITIES[network] * total)


@every_network
def test_ticket_is_pruned_at_the_end(network, states):
    ticket = study.starting_point(network, states[network], "ticket", 0, seed=0)
    end = BUILD[network]()
    end.load_state_dict(states[network][STEPS[network]])
    apply_global_pruning(end, sparsity=1 - study.DENSITIES[network])
    assert same(get_masks(ticket), get_masks(end))


@every_network
def test_random_mask_keeps_as_many_of_each_layer_elsewhere(network, states):
    ticket, control, other_seed = (
        study.starting_point(network, states[network], kind, 0, seed)
        for kind, seed in (("ticket", 0), ("random mask", 0), ("random mask", 1))
    )
    assert kept_by_layer(control) == kept_by_layer(ticket) == kept_by_layer(other_seed)
    assert not same(get_masks(control), get_masks(ticket))
    assert not same(get_masks(control), get_masks(other_seed))


def test_random_reinit_keeps_the_mask_and_draws_other_weights(states):
    ticket, control = (
        study.starting_point("half_convnet", states["half_convnet"], kind, 0, seed=0)
        for kind in ("ticket", "random reinit")
    )
    assert same(get_masks(control), get_masks(ticket))
    mask = get_masks(ticket)["conv2"]
    assert (control.conv2.weight[mask] != ticket.conv2.weight[mask]).all()


def test_only_the_order_makes_a_difference(data, monkeypatch):
    monkeypatch.setitem(study.STEPS, "lenet300", 4)
    weights = {k: snapshot(BUILD["lenet300"](seed=k)) for k in (0, 4)}
    start = study.starting_point("lenet300", weights, "ticket", 0, seed=0)
    before = copy.deepcopy(start.state_dict())
    a, again, b = (
        snapshot(study.trained_copy(start, data, "lenet300", 0.1, 0, order)) for order in (1, 1, 2)
    )
    assert same(a, again)
    assert not same(a, b)
    assert same(start.state_dict(), before)
