"""Every way back at one budget: what the studies recovery_lenet300, _convnet and _resnet20 share.

All train by SGD with momentum 0.9 and weight decay 5e-4. Where a method leaves its learning rate
(or a teacher's share) open, validation images choose it, for every network, density and budget
anew, on two networks that are not among those compared; the grid is widened until its best point
lies inside. Test images are seen once, by what was chosen.
"""

import copy
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import pandas as pd
import torch
from scipy.optimize import bisect
from torch import nn

from prunelab.batchnorm import recalibrate_bn
from prunelab.data import Data, load_data
from prunelab.distillation import distill
from prunelab.finetuning import get_finetune_optimizer, learning_rate_rewinding, one_cycle
from prunelab.gradual import gradual_pruning, sparsity_schedule
from prunelab.intervals import choose
from prunelab.lab.cache import remember
from prunelab.lottery import random_masks
from prunelab.masks import get_masks, kept_weights, prunable_layers
from prunelab.models import lenet300, resnet20, small_convnet
from prunelab.pruning import apply_global_pruning
from prunelab.rewinding import State, reinitialize, snapshot, weight_rewinding
from prunelab.sparsity import bytes_on_disk
from prunelab.studies.shared import accuracies, cost, of_kept_channels, retrain, with_weights
from prunelab.surgery import prune_network
from prunelab.training import evaluate


class Original(NamedTuple):
    """A dense network, the steps it is trained for, and the images of a step."""

    build: Callable[..., nn.Module]
    steps: int
    batch_size: int


