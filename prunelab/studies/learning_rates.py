"""Retraining after one-shot pruning: learning rate against schedule (notebook 04)."""

import copy

import torch

from prunelab.data import load_data
from prunelab.finetuning import get_finetune_optimizer, learning_rate_rewinding, one_cycle
from prunelab.pruning import apply_global_pruning
from prunelab.studies.shared import accuracies, networks, retrain
from prunelab.studies.trajectories import dense_network

SPARSITIES = {"lenet300": (0.8, 0.95), "half_convnet": (0.5, 0.8)}
STEPS = {"lenet300": (430, 1290), "half_convnet": (215,)}
RATES = (0.01, 0.03, 0.1, 0.3, 1.0)
"""Shares of the learning rate the dense network was trained with."""


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
        {**start, "sparsity": sparsity, "steps": steps, "schedule": schedule}
        for start in networks("trajectories", seeds)
        for sparsity in SPARSITIES[start["network"]]
        for steps in STEPS[start["network"]]
        for schedule in SCHEDULES
    ]


def measure(
    network: str, learning_rate: float, seed: int, sparsity: float, steps: int, schedule: str
) -> list[dict]:
    data = load_data()
    pruned = apply_global_pruning(dense_network(network, learning_rate, seed), sparsity=sparsity)
    rows = []
    for rate in RATES:
        model = copy.deepcopy(pruned)
        pair = SCHEDULES[schedule](model, steps, lr=rate * learning_rate)
        retrain(model, data, pair, steps, seed)
        row = {"network": network, "seed": seed, "sparsity": sparsity, "steps": steps}
        row |= {"schedule": schedule, "rate": rate}
        rows.append(row | accuracies(model, data))
    return rows
