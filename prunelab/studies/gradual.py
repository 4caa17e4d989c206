"""One-shot against gradual pruning, at one total budget and at five (notebook 08)."""

from functools import partial

from prunelab.data import load_data
from prunelab.finetuning import get_finetune_optimizer
from prunelab.gradual import gradual_pruning, sparsity_schedule
from prunelab.studies.shared import accuracies, networks
from prunelab.studies.trajectories import dense_network

BUDGET = {"lenet300": 860, "half_convnet": 220}
"""Training steps in all; 430 are an epoch."""
SPARSITIES = {"lenet300": (0.5, 0.9, 0.97), "half_convnet": (0.8,)}
ROUNDS = {"one-shot": 1, "five steps": 5, "cubic": 10}
RATES = {"lenet300": (0.3, 1.0), "half_convnet": (0.1, 0.3)}
"""Peak learning rates of each round's cosine, as shares of that of the dense training."""


def grid(seeds: int) -> list[dict]:
    return [
        {**start, "sparsity": sparsity, "method": method, "budgets": budgets, "rate": rate}
        for start in networks("trajectories", seeds)
        for sparsity in SPARSITIES[start["network"]]
        for method, budgets in (
            ("one-shot", 1),
            ("five steps", 1),
            ("cubic", 1),
            ("one-shot", 5),
            ("five steps", 5),
        )
        for rate in RATES[start["network"]]
    ]


def measure(
    network: str,
    learning_rate: float,
    seed: int,
    sparsity: float,
    method: str,
    budgets: int,
    rate: float,
) -> list[dict]:
    data = load_data()
    model = dense_network(network, learning_rate, seed)
    rounds = ROUNDS[method]
    steps = budgets * BUDGET[network]
    gradual_pruning(
        model,
        data,
        sparsity_schedule("cubic" if method == "cubic" else "step", sparsity, rounds),
        steps_per_round=steps // rounds,
        finetune=partial(get_finetune_optimizer, lr=rate * learning_rate),
        seed=seed,
        progress=False,
    )
    row = {"network": network, "seed": seed, "sparsity": sparsity, "method": method}
    row |= {"budgets": budgets, "steps": steps, "rate": rate}
    return [row | accuracies(model, data)]
