"""What fine-tuning does to the zeros, masked and made permanent too early (notebook 06)."""

import copy

import torch

from prunelab.data import load_data
from prunelab.masks import make_pruning_permanent
from prunelab.pruning import apply_global_pruning
from prunelab.sparsity import total_sparsity
from prunelab.studies.dense import dense_network
from prunelab.studies.shared import networks, retrain
from prunelab.training import evaluate

SPARSITY = 0.9
STEPS = (0, 1, 10, 100, 430)


def grid(seeds: int) -> list[dict]:
    return networks("dense", seeds)


def measure(network: str, learning_rate: float, seed: int) -> list[dict]:
    data = load_data()
    masked = apply_global_pruning(dense_network(network, learning_rate, seed), sparsity=SPARSITY)
    rows = []
    for order in ("fine-tune, then permanent", "permanent, then fine-tune"):
        for steps in STEPS:
            model = copy.deepcopy(masked)
            if order == "permanent, then fine-tune":
                make_pruning_permanent(model)
            if steps:
                optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)
                retrain(model, data, (optimizer, None), steps, seed)
            make_pruning_permanent(model)
            rows.append(
                {
                    "network": network,
                    "seed": seed,
                    "order": order,
                    "steps": steps,
                    "sparsity": total_sparsity(model),
                    **evaluate(model, data.test)._asdict(),
                }
            )
    return rows
