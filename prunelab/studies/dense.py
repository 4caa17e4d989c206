"""The dense networks everything starts from (notebook 00): learning rates, seeds, checkpoints.

The learning rate and the seed of each shipped checkpoint are chosen on the validation split; the
test split is only reported.
"""

import pandas as pd
import torch
from torch import nn

from prunelab.data import load_data
from prunelab.lab.cache import remember
from prunelab.models import CHECKPOINTS, NETWORKS
from prunelab.studies.shared import adam_with_cosine, best_learning_rates, split_rows, with_weights
from prunelab.training import fit

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
    optimizer, scheduler = adam_with_cosine(model, steps, learning_rate)
    history = fit(
        model,
        data,
        steps=steps,
        optimizer=optimizer,
        scheduler=scheduler,
        seed=seed,
        progress=False,
    )
    seconds = history["seconds"].iloc[-1]
    setting = {"network": network, "learning_rate": learning_rate, "seed": seed}
    setting["epochs"] = EPOCHS[network]
    rows = [row | {"seconds": seconds} for row in split_rows(model, data, setting)]
    weights = {
        name: tensor.contiguous().cpu().clone() for name, tensor in model.state_dict().items()
    }
    return rows, weights


def dense_network(network: str, learning_rate: float, seed: int) -> nn.Module:
    """A trained network, from the cache if it has been trained here before."""
    weights = remember(train, network=network, learning_rate=learning_rate, seed=seed)[1]
    return with_weights(NETWORKS[network], weights)


def shipped(table: pd.DataFrame) -> list[dict]:
    """Of each network: the seed with the highest validation accuracy at the best learning rate."""
    chosen = []
    for network, learning_rate in best_learning_rates(table).items():
        rows = table[(table["network"] == network) & (table["learning_rate"] == learning_rate)]
        accuracy = rows[rows["split"] == "valid"].set_index("seed")["accuracy"]
        seed = int(accuracy.idxmax())
        chosen.append({"network": network, "learning_rate": learning_rate, "seed": seed})
    return chosen


def finish(table: pd.DataFrame) -> None:
    """Save the chosen network of each kind as the checkpoint that `pretrained` loads."""
    CHECKPOINTS.mkdir(parents=True, exist_ok=True)
    for run in shipped(table):
        torch.save(dense_network(**run).state_dict(), CHECKPOINTS / f"{run['network']}.pt")
