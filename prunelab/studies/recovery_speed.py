"""Steps and seconds until a pruned network is back, with a teacher and without (notebook 02).

Each loss has a learning rate of its own: the one that gets it there in the fewest steps on average,
from a grid that is widened until the best lies inside. Seconds are steps times the price of a step,
which is measured for both losses in turn.
"""

import copy
import time
from functools import partial

import pandas as pd
import torch
from torch import nn

from prunelab.data import load_data
from prunelab.distillation import distill
from prunelab.intervals import choose
from prunelab.lab.cache import remember
from prunelab.studies.shared import damage, networks, widened
from prunelab.studies.trajectories import dense_network
from prunelab.training import evaluate, fit

TARGET = 0.99
"""Of the dense network's validation accuracy."""
EVERY_STEP, EVERY = 20, 10
"""Validation accuracy is looked at after each of so many steps, then once in so many."""
LIMIT = {"lenet300": 2150, "half_convnet": 430}
"""Steps after which a run is given up."""
DAMAGE = {
    "lenet300": (("weights", 0.8), ("weights", 0.9), ("weights", 0.95)),
    "half_convnet": (("weights", 0.5), ("weights", 0.7), ("weights", 0.8), ("filters", 0.25)),
}
LOSSES = ("labels", "distillation")
RATES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
"""Constant learning rates, as shares of the one the dense network was trained with."""
FIRST_RATES = {"lenet300": (0.1, 3.0), "half_convnet": (0.03, 0.3)}
"""The lowest and the highest that both losses are given."""
ROUNDS, ROUND = 11, 30
"""The price of a step is the median of so many rounds of so many steps."""


def grid(seeds: int) -> list[dict]:
    return [
        {
            "network": start["network"],
            "learning_rate": start["learning_rate"],
            "pruned": pruned,
            "amount": amount,
            "seeds": seeds,
        }
        for start in networks("trajectories", 1)
        for pruned, amount in reversed(DAMAGE[start["network"]])
    ]


def measure(seeds: int, **setting) -> list[dict]:
    def rows_at(loss: str, rate: float) -> list[dict]:
        how = setting | {"loss": loss, "rate": rate}
        return [remember(recovered, **how, seed=seed) for seed in range(seeds)]

    first = FIRST_RATES[setting["network"]]
    rows = [
        row
        for loss in LOSSES
        for row in widened(partial(rows_at, loss), RATES, *first, value="steps", largest=False)
    ]
    price = remember(seconds_of_a_step, **setting)
    return [row | {"seconds": row["steps"] * price[row["loss"]]} for row in rows]


def recovered(
    network: str,
    learning_rate: float,
    pruned: str,
    amount: float,
    loss: str,
    rate: float,
    seed: int,
) -> dict:
    """The row of one network and rate; one that does not arrive has the steps it was given."""
    data = load_data()
    model, criterion, target = damaged(network, learning_rate, pruned, amount, loss, seed)
    optimizer = sgd(model, rate * learning_rate)
    steps, accuracy = 0, evaluate(model, data.valid).accuracy
    while accuracy < target and steps < LIMIT[network]:
        more = 1 if steps < EVERY_STEP else EVERY
        order = 1000 * seed + steps
        how = {"optimizer": optimizer, "loss": criterion, "seed": order, "eval_splits": ()}
        fit(model, data, steps=more, progress=False, **how)
        steps += more
        accuracy = evaluate(model, data.valid).accuracy
    setting = {"network": network, "seed": seed, "pruned": pruned, "amount": amount}
    return setting | {
        "loss": loss,
        "rate": rate,
        "reached": accuracy >= target,
        "steps": steps,
        "valid_accuracy": accuracy,
        "test_accuracy": evaluate(model, data.test).accuracy,
    }


def sgd(model: nn.Module, lr: float) -> torch.optim.SGD:
    return torch.optim.SGD(model.parameters(), lr, momentum=0.9, fused=True)


def damaged(
    network: str, learning_rate: float, pruned: str, amount: float, loss: str, seed: int
) -> tuple[nn.Module, nn.Module | None, float]:
    """A pruned network, its loss, and the validation accuracy it is to reach."""
    dense = dense_network(network, learning_rate, seed)
    target = TARGET * evaluate(dense, load_data().valid).accuracy
    criterion = distill(dense) if loss == "distillation" else None  # keeps a copy of `dense`
    return damage(dense, pruned, amount), criterion, target


def seconds_of_a_step(
    network: str, learning_rate: float, pruned: str, amount: float
) -> dict[str, float]:
    """The median seconds of a training step with each loss, the two taking turns."""
    data = load_data()
    setting = (network, learning_rate, pruned, amount)
    contenders = {loss: damaged(*setting, loss, seed=0)[:2] for loss in LOSSES}
    seconds: dict[str, list[float]] = {loss: [] for loss in LOSSES}
    for i in range(ROUNDS):
        for loss, (model, criterion) in contenders.items():
            model = copy.deepcopy(model)
            how = {"optimizer": sgd(model, learning_rate), "loss": criterion, "eval_splits": ()}
            start = time.perf_counter()
            fit(model, data, steps=ROUND, seed=i, progress=False, **how)
            seconds[loss].append((time.perf_counter() - start) / ROUND)
    return pd.DataFrame(seconds).median().to_dict()


def tuned(table: pd.DataFrame) -> pd.DataFrame:
    """The rows at the learning rate that gets each loss there in the fewest steps on average.

    A run that did not arrive counts with the steps it was given.
    """
    by = ["network", "pruned", "amount", "loss"]
    return table.merge(choose(table, by, "rate", "steps", largest=False))
