"""Masks found before training, the checks of what they carry, and masks that move (notebook 16).

Every network is trained for the same number of steps along one schedule, LR rewinding's. Only the
yardsticks need a trained network: one trains as many steps before its weights go, the other has
half of the steps before and half after. Rates are chosen on validation images of two networks that
are not among those compared, for each method and density, from a grid that is widened until its
best lies inside. A check repeats a method's training, at the method's own rate, after one thing
has been changed.
"""

import copy
import warnings
from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from prunelab.data import Split, load_data
from prunelab.early import grasp_scores, snip_scores, synflow_scores
from prunelab.engines.moving_masks import apply_erk, fit_sparse
from prunelab.finetuning import learning_rate_rewinding
from prunelab.lab.cache import remember
from prunelab.lottery import random_masks
from prunelab.masks import effective_weight, get_masks, prunable_layers, set_mask
from prunelab.models import INPUT_SHAPE
from prunelab.pruning import LayerCollapse, apply_global_pruning
from prunelab.rewinding import reinitialize, snapshot, weight_rewinding
from prunelab.studies import recovery
from prunelab.studies.shared import accuracies, cost, retrain, widened
from prunelab.training import evaluate

DENSITIES = {"lenet300": (0.5, 0.2, 0.05, 0.02), "convnet": (0.05,), "resnet20": (0.05,)}
"""The last two have studies of their own, `before_training_convnet` and `…_resnet20`."""
EARLY = ("SNIP", "GraSP", "SynFlow")
CHANCE = ("random, layerwise", "random, ERK")
MOVING = ("SET", "RigL")
YARDSTICKS = {"magnitude after training": (1.0, 1.0), "magnitude after half of it": (0.5, 0.5)}
"""Steps before the weights go, and after, as shares of the others' steps."""
CHECKED = (*EARLY, "magnitude after training")
CHECKS = ("shuffled within layers", "new weights", "scores inverted")
"""Frankle et al. (2021): places, values and order are taken away, one at a time."""
IMAGES = 1000
"""Training images that SNIP and GraSP look at."""
EVERY = 100
"""Steps between two moves of a mask."""
FIRST_RATES = (0.03, 0.3)


def grid(seeds: int) -> list[dict]:
    return points("lenet300", seeds)


def points(network: str, seeds: int) -> list[dict]:
    """All choices first."""
    cells = [
        {"network": network, "density": density, "method": method}
        for density in DENSITIES[network]
        for method in (*EARLY, *CHANCE, *MOVING, *YARDSTICKS)
    ]
    cells.insert(0, {"network": network, "density": 1.0, "method": "dense"})
    compared = [{**cell, "check": "none"} for cell in cells]
    compared += [
        {**cell, "check": check} for cell in cells if cell["method"] in CHECKED for check in CHECKS
    ]
    choices = [{**cell, "check": "none", "seed": None} for cell in cells]
    return [*choices, *({**point, "seed": seed} for seed in range(seeds) for point in compared)]


def measure(network: str, density: float, method: str, check: str, seed: int | None) -> list[dict]:
    """The rows of a choice (seed None), without test images; or the one row of a comparison."""
    cell = {"network": network, "density": density, "method": method}
    tries = remember(tried, **cell)
    if seed is None:
        return tries
    rate = recovery.best(tries, "rate")
    model = trained(**cell, check=check, seed=seed, rate=rate)
    row = {**cell, "check": check, "role": "comparison", "seed": seed, "rate": rate}
    row |= {"weights": recovery.kept(model), "empty_layers": empty_layers(model)}
    dense, sparse = YARDSTICKS.get(method, (0.0, 1.0))
    row["training_macs"] = dense + sparse * share_of_macs(model)
    return [row | accuracies(model, load_data())]


def tried(network: str, density: float, method: str) -> list[dict]:
    cell = {"network": network, "density": density, "method": method}
    return widened(partial(attempts, cell), recovery.RATES, *FIRST_RATES)


def attempts(cell: dict, rate: float) -> list[dict]:
    return [
        {**cell, "check": "none", "role": "choice", "seed": seed, "rate": rate}
        | {"valid_accuracy": remember(attempt, **cell, seed=seed, rate=rate)}
        for seed in recovery.TUNING_SEEDS
    ]


