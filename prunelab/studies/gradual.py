"""One-shot against gradual pruning, at one total budget and at five (notebook 08).

Every way in every setting begins with three learning rates and is given more until the one with
the best mean on validation images lies inside its grid.
"""

from functools import partial

from prunelab.data import load_data
from prunelab.finetuning import get_finetune_optimizer
from prunelab.gradual import gradual_pruning, sparsity_schedule
from prunelab.lab.cache import remember
from prunelab.studies.recovery import DIVERGED
from prunelab.studies.shared import accuracies, networks, widened
from prunelab.studies.trajectories import dense_network

BUDGET = {"lenet300": 860, "half_convnet": 220}
"""Training steps in all; 430 are an epoch."""
SPARSITIES = {"lenet300": (0.5, 0.9, 0.97), "half_convnet": (0.8,)}
ROUNDS = {"one-shot": 1, "five steps": 5, "cubic": 10}
RATES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
"""Peak learning rates of each round's cosine, as shares of that of the dense training."""
FIRST_RATES = {"lenet300": (0.3, 3.0), "half_convnet": (0.1, 1.0)}
"""The lowest and the highest that every way is given."""


def grid(seeds: int) -> list[dict]:
    return [
        {
            "network": start["network"],
            "learning_rate": start["learning_rate"],
            "sparsity": sparsity,
            "method": method,
            "budgets": budgets,
            "seeds": seeds,
        }
        for budgets, methods in ((5, ("one-shot", "five steps")), (1, tuple(ROUNDS)))
        for start in networks("trajectories", 1)
        for sparsity in SPARSITIES[start["network"]]
        for method in methods
    ]


def measure(network: str, seeds: int, **setting) -> list[dict]:
    def rows_at(rate: float) -> list[dict]:
        how = {"network": network, **setting, "rate": rate}
        return [remember(retrained, **how, seed=seed) for seed in range(seeds)]

    return widened(rows_at, RATES, *FIRST_RATES[network])


def retrained(
    network: str,
    learning_rate: float,
    seed: int,
    sparsity: float,
    method: str,
    budgets: int,
    rate: float,
) -> dict:
    """The row of one network at one rate; where training diverges, what is left of it is chance."""
    data = load_data()
    model = dense_network(network, learning_rate, seed)
    rounds = ROUNDS[method]
    steps = budgets * BUDGET[network]
    try:
        gradual_pruning(
            model,
            data,
            sparsity_schedule("cubic" if method == "cubic" else "step", sparsity, rounds),
            steps_per_round=steps // rounds,
            finetune=partial(get_finetune_optimizer, lr=rate * learning_rate),
            seed=seed,
            progress=False,
        )
    except ValueError as error:
        if DIVERGED not in str(error):
            raise
    row = {"network": network, "seed": seed, "sparsity": sparsity, "method": method}
    row |= {"budgets": budgets, "steps": steps, "rate": rate}
    return row | accuracies(model, data)
