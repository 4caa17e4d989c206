"""Retraining after one-shot pruning: learning rate against schedule (notebook 04)."""

import torch

from prunelab.data import load_data
from prunelab.finetuning import get_finetune_optimizer, learning_rate_rewinding, one_cycle
from prunelab.lab.cache import remember
from prunelab.pruning import apply_global_pruning
from prunelab.studies.shared import accuracies, networks, retrain, widened
from prunelab.studies.trajectories import dense_network

SPARSITIES = {"lenet300": (0.8, 0.95), "half_convnet": (0.5, 0.8)}
STEPS = {"lenet300": (430, 1290), "half_convnet": (215,)}
RATES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
"""Shares of the learning rate the dense network was trained with."""
FIRST_RATES = (0.01, 1.0)
"""The lowest and the highest that all are given; more until the best lies inside."""


def constant(model, steps: int, lr: float):
    return torch.optim.SGD(model.parameters(), lr, 0.9, weight_decay=5e-4, fused=True), None


SCHEDULES = {
    "constant": constant,
    "cosine": get_finetune_optimizer,
    "one-cycle": one_cycle,
    "step": learning_rate_rewinding,
}


def grid(seeds: int) -> list[dict]:
    return [
        {
            "network": start["network"],
            "learning_rate": start["learning_rate"],
            "sparsity": sparsity,
            "steps": steps,
            "schedule": schedule,
            "seeds": seeds,
        }
        for start in networks("trajectories", 1)
        for steps in sorted(STEPS[start["network"]], reverse=True)
        for sparsity in SPARSITIES[start["network"]]
        for schedule in SCHEDULES
    ]


def measure(seeds: int, **setting) -> list[dict]:
    def rows_at(rate: float) -> list[dict]:
        return [remember(retrained, **setting, rate=rate, seed=seed) for seed in range(seeds)]

    return widened(rows_at, RATES, *FIRST_RATES)


def retrained(
    network: str,
    learning_rate: float,
    seed: int,
    sparsity: float,
    steps: int,
    schedule: str,
    rate: float,
) -> dict:
    """The row of one network, pruned at once and retrained at one rate."""
    data = load_data()
    model = apply_global_pruning(dense_network(network, learning_rate, seed), sparsity=sparsity)
    pair = SCHEDULES[schedule](model, steps, lr=rate * learning_rate)
    retrain(model, data, pair, steps, seed)
    row = {"network": network, "seed": seed, "sparsity": sparsity, "steps": steps}
    row |= {"schedule": schedule, "rate": rate}
    return row | accuracies(model, data)
