"""Stale BatchNorm statistics after pruning, and how long they matter (notebook 09)."""

import copy

from torch import nn

from prunelab.batchnorm import recalibrate_bn
from prunelab.data import Data, load_data
from prunelab.finetuning import get_finetune_optimizer
from prunelab.studies.shared import damage, networks, retrain
from prunelab.studies.trajectories import dense_network
from prunelab.training import evaluate

DAMAGE = (("weights", 0.5), ("weights", 0.8), ("filters", 0.25), ("filters", 0.5))
STEPS = (0, 3, 10, 30, 100, 300, 860)
BATCHES = (1, 2, 5, 10, 20, 50, 100)
BATCH_SIZE = 128
RATE = 0.1
"""Of the learning rate the dense network was trained with; it falls along a cosine."""


def grid(seeds: int) -> list[dict]:
    return [
        {**start, "pruned": pruned, "amount": amount}
        for start in networks("trajectories", seeds)
        if start["network"] == "half_convnet"
        for pruned, amount in DAMAGE
    ]


def measure(
    network: str, learning_rate: float, seed: int, pruned: str, amount: float
) -> list[dict]:
    data = load_data()
    dense = dense_network(network, learning_rate, seed)
    rows = [{"statistics": "dense", "accuracy": evaluate(dense, data.test).accuracy}]
    model = damage(dense, pruned, amount)
    for batches in BATCHES:
        fresh = recalibrate_bn(
            copy.deepcopy(model), data.train.x[: batches * BATCH_SIZE], BATCH_SIZE
        )
        accuracy = evaluate(fresh, data.test).accuracy
        rows.append({"statistics": "batches", "batches": batches, "accuracy": accuracy})
    for statistics, start in (
        ("stale at the start", model),
        ("recalibrated at the start", recalibrate_bn(copy.deepcopy(model), data.train.x[:12800])),
    ):
        rows += finetuned(start, statistics, data, RATE * learning_rate, seed)
    setting = {"network": network, "seed": seed, "pruned": pruned, "amount": amount}
    return [{**setting, "steps": None, "batches": None, **row} for row in rows]


def finetuned(
    model: nn.Module, statistics: str, data: Data, learning_rate: float, seed: int
) -> list[dict]:
    """Accuracy while fine-tuning, with the statistics as they are and recalibrated now."""
    pair = get_finetune_optimizer(model, STEPS[-1], lr=learning_rate)
    rows, reached = [], 0
    for steps in STEPS:
        if steps > reached:
            retrain(model, data, pair, steps - reached, seed=1000 * seed + steps)
            reached = steps
        accuracy = evaluate(model, data.test).accuracy
        rows.append({"statistics": statistics, "steps": steps, "accuracy": accuracy})
        if statistics == "stale at the start":  # the weights are the same in both cases
            now = recalibrate_bn(copy.deepcopy(model), data.train.x[:12800])
            accuracy = evaluate(now, data.test).accuracy
            rows.append({"statistics": "recalibrated now", "steps": steps, "accuracy": accuracy})
    return rows
