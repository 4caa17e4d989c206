"""Lottery tickets of LeNet-300-100 taken apart: masks, signs and zeros (notebook 14).

Zhou et al. (2019), arXiv:1905.01067, varies which weights are kept (`criterion`), what those start
from (`values`) and what the others are set to (`pruned`). Here with one-shot masks, all from the
trial's dense network after its last iteration. Recipe as in `lottery_tickets`, but for the number
of iterations; biases start at zero. The experiments:

- "dense": the network that the masks come from.
- "masks": nothing is trained.
- "signs": the kept weights are trained; measured at the lowest validation loss.
- "zeros": as "signs", but measured after the last iteration, in all arms: pruned weights that are
  not zero need `fit`, which keeps no earlier weights.
- "learned masks": weights and biases stay as they are, and each weight's probability of being kept
  is trained, from 0.5 on; measured after the last iteration, mean over `SAMPLES` drawn masks. The
  authors use SGD and, for MNIST, 2,000 epochs; here it is Adam.
"""

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from prunelab.data import Data, load_data
from prunelab.engines.masked_mlp import fit_masked
from prunelab.lab.cache import remember
from prunelab.lottery import early_stop, random_masks, supermask
from prunelab.masks import kept_weights
from prunelab.models import lenet300
from prunelab.rewinding import State, snapshot, weight_rewinding
from prunelab.studies.shared import accuracies, retrain
from prunelab.studies.tickets import (
    BATCH_SIZE,
    EVALUATE_EVERY,
    LEARNING_RATE,
    RATES,
    density,
    seed_for,
    weights_left,
)

ROUNDS = {
    "masks": (0, 1, 2, 3, 5, 7, 9, 12, 15, 18),
    "signs": (7, 12, 18),
    "zeros": (7, 18),
}
"""Rounds of (11.1): 3, 7, 12, 15 and 18 keep 51.3, 21.1, 7.0, 3.6 and 1.9 % of the weights."""
CRITERIA = ("large final", "large final, same sign", "magnitude increase", "random")
ARMS = {
    "dense": [("all", "initial", "none")],
    "masks": [
        (criterion, values, "zero")
        for criterion in CRITERIA
        for values in ("initial", "signed constant")
    ],
    "signs": [
        ("large final", values, "zero")
        for values in (
            "initial",
            "random reinit",
            "reinit, initial signs",
            "signed constant",
            "constant, random signs",
        )
    ],
    "zeros": [
        ("large final", "initial", pruned) for pruned in ("zero", "initial", "initial if it grew")
    ],
    "learned masks": [
        ("learned", values, "zero")
        for values in (
            "initial",
            "signed constant",
            "initial, rescaled",
            "signed constant, rescaled",
        )
    ],
}
"""The arms of each experiment: `criterion`, `values` and `pruned`."""
MASK_LEARNING_RATES = (0.03, 0.1, 0.3)
"""Adam's, in "learned masks", which are measured with each."""
SAMPLES = 10


SCALES = {"quick": {"seeds": 2, "iterations": 200}}


def grid(seeds: int, iterations: int = 5_000, dataset: str = "fashion-mnist") -> list[dict]:
    """One point an arm and trial, with all its densities.

    Args:
        seeds: trials.
        iterations: training iterations of each run.
        dataset: "fashion-mnist", or "mnist" if it is in the data folder.
    """
    return [
        {
            "experiment": experiment,
            "criterion": criterion,
            "values": values,
            "pruned": pruned,
            "seed": seed,
            "iterations": iterations,
            "dataset": dataset,
            **rate,
        }
        for experiment, arms in ARMS.items()
        for criterion, values, pruned in arms
        for rate in mask_learning_rates(experiment)
        for seed in range(seeds)
    ]


def mask_learning_rates(experiment: str) -> list[dict]:
    """What sets apart the points of an arm besides the trial: nothing where no mask is learned."""
    rates = MASK_LEARNING_RATES if experiment == "learned masks" else ()
    return [{"mask_learning_rate": rate} for rate in rates] or [{}]


def describe(
    experiment: str,
    criterion: str,
    values: str,
    pruned: str,
    seed: int,
    mask_learning_rate: float | None = None,
    **rest,
) -> str:
    """A point in words, for the progress bar."""
    rate = f", learning rate {mask_learning_rate}" if mask_learning_rate else ""
    return f"trial {seed}, {experiment}: {criterion}, kept {values}, pruned {pruned}{rate}"


def measure(experiment: str, seed: int, iterations: int, dataset: str, **arm) -> list[dict]:
    initial, trained, rows = remember(
        train_dense, seed=seed, iterations=iterations, dataset=dataset
    )
    if experiment != "dense":
        data = load_data(dataset, seed=seed_for(seed, "split"))
        if experiment == "learned masks":
            rate = arm["mask_learning_rate"]
            rows = [learned_masks(arm["values"], rate, initial, data, seed, iterations)]
        else:
            rows = [
                measure_at(round, experiment, initial, trained, data, seed, iterations, **arm)
                for round in ROUNDS[experiment]
            ]
    return [{"experiment": experiment, **arm, "seed": seed, **row} for row in rows]


def train_dense(seed: int, iterations: int, dataset: str) -> tuple[State, State, list[dict]]:
    """A trial's dense network: its weights before and after training, and its rows."""
    data = load_data(dataset, seed=seed_for(seed, "split"))
    model = lenet300(seed=seed_for(seed, "init"))
    initial = snapshot(model)
    early, trained = train_masked(model, data, seed_for(seed, "order", 0), iterations)
    end = moment("end", iterations, weight_rewinding(model, trained), data)
    return initial, trained, [{"density": 1.0, **row} for row in (early, end)]


