"""Tickets of the larger networks: what is pruned, where they are rewound to, what is measured."""

from dataclasses import replace
from functools import partial

import pandas as pd
import pytest
import torch
from torch import nn

from prunelab.data import Data
from prunelab.lab import cache, runner
from prunelab.masks import effective_weight, get_masks, kept_weights, prunable_layers
from prunelab.models import NETWORKS, resnet20
from prunelab.rewinding import snapshot
from prunelab.studies import lottery_networks as study
from prunelab.training import evaluate, fit
from tests.helpers import learning_rates, same
from tests.test_lottery import few_images

PAPER = {  # iterations, batch size, learning rate, share of a convolution pruned a round
    "conv2": (20_000, 60, 2e-4, 0.1),
    "conv4": (25_000, 60, 3e-4, 0.1),
    "conv6": (30_000, 60, 3e-4, 0.15),
    "resnet20": (30_000, 128, 0.1, 0.2),
}
WHICH = {"network": "resnet20", "seed": 0, "iterations": 6, "rewind": 3}
WHICH |= {"dataset": "fashion-mnist", "device": "cpu"}
LAST = {"replicate": 0, "round": 1}


def fewer_images(name: str, seed: int) -> Data:
    """Takes the place of `load_data` in the study."""
    few = few_images(name, seed)
    return replace(few, train=few.train[:300], valid=few.valid[:60], test=few.test[:60])


