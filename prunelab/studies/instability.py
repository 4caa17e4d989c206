"""Error barrier between two copies trained from iteration k in different image orders.

The instability analysis of Frankle et al. (2020), arXiv:1912.05671, at the scale of `trajectories`,
with one-shot instead of iterative magnitude pruning. The copies go on from the weights of iteration
k, with the learning rates that the original training had from k on, and new momentum.
"""

import copy
from statistics import mean

from torch import nn

from prunelab.batchnorm import recalibrate_bn
from prunelab.data import Data, load_data
from prunelab.finetuning import learning_rate_rewinding
from prunelab.lab.cache import remember
from prunelab.lottery import random_masks
from prunelab.masks import get_masks
from prunelab.pruning import apply_global_pruning
from prunelab.rewinding import State, error_barrier, reinitialize, snapshot, weight_rewinding
from prunelab.studies.shared import networks
from prunelab.studies.trajectories import BUILD, STEPS
from prunelab.training import evaluate, fit

DENSITIES = {"half_convnet": 0.2, "lenet300": 0.05}
SHARES = {
    "half_convnet": {
        "dense": (0, 0.01, 0.025, 0.05, 0.1, 0.25),
        "ticket": (0, 0.01, 0.025, 0.05, 0.1, 0.25),
        "random mask": (0, 0.1),
        "random reinit": (0,),
    },
    "lenet300": {"dense": (0,), "ticket": (0,), "random mask": (0,)},
}
"""Shares of the training after which the copies start, by network and kind."""


def grid(seeds: int) -> list[dict]:
    """Seeds vary fastest: processes that start together train different originals."""
    return [
        {**start, "kind": kind, "k": iteration(network, share)}
        for network, kinds in SHARES.items()
        for kind, shares in kinds.items()
        for share in shares
        for start in networks("trajectories", seeds)
        if start["network"] == network
    ]


def describe(network: str, seed: int, kind: str, k: int, **rest) -> str:
    """A point in words, for the progress bar."""
    return f"seed {seed}, {network}, {kind} from iteration {k}"


def measure(network: str, learning_rate: float, seed: int, kind: str, k: int) -> list[dict]:
    data = load_data()
    states, original_accuracy = remember(
        train, network=network, learning_rate=learning_rate, seed=seed
    )
    start = starting_point(network, states, kind, k, seed)
    # From 1000 up, so that no order is that of an original
    orders = (1000 * (seed + 1) + i for i in (1, 2))
    a, b = (trained_copy(start, data, network, learning_rate, k, order) for order in orders)
    repair = None if network == "lenet300" else lambda m: recalibrate_bn(m, data.train.x[:5000])
    row = {
        "network": network,
        "seed": seed,
        "kind": kind,
        "density": 1.0 if kind == "dense" else DENSITIES[network],
        "k": k,
        "share": k / STEPS[network],
        "barrier": error_barrier(a, b, data.test, points=5, repair=repair),
    }
    for split in ("valid", "test"):
        accuracies = (evaluate(model, getattr(data, split)).accuracy for model in (a, b))
        row[f"{split}_accuracy"] = mean(accuracies)
    return [{**row, "original_test_accuracy": original_accuracy}]


def iteration(network: str, share: float) -> int:
    """The iteration after a share of the training."""
    return round(share * STEPS[network])


def train(network: str, learning_rate: float, seed: int) -> tuple[dict[int, State], float]:
    """Train the original; return its weights at every k and at the end, and its test accuracy."""
    data = load_data()
    model = BUILD[network](seed=seed)
    optimizer, scheduler = learning_rate_rewinding(model, STEPS[network], lr=learning_rate)
    shares = {share for shares in SHARES[network].values() for share in shares}
    states, reached = {0: snapshot(model)}, 0
    for i, share in enumerate(sorted(shares - {0} | {1})):
        k = iteration(network, share)
        fit(
            model,
            data,
            steps=k - reached,
            optimizer=optimizer,
            scheduler=scheduler,
            seed=10 * seed + i,
            eval_splits=(),
            progress=False,
        )
        states[k], reached = snapshot(model), k
    return states, evaluate(model, data.test).accuracy


def starting_point(
    network: str, states: dict[int, State], kind: str, k: int, seed: int
) -> nn.Module:
    """The network that both copies start from; the mask is that of the end of the training."""
    model = BUILD[network]()
    model.load_state_dict(states[STEPS[network]])
    if kind != "dense":
        apply_global_pruning(model, sparsity=round(1 - DENSITIES[network], 6))
    if kind == "random reinit":
        return reinitialize(model, seed=1000 + seed)
    masks = random_masks(get_masks(model), seed) if kind == "random mask" else None
    return weight_rewinding(model, states[k], masks)


def trained_copy(
    start: nn.Module, data: Data, network: str, learning_rate: float, k: int, order: int
) -> nn.Module:
    """A copy of the network, trained from iteration k to the end; `order` draws the batches."""
    model, total = copy.deepcopy(start), STEPS[network]
    optimizer, scheduler = learning_rate_rewinding(
        model, total - k, lr=learning_rate, original_steps=total
    )
    fit(
        model,
        data,
        steps=total - k,
        optimizer=optimizer,
        scheduler=scheduler,
        seed=order,
        eval_splits=(),
        progress=False,
    )
    return model
