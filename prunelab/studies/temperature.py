"""How much temperature and alpha of distillation matter (notebook 02)."""

from prunelab.data import load_data
from prunelab.distillation import distill
from prunelab.finetuning import get_finetune_optimizer
from prunelab.pruning import apply_global_pruning
from prunelab.studies.shared import networks, retrain, split_rows
from prunelab.studies.trajectories import dense_network

SPARSITY = 0.95
STEPS = 430
RATE = 0.3
"""Of the learning rate the dense network was trained with; it falls along a cosine."""
TEMPERATURES = (1.0, 2.0, 4.0, 8.0)
ALPHAS = (0.0, 0.1, 0.5, 0.9, 1.0)


def grid(seeds: int) -> list[dict]:
    return [
        {**start, "T": T, "alpha": alpha}
        for start in networks("trajectories", seeds)
        if start["network"] == "lenet300"
        for T in TEMPERATURES
        for alpha in ALPHAS
    ]


def measure(network: str, learning_rate: float, seed: int, T: float, alpha: float) -> list[dict]:
    data = load_data()
    dense = dense_network(network, learning_rate, seed)
    loss = distill(dense, T, alpha)
    model = apply_global_pruning(dense, sparsity=SPARSITY)
    pair = get_finetune_optimizer(model, STEPS, lr=RATE * learning_rate)
    retrain(model, data, pair, STEPS, seed, loss=loss)
    setting = {"network": network, "seed": seed, "sparsity": SPARSITY, "steps": STEPS}
    return split_rows(model, data, setting | {"T": T, "alpha": alpha})
