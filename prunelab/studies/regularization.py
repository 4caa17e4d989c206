"""Training with an L1 or L2 penalty, then pruning, before and after retraining (notebook 10).

All train by Adam along a cosine, the penalty a part of the loss. The strengths and the rate of
retraining are chosen on validation images of two networks that are not among those compared, one
after the other until none moves; each grid is widened until its best value lies inside.
"""

import warnings
from functools import partial

import pandas as pd
from torch import nn
from torch.nn import functional as F

from prunelab.data import load_data
from prunelab.filters import weight_penalty
from prunelab.lab.cache import remember
from prunelab.models import lenet300
from prunelab.pruning import LayerCollapse, apply_global_pruning
from prunelab.rewinding import State, snapshot
from prunelab.studies.shared import accuracies, adam_with_cosine, retrain, widened, with_weights
from prunelab.training import evaluate

STRENGTHS = {
    "none": (0.0,),
    "l1": (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3),
    "l2": (1e-4, 3e-4, 1e-3, 3e-3, 1e-2),
}
"""At the lower end: a weaker penalty is none, which is a method of its own."""
RATES = (3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1)
"""All learning rates of retraining."""
FIRST_RATE = 3e-4
METHODS = {
    ("none", "none"): (2150, 430),
    ("l1", "l1"): (2150, 430),
    ("l2", "l2"): (2150, 430),
    ("l1", "l2"): (430,),
}
"""The penalty of training and that of retraining, and how many steps are retrained: as many as
were trained, and a fifth of them."""
SPARSITIES = (0.5, 0.8, 0.9, 0.95, 0.98)
TRAIN_STEPS, TRAIN_RATE = 2150, 1e-3
SETTINGS = ["strength", "retraining_strength", "rate"]
TUNING_SEEDS = (100, 101)
"""Networks on which settings are chosen; those that are compared have the seeds from 0 up."""


def grid(seeds: int) -> list[dict]:
    """What choices need first, then the choices, then one network after the other."""
    penalties = [
        {"penalty": p, "strength": s} for p, strengths in STRENGTHS.items() for s in strengths
    ]
    retrained = [
        {"penalty": before, "retraining": after, "sparsity": sparsity, "steps": steps}
        for (before, after), lengths in METHODS.items()
        for steps in lengths
        for sparsity in (SPARSITIES if before != "none" else (*SPARSITIES, 0.0))
    ]
    retrained.sort(key=lambda cell: -cell["steps"])
    return [
        *({**penalty, "seed": seed} for seed in TUNING_SEEDS for penalty in penalties),
        *({**cell, "seed": None} for cell in retrained),
        *({**point, "seed": seed} for seed in range(seeds) for point in (*penalties, *retrained)),
    ]


def measure(penalty: str, seed: int | None, **point) -> list[dict]:
    """Rows of a network without retraining, of a choice (seed None), or of one retrained network.

    Networks and choices that are not compared have no test accuracy.
    """
    if "strength" in point:
        return unretrained(penalty, point["strength"], seed)
    tries = remember(tried, penalty=penalty, **point)
    if seed is None:
        return tries
    how = best(tries)
    model = retrained(penalty=penalty, seed=seed, **point, **how)
    return [row_of(penalty, seed, **point, **how) | accuracies(model, load_data())]


def unretrained(penalty: str, strength: float, seed: int) -> list[dict]:
    """The rows of one network at all sparsities."""
    splits = ("valid",) if seed in TUNING_SEEDS else ("valid", "test")
    rows = []
    for sparsity in (0.0, *SPARSITIES):
        model = pruned(penalty, strength, seed, sparsity)
        row = row_of(penalty, seed, sparsity, "before", 0, strength)
        rows.append(row | accuracies(model, load_data(), splits))
    return rows