@pytest.fixture
def small_study(tmp_path, monkeypatch):
    """The study on few images, with a narrow ResNet-20 and a cache of its own."""
    monkeypatch.setattr(cache, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(study, "load_data", fewer_images)
    monkeypatch.setitem(NETWORKS, "resnet20", partial(resnet20, width=4))
    return tmp_path


@pytest.fixture
def histories(monkeypatch) -> list[pd.DataFrame]:
    """What `fit` returned, with an evaluation after every iteration."""
    seen = []

    def spy(*arguments, **options):
        seen.append(fit(*arguments, **options))
        return seen[-1]

    monkeypatch.setattr(study, "fit", spy)
    monkeypatch.setattr(study, "EVALUATE_EVERY", 1)
    return seen


def left(model: nn.Module) -> dict[str, int]:
    return {n: kept_weights(layer).sum().item() for n, layer in prunable_layers(model).items()}


def test_recipes_are_those_of_the_paper():
    assert {name: recipe[:4] for name, recipe in study.RECIPES.items()} == PAPER
    for point in study.grid(1, network="all"):
        assert point["iterations"] == PAPER[point["network"]][0]
        assert point["rewind"] == (500 if point["network"] == "resnet20" else 0)


@pytest.mark.parametrize("network", ["conv2", "conv4", "conv6"])
def test_layers_of_a_kind_lose_their_share(network):
    model = NETWORKS[network]((3, 32, 32), seed=0)
    expected = left(model)
    for _ in range(2):
        study.prune(model, network)
        for name, count in expected.items():
            rate = PAPER[network][3] if name.startswith("conv") else 0.2
            expected[name] -= round((0.1 if name == "fc3" else rate) * count)
        assert left(model) == expected


def test_resnet_is_pruned_globally_without_shortcuts_and_output():
    model = resnet20((3, 32, 32), seed=0)
    layers, before = prunable_layers(model), left(model)
    spared = {"fc", "layer2.0.shortcut.conv", "layer3.0.shortcut.conv"}
    weights = {name: effective_weight(layer).abs() for name, layer in layers.items()}
    study.prune(model, "resnet20")
    masks = get_masks(model)
    assert masks.keys() == layers.keys() - spared
    lowest = min(weights[name][mask].min() for name, mask in masks.items())
    highest = max(weights[name][~mask].max() for name, mask in masks.items() if not mask.all())
    assert lowest >= highest
    total = sum(before[name] for name in masks)
    first = sum(left(model)[name] for name in masks)
    study.prune(model, "resnet20")
    assert first == total - round(0.2 * total)
    assert sum(left(model)[name] for name in masks) == first - round(0.2 * first)


@pytest.mark.parametrize("network", PAPER)
def test_weights_are_gaussian_glorot(network):
    model = study.initialized(network, fewer_images("fashion-mnist", 0), seed=0)
    weight = prunable_layers(model)["layer3.2.conv2" if network == "resnet20" else "fc1"].weight
    sizes = nn.init._calculate_fan_in_and_fan_out(weight)
    assert weight.std().item() == pytest.approx((2 / sum(sizes)) ** 0.5, rel=0.02)


@pytest.mark.parametrize("first", [0, 500, 22_000])
def test_learning_rate_falls_at_20_000_and_25_000_wherever_training_starts(first):
    schedule = study.schedule(nn.Linear(1, 1), "resnet20", first, 30_000)
    seen = dict(enumerate(learning_rates(*schedule, 25_001 - first), start=first))
    for iteration, rate in {0: 0.1, 19_999: 0.1, 20_000: 0.01, 24_999: 0.01, 25_000: 1e-3}.items():
        assert seen.get(iteration, rate) == pytest.approx(rate)
    assert first in seen
    assert 25_000 in seen


def test_optimizers_are_those_of_the_paper():
    options = study.schedule(nn.Linear(1, 1), "resnet20", 0, 30_000)[0].defaults
    assert (options["momentum"], options["weight_decay"]) == (0.9, 1e-4)
    adam, scheduler = study.schedule(nn.Linear(1, 1), "conv4", 0, 25_000)
    assert isinstance(adam, torch.optim.Adam)
    assert (adam.defaults["lr"], scheduler) == (3e-4, None)


def test_ticket_starts_from_the_dense_network_at_the_iteration(small_study):
    data = study.load_data("fashion-mnist", seed=study.seed_for(0, "split"))
    dense = study.initialized("resnet20", data, seed=0)
    start = snapshot(dense)
    sgd = torch.optim.SGD(dense.parameters(), 0.1, 0.9, weight_decay=1e-4)
    how = {"steps": 3, "batch_size": 128, "seed": study.seed_for(0, "order", 0)}
    fit(dense, data, optimizer=sgd, progress=False, **how)
    expected = snapshot(dense)
    assert not torch.equal(expected["bn1.running_mean"], start["bn1.running_mean"])
    ticket, mask = (
        study.starting_point(data, kind, **LAST, **WHICH) for kind in ("ticket", "random mask")
    )
    for model in (ticket, mask):
        torch.testing.assert_close(snapshot(model), expected, atol=1e-6, rtol=0)
    assert sum(left(mask).values()) == sum(left(ticket).values()) < sum(left(dense).values())
    assert not torch.equal(get_masks(mask)["conv1"], get_masks(ticket)["conv1"])


def test_reinit_has_the_masks_of_the_ticket_and_starts_over(small_study):
    data = study.load_data("fashion-mnist", seed=study.seed_for(0, "split"))
    ticket = study.starting_point(data, "ticket", **LAST, **WHICH | {"rewind": 0})
    assert same(snapshot(ticket), snapshot(study.initialized("resnet20", data, seed=0)))
    reinit = study.starting_point(data, "random reinit", **LAST, **WHICH)
    assert reinit.bn1.running_mean.abs().max() == 0
    assert not torch.equal(reinit.conv1.weight_orig, ticket.conv1.weight_orig)
    ticket = study.starting_point(data, "ticket", **LAST, **WHICH)
    assert same(get_masks(reinit), get_masks(ticket))


def test_rewound_training_goes_on_with_the_schedule(small_study, histories):
    cache.remember(study.train_ticket, round=0, **WHICH)
    for kind, first in {"ticket": 3, "random mask": 3, "random reinit": 0}.items():
        end = study.train(kind, **LAST, **WHICH)[0][1]
        assert end["moment"] == "end"
        assert end["iteration"] == 6
        history = histories[-1][histories[-1]["split"] == "valid"]
        assert history["step"].tolist() == list(range(6 - first + 1))
        rates = [0.1, 0.1, 0.1, 0.1, 0.01, 1e-3, 1e-3]
        assert history["lr"].tolist() == pytest.approx(rates[first:])


def test_accuracy_is_that_of_the_test_images_at_the_lowest_validation_loss(
    small_study, histories, monkeypatch
):
    recipe = study.RECIPES["resnet20"]._replace(lr=1.0)  # so that the last is not the lowest
    monkeypatch.setitem(study.RECIPES, "resnet20", recipe)
    (early, end), model = study.train("ticket", **LAST | {"round": 0}, **WHICH)
    history = dict(list(histories[0].set_index("step").groupby("split")))
    valid, test = history["valid"]["loss"], history["test"]["accuracy"]
    assert early["iteration"] == valid.idxmin() < 6
    assert early["valid_loss"] == valid.min()
    assert early["test_accuracy"] == test[valid.idxmin()]
    data = study.load_data("fashion-mnist", seed=study.seed_for(0, "split"))
    assert end["test_accuracy"] == test[6] == evaluate(model, data.test).accuracy


def test_table_has_every_kind_at_its_density(small_study):
    options = {"network": "conv2", "rounds": 1, "iterations": 2, "reinits": 2, "rewind": 1}
    table = runner.run("lottery_networks", seeds=1, results=small_study, **options)
    early = table[table["moment"] == "early stop"]
    assert early["kind"].tolist() == ["ticket"] * 2 + ["random mask"] + ["random reinit"] * 2
    assert early["round"].tolist() == [0, 1, 1, 1, 1]
    assert early["density"].tolist() == pytest.approx([1] + [0.8] * 4, abs=0.01)
    assert (table[table["moment"] == "end"]["iteration"] == 2).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"network": "vgg19"}, "network='vgg19' is unknown; choose conv2, conv4, conv6, resnet20"),
        ({"rewind": 20_000}, "rewind=20000 must be from 0 to 19999 for conv2"),
        ({"network": "resnet20", "iterations": 500}, "rewind=500 must be from 0 to 499"),
    ],
)
def test_options_out_of_range_are_errors(options, message):
    with pytest.raises(ValueError, match=message):
        study.grid(1, **options)
