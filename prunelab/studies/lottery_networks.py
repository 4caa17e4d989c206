"""Winning tickets of Conv-2, Conv-4, Conv-6 and ResNet-20 at the paper's scale, for a GPU.

The CIFAR-10 networks of Frankle & Carbin (2019), arXiv:1803.03635v5, but for VGG-19, with random
reinitialization and random masks as controls, and with late rewinding (Frankle et al. 2020,
arXiv:1912.05671). A CPU would take weeks: only the scale "quick" is meant for one, and nothing is
recorded here. CIFAR-10 has to be in the data folder.

The recipe is the paper's, with the choices of the study `lottery_tickets` where it says nothing.
It quotes the test accuracy at early stop for the convolutional networks, at the end for ResNet-20.
"""

from typing import NamedTuple

import pandas as pd
import torch
from torch import nn

from prunelab.data import Data, load_data
from prunelab.finetuning import learning_rate_rewinding
from prunelab.lab.cache import remember
from prunelab.lottery import early_stop, prune_round
from prunelab.masks import get_masks, prunable_layers
from prunelab.models import NETWORKS
from prunelab.pruning import apply_global_pruning
from prunelab.rewinding import State, reinitialize, snapshot, weight_rewinding
from prunelab.studies.shared import SPLITS
from prunelab.studies.tickets import EVALUATE_EVERY, as_kind, curve, density_of, row_at, seed_for
from prunelab.training import fit


class Recipe(NamedTuple):
    """How a network is trained, which share a round prunes, and where late rewinding goes to."""

    iterations: int
    batch_size: int
    lr: float
    conv_rate: float
    rewind: int = 0


RECIPES = {
    "conv2": Recipe(20_000, 60, 2e-4, conv_rate=0.1),
    "conv4": Recipe(25_000, 60, 3e-4, conv_rate=0.1),
    "conv6": Recipe(30_000, 60, 3e-4, conv_rate=0.15),
    "resnet20": Recipe(30_000, 128, 0.1, conv_rate=0.2, rewind=500),
}
"""Adam for the convolutional networks, SGD with momentum 0.9 for ResNet-20. Frankle et al. (2020)
found its tickets stable if rewound to iteration 500, after 0.8 % of a longer training."""
FC_RATE, OUTPUT_RATE = 0.2, 0.1
MILESTONES, WEIGHT_DECAY = (20 / 30, 25 / 30), 1e-4
"""ResNet-20's learning rate falls tenfold after these shares of the iterations."""

SCALES = {
    "quick": {
        "seeds": 2,
        "network": "conv2",
        "rounds": 2,
        "iterations": 60,
        "reinits": 1,
        "rewind": 0,
        "dataset": "fashion-mnist",
    },
    "paper": {"network": "all"},
}


def grid(
    seeds: int,
    network: str = "conv2",
    rounds: int = 20,
    iterations: int | None = None,
    reinits: int = 3,
    rewind: int | None = None,
    dataset: str = "cifar10",
    device: str = "cpu",
) -> list[dict]:
    """One point a training. A ticket comes after the one of the round before it.

    Args:
        seeds: trials.
        network: one of `RECIPES`, or "all".
        rounds: rounds of pruning; 20 leave 1 to 3 % of the weights.
        iterations: None means those of the recipe.
        reinits: random reinitializations of each ticket.
        rewind: the iteration to rewind to; None means that of the recipe, 0 the initialization.
        dataset: "cifar10", or another one that is in the data folder.
        device: where to train: cpu, cuda, …
    """
    if network not in {*RECIPES, "all"}:
        raise ValueError(f"network={network!r} is unknown; choose {', '.join(RECIPES)} or all")
    controls = [("random mask", 0), *(("random reinit", replicate) for replicate in range(reinits))]
    return [
        {
            "network": name,
            "kind": kind,
            "round": round,
            "seed": seed,
            "replicate": replicate,
            **_lengths(name, iterations, rewind),
            "dataset": dataset,
            "device": device,
        }
        for name in (RECIPES if network == "all" else [network])
        for round in range(rounds + 1)
        for kind, replicate in [("ticket", 0), *(controls if round > 0 else [])]
        for seed in range(seeds)
    ]


def _lengths(network: str, iterations: int | None, rewind: int | None) -> dict[str, int]:
    iterations = RECIPES[network].iterations if iterations is None else iterations
    rewind = RECIPES[network].rewind if rewind is None else rewind
    if not 0 <= rewind < iterations:
        raise ValueError(f"rewind={rewind} must be from 0 to {iterations - 1} for {network}")
    return {"iterations": iterations, "rewind": rewind}