def row_of(
    penalty: str,
    seed: int,
    sparsity: float,
    retraining: str,
    steps: int,
    strength: float,
    retraining_strength: float | None = None,
    rate: float | None = None,
) -> dict:
    role = "choice" if seed in TUNING_SEEDS else "comparison"
    row = {"network": "lenet300", "role": role, "seed": seed, "sparsity": sparsity}
    row |= {"penalty": penalty, "strength": strength, "retraining": retraining, "steps": steps}
    return row | {"retraining_strength": retraining_strength, "rate": rate}


def tried(penalty: str, retraining: str, sparsity: float, steps: int) -> list[dict]:
    """Attempts with one setting after the other, until none of them moves."""
    cell = {"penalty": penalty, "retraining": retraining, "sparsity": sparsity, "steps": steps}
    grids = settings_of(penalty, retraining)
    at = {setting: values[len(values) // 2] for setting, values in grids.items()}
    at |= {"rate": FIRST_RATE}
    rows: list[dict] = []
    while True:
        before = dict(at)
        for setting, values in grids.items():
            attempts_at = partial(attempts, cell, at, setting)
            i = values.index(at[setting])
            low, high = values[max(i - 1, 0)], values[min(i + 1, len(values) - 1)]
            rows += widened(attempts_at, values, low, high, setting)
            at = best(rows)
        if at == before:
            return pd.DataFrame(rows).drop_duplicates().to_dict("records")


def settings_of(penalty: str, retraining: str) -> dict[str, tuple[float, ...]]:
    """What a method leaves open; a penalty that stays keeps its strength in retraining."""
    grids = {"rate": RATES}
    if penalty != "none":
        grids["strength"] = STRENGTHS[penalty]
    if retraining != penalty:
        grids["retraining_strength"] = STRENGTHS[retraining]
    return grids


def attempts(cell: dict, at: dict, setting: str, value: float) -> list[dict]:
    """A row for each tuning network, retrained with one of the settings at this value."""
    how = {"strength": 0.0, **at, setting: value}
    if cell["retraining"] == cell["penalty"]:
        how["retraining_strength"] = how["strength"]
    return [
        row_of(seed=seed, **cell, **how)
        | {"valid_accuracy": remember(attempt, seed=seed, **cell, **how)}
        for seed in TUNING_SEEDS
    ]


def attempt(**settings) -> float:
    """The validation accuracy after retraining."""
    return evaluate(retrained(**settings), load_data().valid).accuracy


def best(tries: list[dict]) -> dict[str, float]:
    """The settings with the best mean validation accuracy; of two as good, those tried first."""
    means = pd.DataFrame(tries).groupby(SETTINGS, sort=False)["valid_accuracy"].mean()
    return dict(zip(SETTINGS, map(float, means.idxmax()), strict=True))


def retrained(
    penalty: str,
    retraining: str,
    sparsity: float,
    steps: int,
    seed: int,
    strength: float,
    retraining_strength: float,
    rate: float,
) -> nn.Module:
    """A network trained, pruned and retrained."""
    model = pruned(penalty, strength, seed, sparsity)
    train(model, retraining, retraining_strength, steps, rate, seed=1000 + seed)
    return model


def pruned(penalty: str, strength: float, seed: int, sparsity: float) -> nn.Module:
    """A network trained with a penalty, then pruned globally by magnitude."""
    state = remember(trained, penalty=penalty, strength=strength, seed=seed)
    model = with_weights(lenet300, state)
    with warnings.catch_warnings():  # an emptied layer is a result here
        warnings.simplefilter("ignore", LayerCollapse)
        return apply_global_pruning(model, sparsity=sparsity)


def trained(penalty: str, strength: float, seed: int) -> State:
    model = lenet300(seed=seed)
    train(model, penalty, strength, TRAIN_STEPS, TRAIN_RATE, seed)
    return snapshot(model)


def train(
    model: nn.Module, penalty: str, strength: float, steps: int, rate: float, seed: int
) -> None:
    def loss(outputs, labels):
        return F.cross_entropy(outputs, labels) + strength * weight_penalty(model, penalty)

    pair = adam_with_cosine(model, steps, rate)
    retrain(model, load_data(), pair, steps, seed, loss=None if penalty == "none" else loss)
