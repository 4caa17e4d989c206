"""Training with an L1 or L2 penalty, then pruning, before and after retraining (notebook 10)."""

import copy
import warnings

import pandas as pd
from torch import nn
from torch.nn import functional as F

from prunelab.data import Data, load_data
from prunelab.filters import weight_penalty
from prunelab.intervals import choose
from prunelab.models import lenet300
from prunelab.pruning import LayerCollapse, apply_global_pruning
from prunelab.studies.shared import accuracies, adam_with_cosine, retrain

STRENGTHS = {
    "none": (0.0,),
    "l1": (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3),
    "l2": (1e-4, 3e-4, 1e-3, 3e-3, 1e-2),
}
SPARSITIES = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98)
TRAIN_STEPS, RETRAIN_STEPS = 2150, 430
TRAIN_RATE, RETRAIN_RATE = 1e-3, 3e-4


def grid(seeds: int) -> list[dict]:
    return [
        {"penalty": penalty, "strength": strength, "seed": seed}
        for penalty, strengths in STRENGTHS.items()
        for strength in strengths
        for seed in range(seeds)
    ]


def measure(penalty: str, strength: float, seed: int) -> list[dict]:
    data = load_data()
    dense = lenet300(seed=seed)
    train(dense, data, penalty, strength, TRAIN_STEPS, TRAIN_RATE, seed)
    rows = []
    for sparsity in SPARSITIES:
        pruned = copy.deepcopy(dense)
        with warnings.catch_warnings():  # an emptied layer is a result here
            warnings.simplefilter("ignore", LayerCollapse)
            apply_global_pruning(pruned, sparsity=sparsity)
        networks = {("", 0.0): pruned}
        for retrained_with, its_strength in retraining(penalty, strength):
            model = copy.deepcopy(pruned)
            train(
                model, data, retrained_with, its_strength, RETRAIN_STEPS, RETRAIN_RATE, 1000 + seed
            )
            networks[retrained_with, its_strength] = model
        for (retrained_with, its_strength), model in networks.items():
            row = {"network": "lenet300", "seed": seed, "penalty": penalty, "strength": strength}
            row |= {"sparsity": sparsity, "retraining": retrained_with or "before"}
            row["retraining_strength"] = its_strength
            rows.append(row | accuracies(model, data))
    return rows


def retraining(penalty: str, strength: float) -> list[tuple[str, float]]:
    """The penalties to retrain with: its own, and after L1 also the middle strength of L2."""
    middle = STRENGTHS["l2"][len(STRENGTHS["l2"]) // 2]
    crossed = [("l2", middle)] if penalty == "l1" else []
    return [(penalty, strength), *crossed]


def train(
    model: nn.Module,
    data: Data,
    penalty: str,
    strength: float,
    steps: int,
    learning_rate: float,
    seed: int,
) -> None:
    def loss(outputs, labels):
        return F.cross_entropy(outputs, labels) + strength * weight_penalty(model, penalty)

    pair = adam_with_cosine(model, steps, learning_rate)
    retrain(model, data, pair, steps, seed, loss=None if penalty == "none" else loss)


def tuned(table: pd.DataFrame) -> pd.DataFrame:
    """The rows at the strength with the best mean validation accuracy at each sparsity."""
    return table.merge(choose(table, ["penalty", "retraining", "sparsity"], "strength"))
