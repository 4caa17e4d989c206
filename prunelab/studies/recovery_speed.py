"""Steps and seconds until a pruned network is back, with a teacher and without (notebook 02)."""

import pandas as pd
import torch

from prunelab.data import load_data
from prunelab.distillation import distill
from prunelab.intervals import choose
from prunelab.studies.shared import damage, networks
from prunelab.studies.trajectories import dense_network
from prunelab.training import evaluate, fit

TARGET = 0.99
"""Of the dense network's validation accuracy."""
EVERY = 10
"""Steps between two looks at the validation accuracy."""
LIMIT = {"lenet300": 2150, "half_convnet": 430}
"""Steps after which a run is given up."""
DAMAGE = {
    "lenet300": (("weights", 0.8), ("weights", 0.9), ("weights", 0.95)),
    "half_convnet": (("weights", 0.5), ("weights", 0.7), ("weights", 0.8), ("filters", 0.25)),
}
RATES = {"lenet300": (0.1, 0.3, 1.0, 3.0), "half_convnet": (0.03, 0.1, 0.3)}
"""Constant learning rates, as shares of the one the dense network was trained with."""


def grid(seeds: int) -> list[dict]:
    return [
        {**start, "pruned": pruned, "amount": amount, "loss": loss, "rate": rate}
        for start in networks("trajectories", seeds)
        for pruned, amount in DAMAGE[start["network"]]
        for loss in ("labels", "distillation")
        for rate in RATES[start["network"]]
    ]


def measure(
    network: str,
    learning_rate: float,
    seed: int,
    pruned: str,
    amount: float,
    loss: str,
    rate: float,
) -> list[dict]:
    data = load_data()
    dense = dense_network(network, learning_rate, seed)
    target = TARGET * evaluate(dense, data.valid).accuracy
    criterion = distill(dense) if loss == "distillation" else None  # keeps a copy of `dense`
    model = damage(dense, pruned, amount)
    optimizer = torch.optim.SGD(model.parameters(), rate * learning_rate, momentum=0.9, fused=True)
    steps, seconds, accuracy = 0, 0.0, evaluate(model, data.valid).accuracy
    while accuracy < target and steps < LIMIT[network]:
        history = fit(
            model,
            data,
            steps=EVERY,
            optimizer=optimizer,
            loss=criterion,
            seed=1000 * seed + steps // EVERY,
            progress=False,
        )
        steps += EVERY
        seconds += history["seconds"].iloc[-1]
        accuracy = history["accuracy"].iloc[-1]
    return [
        {
            "network": network,
            "seed": seed,
            "pruned": pruned,
            "amount": amount,
            "loss": loss,
            "rate": rate,
            "reached": accuracy >= target,
            "steps": steps,
            "seconds": seconds,
            "valid_accuracy": accuracy,
            "test_accuracy": evaluate(model, data.test).accuracy,
        }
    ]


def tuned(table: pd.DataFrame) -> pd.DataFrame:
    """The rows at the learning rate that gets each loss there in the fewest steps on average.

    A run that did not arrive counts with the steps it was given.
    """
    by = ["network", "pruned", "amount", "loss"]
    return table.merge(choose(table, by, "rate", "steps", largest=False))