def attempt(**settings) -> float:
    """The validation accuracy after training; 0 if it left nothing whose mask could be moved."""
    try:
        model = trained(**settings, check="none")
    except ValueError as error:
        if recovery.DIVERGED not in str(error):
            raise
        return 0.0
    return evaluate(model, load_data().valid).accuracy


def trained(
    network: str, density: float, method: str, check: str, seed: int, rate: float
) -> nn.Module:
    original, data = recovery.ORIGINALS[network], load_data()
    model, size = original.build(seed=seed), original.batch_size
    before, after = (round(s * original.steps) for s in YARDSTICKS.get(method, (0.0, 1.0)))
    if before:
        first = {"network": network, "steps": before, "seed": seed}
        first["rate"] = recovery.dense_rate(network)
        weight_rewinding(model, remember(dense_weights, **first))
    if density < 1:
        mask(model, method, density, check, seed)
    if check == "new weights":
        reinitialize(model, seed=2000 + seed)
    pair = learning_rate_rewinding(model, after, lr=rate)
    if method in MOVING:
        optimizer, scheduler = pair
        how = {"optimizer": optimizer, "scheduler": scheduler, "every": EVERY, "seed": seed}
        grow = "gradient" if method == "RigL" else "random"
        how |= {"grow": grow, "batch_size": size, "eval_splits": (), "progress": False}
        fit_sparse(model, data, steps=after, **how)
    else:
        retrain(model, data, pair, after, seed=1000 + seed, batch_size=size)
    return model


def dense_weights(network: str, steps: int, seed: int, rate: float) -> dict:
    """What the yardsticks start from."""
    original, data = recovery.ORIGINALS[network], load_data()
    model = original.build(seed=seed)
    pair = learning_rate_rewinding(model, steps, lr=rate)
    retrain(model, data, pair, steps, seed=seed, batch_size=original.batch_size)
    return snapshot(model)


def mask(model: nn.Module, method: str, density: float, check: str, seed: int) -> None:
    """Mask a network by a method, and take one thing away from the mask if a check says so."""
    sparsity = round(1 - density, 6)
    with warnings.catch_warnings():  # an emptied layer is a result here
        warnings.simplefilter("ignore", LayerCollapse)
        if method == CHANCE[0]:
            apply_global_pruning(
                model, sparsity=sparsity, criterion="random", scope="layerwise", seed=seed
            )
        elif method == CHANCE[1] or method in MOVING:
            apply_erk(model, density, seed=seed)
        else:
            rounds = 100 if method == "SynFlow" else 1
            sign = -1 if check == "scores inverted" else 1
            for i in range(1, rounds + 1):
                scores = {n: sign * s for n, s in SCORES[method](model, seed).items()}
                so_far = round(1 - (1 - sparsity) ** (i / rounds), 9)
                apply_global_pruning(model, sparsity=so_far, criterion=scores)
    if check == "shuffled within layers":
        for name, moved in random_masks(get_masks(model), seed).items():
            set_mask(model.get_submodule(name), moved)


def images(seed: int) -> Split:
    data = load_data()
    order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(seed))
    return data.train[order[:IMAGES]]


def magnitude(model: nn.Module, seed: int) -> dict[str, torch.Tensor]:
    return {name: effective_weight(layer).abs() for name, layer in prunable_layers(model).items()}


SCORES: dict[str, Callable[[nn.Module, int], dict[str, torch.Tensor]]] = {
    "SNIP": lambda model, seed: snip_scores(model, images(seed)),
    "GraSP": lambda model, seed: grasp_scores(model, images(seed)),
    "SynFlow": lambda model, seed: synflow_scores(model, torch.zeros(1, *INPUT_SHAPE)),
    **dict.fromkeys(YARDSTICKS, magnitude),
}


def empty_layers(model: nn.Module) -> int:
    return sum(not kept.any() for kept in get_masks(model).values())


def share_of_macs(model: nn.Module) -> float:
    """Multiplications of a step with this mask, as a share of the dense network's."""
    x = torch.zeros(1, *INPUT_SHAPE)
    whole = copy.deepcopy(model)
    for layer in prunable_layers(whole).values():
        set_mask(layer, torch.ones_like(effective_weight(layer)))
    return cost(model, x)["macs"] / cost(whole, x)["macs"]
