"""Gradual pruning within one training, beside `before_training`'s masks that move (notebook 16).

Training begins dense, and small weights go while it runs: every 100 steps, along Zhu and Gupta's
cubic schedule, until three quarters of the steps, when masks that move stop moving, too. Steps,
schedule of the learning rate, networks, images and the choice of a rate are those of
`before_training`.
"""

from functools import partial
from inspect import signature

from torch import nn

from prunelab.data import load_data
from prunelab.engines.moving_masks import fit_sparse
from prunelab.finetuning import learning_rate_rewinding
from prunelab.gradual import sparsity_schedule
from prunelab.lab.cache import remember
from prunelab.pruning import apply_global_pruning
from prunelab.studies import recovery
from prunelab.studies.before_training import (
    DENSITIES,
    EVERY,
    FIRST_RATES,
    empty_layers,
    share_of_macs,
)
from prunelab.studies.shared import accuracies, retrain, widened
from prunelab.training import evaluate

NETWORK, METHOD = "lenet300", "gradual pruning"
UNTIL = signature(fit_sparse).parameters["until"].default
"""The share of the training after which the mask stays."""


def grid(seeds: int) -> list[dict]:
    """All choices first (seed None)."""
    return [
        {"density": density, "seed": seed}
        for seed in (None, *range(seeds))
        for density in DENSITIES[NETWORK]
    ]


def measure(density: float, seed: int | None) -> list[dict]:
    """The rows of a choice, without test images; or the one row of a comparison."""
    tries = remember(tried, density=density)
    if seed is None:
        return tries
    rate = recovery.best(tries, "rate")
    model, macs = trained(density, seed, rate)
    row = {"network": NETWORK, "density": density, "method": METHOD, "check": "none"}
    row |= {"role": "comparison", "seed": seed, "rate": rate, "weights": recovery.kept(model)}
    row |= {"empty_layers": empty_layers(model), "training_macs": macs}
    return [row | accuracies(model, load_data())]


def tried(density: float) -> list[dict]:
    return widened(partial(attempts, density), recovery.RATES, *FIRST_RATES)


def attempts(density: float, rate: float) -> list[dict]:
    cell = {"network": NETWORK, "density": density, "method": METHOD, "check": "none"}
    return [
        {**cell, "role": "choice", "seed": seed, "rate": rate}
        | {"valid_accuracy": remember(attempt, density=density, seed=seed, rate=rate)}
        for seed in recovery.TUNING_SEEDS
    ]


def attempt(density: float, seed: int, rate: float) -> float:
    """The validation accuracy after training; 0 if it left nothing that could be pruned."""
    try:
        model, _ = trained(density, seed, rate)
    except ValueError as error:
        if recovery.DIVERGED not in str(error):
            raise
        return 0.0
    return evaluate(model, load_data().valid).accuracy


def trained(density: float, seed: int, rate: float) -> tuple[nn.Module, float]:
    """The network, and the multiplications of its training as a share of the dense one's."""
    original, data = recovery.ORIGINALS[NETWORK], load_data()
    model, steps = original.build(seed=seed), original.steps
    pair = learning_rate_rewinding(model, steps, lr=rate)
    prunings = iter(sparsity_schedule("cubic", 1 - density, int(UNTIL * steps) // EVERY))
    macs = 0.0
    for done in range(0, steps, EVERY):
        part = min(EVERY, steps - done)
        order = 1000 * seed + done
        retrain(model, data, pair, part, seed=order, batch_size=original.batch_size)
        macs += part / steps * share_of_macs(model)
        if sparsity := next(prunings, None):
            apply_global_pruning(model, sparsity=round(sparsity, 9))
    return model, macs