ORIGINALS = {
    "lenet300": Original(lenet300, 2150, 128),  # 5 epochs
    "convnet": Original(partial(small_convnet, width=12), 1290, 64),  # 1.5 epochs
    "resnet20": Original(partial(resnet20, width=8), 860, 64),  # 1 epoch
}
BUDGETS = (0.25, 1.0)
"""Steps of retraining, as shares of the steps of the dense training."""
EARLY = 0.1
"""The share of the dense training after which its weights are kept, to be rewound to."""
RATES = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""All learning rates there are; a search begins with three neighbors and widens."""
ALPHAS = (0.0, 0.5, 0.9)
"""Shares of the labels in the loss beside a teacher; a share of 1 is the method without one."""
TEMPERATURE = 4.0
"""The study `temperature` found it best on validation images, inside its grid."""
TUNING_SEEDS = (100, 101)
"""Networks on which rates are chosen; those that are compared have the seeds from 0 up."""
ROUNDS = 10
"""Of gradual pruning, a part of the budget each."""
DIVERGED = "a weight that is NaN or infinite"
"""What pruning says of a network that was trained at too high a rate."""

DENSE = {"pruned": "nothing", "density": 1.0}
TRAINING = DENSE | {"method": "training", "budget": 1.0}
UNTRAINED = ("as pruned", "BN recalibration")
WAYS = dict.fromkeys(UNTRAINED, (0.0,)) | {
    "last rate": BUDGETS,
    "constant": (0.25,),
    "cosine": BUDGETS,
    "one-cycle": (0.25,),
    "LR rewinding": BUDGETS,
    "weight rewinding": BUDGETS,
    "rewinding to early": (1.0,),
    "distillation": BUDGETS,
    "distillation, LR rewinding": BUDGETS,
    "gradual": BUDGETS,
    "scratch": BUDGETS,
    "random mask": BUDGETS,
}
"""Every way back, with its budgets; "scratch" and "random mask" are the controls."""
BESIDE = dict.fromkeys(UNTRAINED, (0.0,)) | dict.fromkeys(("cosine", "LR rewinding"), BUDGETS)
"""At the other densities: the two that need least tuning."""
AS_LONG = {"as pruned": (0.0,)} | dict.fromkeys(
    ("last rate", "cosine", "LR rewinding", "distillation"), BUDGETS
)
"""What the dense network is given: nothing, or as many more steps."""
FEWER_WAYS = dict.fromkeys(UNTRAINED, (0.0,)) | {
    "last rate": (1.0,),
    "cosine": BUDGETS,
    "LR rewinding": BUDGETS,
    "rewinding to early": (1.0,),
    "distillation": BUDGETS,
    "gradual": (1.0,),
    "scratch": BUDGETS,
    "random mask": BUDGETS,
}
"""For a network whose steps are dear."""
FEWER_AS_LONG = {"as pruned": (0.0,)} | dict.fromkeys(("cosine", "LR rewinding"), BUDGETS)
OPEN = {  # what a method leaves open
    "training": ("rate",),
    "constant": ("rate",),
    "cosine": ("rate",),
    "one-cycle": ("rate",),
    "gradual": ("rate",),
    "distillation": ("rate", "alpha"),
    "distillation, LR rewinding": ("alpha",),
}
LIKE_COSINE = ("constant", "one-cycle", "distillation")
"""Their search begins with the rate that was chosen for the cosine."""


def points(
    network: str,
    seeds: int,
    levels: list[tuple[dict[str, tuple[float, ...]], dict[str, tuple[float, ...]]]],
) -> list[dict]:
    """All choices first, each after those it begins with, so that nothing is chosen twice at once.

    Args:
        network: one of `ORIGINALS`.
        seeds: networks that are compared.
        levels: pairs of densities, by what is pruned, and the ways that are tried there with
            their budgets.
    """
    cells = [
        {"pruned": pruned, "density": density, "method": method, "budget": budget}
        for densities, ways in levels
        for pruned, several in densities.items()
        for density in several
        for method, budgets in ways.items()
        for budget in budgets
        if not (method == "gradual" and pruned.startswith("filters"))
        and not (method == "BN recalibration" and network == "lenet300")
    ]
    cells = [{"network": network} | cell for cell in cells]
    choices = [{**cell, "seed": None} for cell in cells if cell["method"] in OPEN]
    choices.sort(key=lambda cell: cell["method"] in LIKE_COSINE)
    first = {"network": network, **TRAINING, "seed": None}
    return [first, *choices, *({**cell, "seed": seed} for seed in range(seeds) for cell in cells)]


def measure(
    network: str, pruned: str, density: float, method: str, budget: float, seed: int | None
) -> list[dict]:
    """The rows of a choice (seed None), without test images; or the one row of a comparison."""
    cell = {"network": network, "pruned": pruned, "density": density}
    cell |= {"method": method, "budget": budget}
    if seed is None:
        return remember(tried, **cell)
    data, how = load_data(), chosen(**cell)
    model = recovered(**cell, seed=seed, **how)
    row = {**cell, "role": "comparison", "seed": seed, **how, **size(model)}
    return [row | accuracies(model, data)]


def tried(network: str, pruned: str, density: float, method: str, budget: float) -> list[dict]:
    """Train the tuning networks at every rate, then beside a teacher with every alpha."""
    cell = {"network": network, "pruned": pruned, "density": density}
    cell |= {"method": method, "budget": budget}
    usual = usual_settings(cell)
    rows = rates_tried(cell, usual) if "rate" in OPEN[method] else []
    if "alpha" in OPEN[method]:
        rate = best(rows, "rate") if rows else usual["rate"]
        known = [row["alpha"] for row in rows]
        for alpha in ALPHAS:
            if alpha not in known:
                rows += attempts(cell, rate, alpha)
    return rows


def rates_tried(cell: dict, usual: dict) -> list[dict]:
    """Attempts at a rate and its two neighbors, widened until the best lies inside."""
    usually = min(max(RATES.index(usual["rate"]), 1), len(RATES) - 2)
    low, high = usually - 1, usually + 1
    rows = [row for r in RATES[low : high + 1] for row in attempts(cell, r, usual["alpha"])]
    while True:
        edge = choose(pd.DataFrame(rows), ["method"], "rate")["edge"].item()
        if edge == "low" and low > 0:
            low -= 1
            rows += attempts(cell, RATES[low], usual["alpha"])
        elif edge == "high" and high < len(RATES) - 1:
            high += 1
            rows += attempts(cell, RATES[high], usual["alpha"])
        else:
            return rows


def attempts(cell: dict, rate: float, alpha: float | None) -> list[dict]:
    how = {"rate": rate, "alpha": alpha}
    return [
        {**cell, "role": "choice", "seed": seed, **how}
        | {"valid_accuracy": remember(attempt, **cell, seed=seed, **how)}
        for seed in TUNING_SEEDS
    ]


def attempt(**settings) -> float:
    """The validation accuracy after training; 0 if it left nothing that could be pruned further."""
    try:
        model = recovered(**settings)
    except ValueError as error:
        if DIVERGED not in str(error):
            raise
        return 0.0
    return evaluate(model, load_data().valid).accuracy


def best(rows: list[dict], setting: str) -> float:
    return choose(pd.DataFrame(rows), ["method"], setting)[setting].item()


def chosen(**cell) -> dict:
    """The rate and the alpha that a method is given."""
    how = usual_settings(cell)
    if cell["method"] in OPEN:
        rows = remember(tried, **cell)
        if "rate" in OPEN[cell["method"]]:
            how["rate"] = best([row for row in rows if row["alpha"] == how["alpha"]], "rate")
        if "alpha" in OPEN[cell["method"]]:
            how["alpha"] = best([row for row in rows if row["rate"] == how["rate"]], "alpha")
    return how


def usual_settings(cell: dict) -> dict:
    """What a method without a search is given, the dense training's rate; or where one begins."""
    method = cell["method"]
    if method in UNTRAINED:
        return {"rate": None, "alpha": None}
    if method == "training":
        rate = 0.1
    elif method in LIKE_COSINE:
        rate = chosen(**cell | {"method": "cosine"})["rate"]
    else:
        rate = dense_rate(cell["network"])
    alpha = 0.5 if method.startswith("distillation") else None
    return {"rate": rate, "alpha": alpha}


def dense_rate(network: str) -> float:
    return chosen(network=network, **TRAINING)["rate"]


