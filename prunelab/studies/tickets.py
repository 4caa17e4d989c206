"""What the studies of lottery tickets share: the paper's recipe, kinds of networks, and rows."""

import numpy as np
import pandas as pd
from torch import nn

from prunelab.lottery import random_masks
from prunelab.masks import kept_weights, prunable_layers
from prunelab.models import lenet300
from prunelab.rewinding import State, reinitialize, snapshot, weight_rewinding

RATES = {"fc1": 0.2, "fc2": 0.2, "fc3": 0.1}
"""Of LeNet-300-100: the share of a layer that a round prunes."""
LEARNING_RATE, BATCH_SIZE = 1.2e-3, 60
EVALUATE_EVERY = 100
PURPOSES = ("split", "init", "order", "reinit", "mask", "sample")


def seed_for(trial: int, purpose: str, *which: int) -> int:
    """A seed of its own for everything random in a trial."""
    key = [trial, PURPOSES.index(purpose), *which]
    return int(np.random.SeedSequence(key).generate_state(1)[0])


def as_kind(
    model: nn.Module, kind: str, masks: State, seed: int, round: int, replicate: int
) -> nn.Module:
    """Make a network the ticket of the masks, or a control with as many weights, in place."""
    if kind == "random mask":
        masks = random_masks(masks, seed_for(seed, "mask", round))
    weight_rewinding(model, snapshot(model), masks)
    if kind.endswith("reinit"):
        reinitialize(model, seed_for(seed, "reinit", round, replicate))
    return model


def weights_left(rounds: int) -> dict[str, int]:
    """Weights of each layer of LeNet-300-100 after a number of rounds of equation (11.1)."""
    left = {name: layer.weight.numel() for name, layer in prunable_layers(lenet300()).items()}
    for _ in range(rounds):
        left = {name: count - round(RATES[name] * count) for name, count in left.items()}
    return left


def density(masks: State) -> float:
    """Weights kept / weights, biases not counted."""
    return sum(m.sum().item() for m in masks.values()) / sum(m.numel() for m in masks.values())


def density_of(model: nn.Module) -> float:
    """The density of a network, masked or not."""
    return density({n: kept_weights(layer) for n, layer in prunable_layers(model).items()})


def curve(history: pd.DataFrame, first: int = 0) -> pd.DataFrame:
    """A history of training as these studies record it: a row an evaluation.

    Args:
        history: what `fit` or an engine returns.
        first: the iteration at which the training began.

    Returns:
        `iteration`, `valid_loss`, `valid_accuracy` and, if it was measured, `test_accuracy`.
    """
    splits = {name: rows.set_index("step") for name, rows in history.groupby("split")}
    valid = splits["valid"]
    table = pd.DataFrame(
        {
            "iteration": valid.index + first,
            "valid_loss": valid["loss"].to_numpy(),
            "valid_accuracy": valid["accuracy"].to_numpy(),
        }
    )
    if "test" in splits:
        table["test_accuracy"] = splits["test"]["accuracy"].to_numpy()
    return table


def row_at(table: pd.DataFrame, iteration: int) -> dict:
    """The row of a curve at an iteration."""
    return table[table["iteration"] == iteration].to_dict("records")[0]
