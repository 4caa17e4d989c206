"""The dense networks everything starts from (notebook 00): learning rates, seeds, checkpoints.

The learning rate and the seed of each shipped checkpoint are chosen on the validation split; the
test split is only reported.
"""

import pandas as pd
import torch
from torch import nn

from prunelab.data import load_data
from prunelab.lab.cache import remember
from prunelab.lab.results import load_results
from prunelab.models import CHECKPOINTS, NETWORKS
from prunelab.training import evaluate, fit

EPOCHS = {"lenet300": 15, "small_convnet": 10}
LEARNING_RATES = {
    "lenet300": (0.0003, 0.001, 0.003),
    "small_convnet": (0.003, 0.01, 0.03),
}


def grid(seeds: int) -> list[dict]:
    return [
        {"network": network, "learning_rate": learning_rate, "seed": seed}
        for network in EPOCHS
        for learning_rate in LEARNING_RATES[network]
        for seed in range(seeds)
    ]


def measure(network: str, learning_rate: float, seed: int) -> list[dict]:
    return remember(train, network=network, learning_rate=learning_rate, seed=seed)[0]


def train(network: str, learning_rate: float, seed: int) -> tuple[list[dict], dict]:
    """Train from scratch with Adam and one cosine decay; return the rows and the weights."""
    data = load_data()
    model = NETWORKS[network](seed=seed)
    steps = EPOCHS[network] * -(-len(data.train) // 128)
    history = fit(
        model,
        data,
        steps=steps,
        optimizer=lambda parameters: torch.optim.Adam(parameters, learning_rate, fused=True),
        scheduler=lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps),
        seed=seed,
        progress=False,
    )
    rows = [
        {
            "network": network,
            "learning_rate": learning_rate,
            "seed": seed,
            "epochs": EPOCHS[network],
            "split": split,
            **evaluate(model, getattr(data, split))._asdict(),
            "seconds": history["seconds"].iloc[-1],
        }
        for split in ("valid", "test")
    ]
    weights = {
        name: tensor.contiguous().cpu().clone() for name, tensor in model.state_dict().items()
    }
    return rows, weights


def networks(seeds: int) -> list[dict]:
    """The grid of a study that starts from the dense networks, at their best learning rates."""
    return [
        {"network": network, "learning_rate": best_learning_rate(network), "seed": seed}
        for network in EPOCHS
        for seed in range(seeds)
    ]


def best_learning_rate(network: str, table: pd.DataFrame | None = None) -> float:
    """The learning rate with the highest mean validation accuracy."""
    table = load_results("dense") if table is None else table
    rows = table[(table["network"] == network) & (table["split"] == "valid")]
    return float(rows.groupby("learning_rate")["accuracy"].mean().idxmax())


def dense_network(network: str, learning_rate: float, seed: int) -> nn.Module:
    """A trained network, from the cache if it has been trained here before."""
    weights = remember(train, network=network, learning_rate=learning_rate, seed=seed)[1]
    model = NETWORKS[network]()
    model.load_state_dict(weights)
    return model.eval()


def shipped_seed(network: str, table: pd.DataFrame) -> int:
    """The seed with the highest validation accuracy at the best learning rate."""
    rows = table[
        (table["network"] == network)
        & (table["split"] == "valid")
        & (table["learning_rate"] == best_learning_rate(network, table))
    ]
    return int(rows.set_index("seed")["accuracy"].idxmax())


def finish(table: pd.DataFrame) -> None:
    """Save the chosen network of each kind as the checkpoint that `pretrained` loads."""
    CHECKPOINTS.mkdir(parents=True, exist_ok=True)
    for network in EPOCHS:
        learning_rate = best_learning_rate(network, table)
        model = dense_network(network, learning_rate, shipped_seed(network, table))
        torch.save(model.state_dict(), CHECKPOINTS / f"{network}.pt")