def recovered(
    network: str,
    pruned: str,
    density: float,
    method: str,
    budget: float,
    seed: int,
    rate: float | None,
    alpha: float | None,
    dense_at: float | None = None,
) -> nn.Module:
    """A network trained (at the rate `dense_at`, or the chosen one), pruned and brought back."""
    original, data = ORIGINALS[network], load_data()
    if dense_at is None:
        dense_at = rate if method == "training" else dense_rate(network)
    states = remember(training, network=network, seed=seed, rate=dense_at)
    if method == "training":
        return with_weights(original.build, states["end"])
    steps = round(budget * original.steps)
    dense = with_weights(original.build, states["end"])
    if method == "gradual":
        return pruned_gradually(dense, data, density, steps, original.batch_size, rate, seed)
    model = without(dense, pruned, density, random=seed if method == "random mask" else None)
    if method == "as pruned":
        return model
    if method == "BN recalibration":
        return recalibrate_bn(model, data.train.x[:5000])
    if method == "rewinding to early":
        steps = original.steps - round(EARLY * original.steps)
        weight_rewinding(model, of_kept_channels(states["early"], model))
    elif method == "weight rewinding":
        weight_rewinding(model, of_kept_channels(states[f"{budget} to go"], model))
    elif method == "scratch":
        reinitialize(model, seed=1000 + seed)
    pair = schedule(model, method, rate, steps, original.steps)
    loss = None if alpha is None else distill(dense, TEMPERATURE, alpha)
    how = {"loss": loss, "batch_size": original.batch_size}
    retrain(model, data, pair, steps, seed=1000 + seed, **how)
    return model


def training(network: str, seed: int, rate: float) -> dict[str, State]:
    """The dense network's weights at every moment to which a method goes back."""
    original, data = ORIGINALS[network], load_data()
    model, size = original.build(seed=seed), original.batch_size
    pair = learning_rate_rewinding(model, original.steps, lr=rate)
    moments = {f"{budget} to go": 1 - budget for budget in BUDGETS} | {"early": EARLY, "end": 1.0}
    states, reached = {}, 0
    for i, (name, share) in enumerate(sorted(moments.items(), key=lambda moment: moment[1])):
        step = round(share * original.steps)
        if step > reached:
            retrain(model, data, pair, step - reached, seed=10 * seed + i, batch_size=size)
        states[name], reached = snapshot(model), step
    return states


def without(dense: nn.Module, pruned: str, density: float, random: int | None) -> nn.Module:
    """A copy that keeps `density` of the weights: those of largest magnitude, or at random."""
    if pruned == "nothing":
        return copy.deepcopy(dense)
    if pruned.startswith("weights"):
        model = copy.deepcopy(dense)
        scope = "layerwise" if pruned.endswith("layerwise") else "global"
        apply_global_pruning(model, sparsity=round(1 - density, 6), scope=scope)
        if random is not None:
            weight_rewinding(model, snapshot(dense), random_masks(get_masks(model), random))
        return model
    scope = "global" if pruned.endswith("global") else "uniform"
    cut = partial(prune_network, dense, example_inputs=load_data().train.x[:1], scope=scope)
    if random is not None:
        cut = partial(cut, criterion="random", seed=random)

    def excess(ratio: float) -> float:
        return kept(cut(ratio)) - density * kept(dense) - 0.5

    return cut(bisect(excess, 0.0, 0.99, xtol=1e-3))


def pruned_gradually(
    model: nn.Module,
    data: Data,
    density: float,
    steps: int,
    batch_size: int,
    rate: float,
    seed: int,
) -> nn.Module:
    """Pruned in ten rounds, with a cosine of its own in each."""
    gradual_pruning(
        model,
        data,
        sparsity_schedule("cubic", round(1 - density, 6), ROUNDS),
        steps_per_round=steps // ROUNDS,
        batch_size=batch_size,
        finetune=partial(get_finetune_optimizer, lr=rate),
        seed=1000 + seed,
        eval_splits=(),
        progress=False,
    )
    return model


def schedule(model: nn.Module, method: str, rate: float, steps: int, original_steps: int):
    """The learning rates of a method; without one of its own, the dense training's, squeezed."""
    if method in ("constant", "last rate"):
        rate = rate / 100 if method == "last rate" else rate
        return torch.optim.SGD(model.parameters(), rate, 0.9, weight_decay=5e-4, fused=True), None
    if method in ("one-cycle", "cosine", "distillation"):
        make = one_cycle if method == "one-cycle" else get_finetune_optimizer
        return make(model, steps, lr=rate)
    whole = original_steps if "rewinding to" in method or method == "weight rewinding" else steps
    return learning_rate_rewinding(model, steps, lr=rate, original_steps=whole)


def size(model: nn.Module) -> dict[str, int]:
    """Weights, parameters and multiplications left, and bytes in the smallest format."""
    formats = bytes_on_disk(model).set_index("format")["bytes"]
    smallest = int(formats[["dense", "permanent, zlib", "CSR", "bitmap"]].min())
    return {"weights": kept(model), **cost(model, load_data().train.x[:1]), "bytes": smallest}


def kept(model: nn.Module) -> int:
    """Prunable weights that are left."""
    return sum(int(kept_weights(layer).sum()) for layer in prunable_layers(model).values())
