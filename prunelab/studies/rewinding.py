"""Fine-tuning, rewinding and their controls over densities, and how stable each is (notebook 03).

All retrain for as long as the dense network was trained, but for the steps that rewinding to a
later iteration skips.
"""

import torch
from torch import nn

from prunelab.batchnorm import recalibrate_bn
from prunelab.data import load_data
from prunelab.finetuning import learning_rate_rewinding
from prunelab.lottery import random_masks
from prunelab.masks import get_masks
from prunelab.pruning import apply_global_pruning
from prunelab.rewinding import error_barrier, reinitialize, weight_rewinding
from prunelab.studies.shared import accuracies, networks, retrain
from prunelab.studies.trajectories import BUILD, STEPS, moment, weights_on_the_way

DENSITIES = {"lenet300": (0.5, 0.2, 0.05, 0.02), "half_convnet": (0.2,)}
WITH_BARRIER = {"lenet300": (0.2, 0.02), "half_convnet": (0.2,)}
METHODS = (
    "fine-tune",
    "LR rewinding",
    "rewind to late",
    "rewind to early",
    "rewind to start",
    "random reinit",
    "random mask",
)
NO_BARRIER = ("random reinit", "random mask")


def grid(seeds: int) -> list[dict]:
    pruned = [
        {**start, "density": density, "method": method}
        for start in networks("trajectories", seeds)
        for density in DENSITIES[start["network"]]
        for method in METHODS
    ]
    dense = [
        {**start, "density": 1.0, "method": method}
        for start in networks("trajectories", seeds)
        for method in ("fine-tune", "LR rewinding")
    ]
    return dense + pruned


def measure(
    network: str, learning_rate: float, seed: int, density: float, method: str
) -> list[dict]:
    data = load_data()
    states = weights_on_the_way(network, learning_rate, seed)

    def retrained(order: int) -> nn.Module:
        model = starting_point(network, states, density, method, seed)
        steps = STEPS[network]
        if method.startswith("rewind to"):
            steps -= moment(network, method.removeprefix("rewind to "))
        pair = schedule(model, method, learning_rate, steps, STEPS[network])
        retrain(model, data, pair, steps, seed=1000 * seed + order)
        return model

    model, barrier = retrained(order=1), None
    if density in WITH_BARRIER[network] and method not in NO_BARRIER:
        repair = None if network == "lenet300" else lambda m: recalibrate_bn(m, data.train.x[:5000])
        barrier = error_barrier(model, retrained(order=2), data.test, points=5, repair=repair)
    row = {"network": network, "seed": seed, "density": density, "method": method}
    return [{**row, **accuracies(model, data), "barrier": barrier}]


def starting_point(network: str, states: dict, density: float, method: str, seed: int) -> nn.Module:
    """The pruned network each method retrains."""
    model = BUILD[network]()
    model.load_state_dict(states["end"])
    if density < 1:
        apply_global_pruning(model, sparsity=round(1 - density, 6))
    if method.startswith("rewind to"):
        weight_rewinding(model, states[method.removeprefix("rewind to ")])
    elif method == "random reinit":
        reinitialize(model, seed=1000 + seed)
    elif method == "random mask":
        weight_rewinding(model, states["start"], random_masks(get_masks(model), seed))
    return model


def schedule(model: nn.Module, method: str, learning_rate: float, steps: int, original_steps: int):
    """Fine-tuning stays at the last learning rate; all others end as the dense training did."""
    if method == "fine-tune":
        final = learning_rate / 100
        return torch.optim.SGD(model.parameters(), final, 0.9, weight_decay=5e-4, fused=True), None
    return learning_rate_rewinding(model, steps, lr=learning_rate, original_steps=original_steps)