def describe(network: str, kind: str, round: int, seed: int, **rest) -> str:
    """A point in words, for the progress bar."""
    return f"{network}, trial {seed}, round {round}, {kind}"


def measure(kind: str, replicate: int, **which) -> list[dict]:
    if kind == "ticket":
        return remember(train_ticket, **which)[0]
    return train(kind, replicate, **which)[0]


def train_ticket(**which) -> tuple[list[dict], State]:
    """Train a winning ticket, or the dense network in round 0: its rows, and the next masks.

    Args:
        which: `network`, `seed`, `round`, `iterations`, `rewind`, `dataset`, `device`.
    """
    rows, model = train("ticket", 0, **which)
    return rows, get_masks(prune(model, which["network"]))


def train(
    kind: str, replicate: int, network: str, seed: int, round: int, **which
) -> tuple[list[dict], nn.Module]:
    """Train a network from where its kind starts to the last iteration: its rows, and itself.

    A ticket and its random mask go on from the iteration rewound to, with the learning rate of
    that time; the dense network and a random reinitialization start from iteration 0.
    """
    data = load_data(which["dataset"], seed=seed_for(seed, "split"))
    model = starting_point(data, kind, replicate, network, seed, round, **which)
    first = 0 if round == 0 or kind == "random reinit" else which["rewind"]
    history = fit_between(
        model, data, network, first, which["iterations"], seed_for(seed, "order", round), **which
    )
    setting = {"network": network, "kind": kind, "round": round, "seed": seed}
    setting |= {"replicate": replicate, "rewind": which["rewind"], "density": density_of(model)}
    moments = {"early stop": first + early_stop(history), "end": which["iterations"]}
    table = curve(history, first)
    rows = [{**setting, "moment": name, **row_at(table, when)} for name, when in moments.items()]
    return rows, model.cpu()


def starting_point(
    data: Data, kind: str, replicate: int, network: str, seed: int, round: int, **which
) -> nn.Module:
    """The network of a kind before it is trained."""
    model = initialized(network, data, seed)
    if round == 0:
        return model
    masks = remember(train_ticket, network=network, seed=seed, round=round - 1, **which)[1]
    weight_rewinding(model, remember(early_weights, network=network, seed=seed, **which))
    return as_kind(model, kind, masks, seed, round, replicate)


def early_weights(network: str, seed: int, dataset: str, rewind: int, **which) -> State:
    """The weights and buffers of the dense network at the iteration to rewind to."""
    data = load_data(dataset, seed=seed_for(seed, "split"))
    model = initialized(network, data, seed)
    if rewind > 0:
        fit_between(model, data, network, 0, rewind, seed_for(seed, "order", 0), **which)
    return snapshot(model.cpu())


def initialized(network: str, data: Data, seed: int) -> nn.Module:
    """The dense network with Gaussian Glorot weights, ResNet-20 too, as in the paper."""
    model = NETWORKS[network](data.train.x.shape[1:], len(data.classes), seed=0)
    model.initialize_weight = nn.init.xavier_normal_
    return reinitialize(model, seed_for(seed, "init"))


def fit_between(
    model: nn.Module,
    data: Data,
    network: str,
    first: int,
    last: int,
    seed: int,
    iterations: int,
    device: str,
    **rest,
) -> pd.DataFrame:
    """Train in place from one iteration of the recipe to another: what `fit` returns."""
    optimizer, scheduler = schedule(model.to(device), network, first, iterations)
    return fit(
        model,
        data,
        steps=last - first,
        batch_size=RECIPES[network].batch_size,
        optimizer=optimizer,
        scheduler=scheduler,
        seed=seed,
        eval_every=EVALUATE_EVERY,
        eval_splits=SPLITS,
        device=device,
        progress=False,
    )


def schedule(model: nn.Module, network: str, first: int, iterations: int):
    """The optimizer, and the scheduler if the learning rate changes, from an iteration on."""
    lr = RECIPES[network].lr
    if network != "resnet20":
        return torch.optim.Adam(model.parameters(), lr, fused=True), None
    return learning_rate_rewinding(
        model, iterations - first, lr, MILESTONES, iterations, weight_decay=WEIGHT_DECAY
    )


def prune(model: nn.Module, network: str) -> nn.Module:
    """One round in place: by layer, or ResNet-20's convolutions but for the shortcuts together."""
    rate, layers = RECIPES[network].conv_rate, prunable_layers(model)
    if network == "resnet20":
        spared = tuple(name for name in layers if name == "fc" or "shortcut" in name)
        return apply_global_pruning(model, rate, exclude=spared)
    rates = {n: rate if isinstance(layer, nn.Conv2d) else FC_RATE for n, layer in layers.items()}
    return prune_round(model, rates | {"fc3": OUTPUT_RATE})