def measure_at(
    round: int,
    experiment: str,
    initial: State,
    trained: State,
    data: Data,
    seed: int,
    iterations: int,
    criterion: str,
    values: str,
    pruned: str,
) -> dict:
    """The row of an arm at the density of a round."""
    masks = masks_after(round, initial, trained, criterion, seed_for(seed, "mask", round))
    fresh = snapshot(lenet300(seed=seed_for(seed, "reinit", round)))
    start = dict(initial)
    for name, mask in masks.items():
        weight = f"{name}.weight"
        start[weight] = torch.where(
            mask,
            kept_values(values, initial[weight], fresh[weight]),
            pruned_values(pruned, initial[weight], trained[weight]),
        )
    model = weight_rewinding(lenet300(), start, {} if experiment == "zeros" else masks)
    order = seed_for(seed, "order", round)
    if experiment == "masks":
        row = moment("start", 0, model, data)
    elif experiment == "signs":
        row, _ = train_masked(model, data, order, iterations)
    else:
        row = train_kept(model, masks, data, order, iterations)
    return {"density": density(masks), **row}


def masks_after(round: int, initial: State, trained: State, criterion: str, seed: int) -> State:
    """Masks by a criterion that keep of each layer what so many rounds of (11.1) leave."""
    if criterion == "random":
        return random_masks(masks_after(round, initial, trained, "large final", seed), seed)
    return supermask(initial, trained, weights_left(round), criterion)


def kept_values(values: str, initial: Tensor, fresh: Tensor) -> Tensor:
    """What the kept weights of a layer start from.

    Args:
        values: the arm.
        initial, fresh: the trial's first weights, and others drawn in the same way.
    """
    constant = initial.std(correction=0)
    return {
        "initial": initial,
        "random reinit": fresh,
        "reinit, initial signs": fresh.abs() * initial.sign(),
        "signed constant": constant * initial.sign(),
        "constant, random signs": constant * fresh.sign(),
    }[values]


def pruned_values(pruned: str, initial: Tensor, trained: Tensor) -> Tensor:
    """What the pruned weights of a layer are set to, for good."""
    return {
        "zero": torch.zeros_like(initial),
        "initial": initial,
        "initial if it grew": initial * (trained.abs() > initial.abs()),
    }[pruned]


def train_masked(
    model: nn.Sequential, data: Data, order: int, iterations: int
) -> tuple[dict, State]:
    """Train a masked network in place to its early stop: the row there, and the last weights."""
    history, best = fit_masked(
        model,
        data,
        steps=iterations,
        batch_size=BATCH_SIZE,
        lr=LEARNING_RATE,
        seed=order,
        eval_every=EVALUATE_EVERY,
    )
    last = snapshot(model)
    return moment("early stop", early_stop(history), weight_rewinding(model, best), data), last


def train_kept(model: nn.Module, masks: State, data: Data, order: int, iterations: int) -> dict:
    """Train the kept weights in place, and leave the pruned ones whatever they are."""
    for name, mask in masks.items():
        # Without weight decay, Adam never moves a weight whose gradient has always been zero.
        model.get_submodule(name).weight.register_hook(mask.mul)
    fit_to_the_end(model, data, LEARNING_RATE, order, iterations)
    return moment("end", iterations, model, data)


class DrawnMask(nn.Module):
    """Keep each weight with a probability of its own, drawn anew whenever the weight is used.

    Args:
        weight: the layer's weights; they stay as they are.
        rescaled: multiply what is kept by weights / kept weights of the layer.

    Source: Zhou et al. (2019), arXiv:1905.01067.
    """

    def __init__(self, weight: Tensor, rescaled: bool):
        super().__init__()
        self.scores = nn.Parameter(torch.zeros_like(weight))
        self.rescaled = rescaled

    def forward(self, weight: Tensor) -> Tensor:
        probability = self.scores.sigmoid()
        is_kept = torch.rand_like(weight) < probability
        mask = is_kept + (probability - probability.detach())  # 0 or 1; gradient of probability
        return weight * mask * (mask.numel() / mask.sum() if self.rescaled else 1)


def learned_masks(
    values: str, learning_rate: float, initial: State, data: Data, seed: int, iterations: int
) -> dict:
    """Train the masks of fixed weights, and measure the mean over masks drawn from them."""
    model = weight_rewinding(lenet300(), initial).requires_grad_(False)
    kind = values.removesuffix(", rescaled")
    for name in RATES:
        layer = model.get_submodule(name)
        layer.weight.copy_(kept_values(kind, layer.weight, layer.weight))
        mask = DrawnMask(layer.weight, rescaled=kind != values)
        parametrize.register_parametrization(layer, "weight", mask)
    fit_to_the_end(model, data, learning_rate, seed_for(seed, "order", 0), iterations)
    rows = []
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed_for(seed, "sample"))
        for _ in range(SAMPLES):
            with parametrize.cached():  # one mask for all images
                row = moment("end", iterations, model, data)
                kept = {name: kept_weights(model.get_submodule(name)) for name in RATES}
            rows.append({"density": density(kept), **row})
    numbers = ("density", "valid_accuracy", "test_accuracy")
    return rows[0] | {name: sum(row[name] for row in rows) / SAMPLES for name in numbers}


def fit_to_the_end(
    model: nn.Module, data: Data, learning_rate: float, order: int, iterations: int
) -> None:
    adam = torch.optim.Adam(model.parameters(), learning_rate, fused=True)
    retrain(model, data, (adam, None), iterations, order, batch_size=BATCH_SIZE, device="cpu")


def moment(name: str, iteration: int, model: nn.Module, data: Data) -> dict:
    return {"moment": name, "iteration": iteration, **accuracies(model, data)}
