"""Does a ticket's mask know where things are? Tickets and their controls on MNIST-1D (notebook 14).

Greydanus & Kobak (2024), arXiv:2011.14439, say of an MLP on their data that a ticket's mask helps
under new weights too, because it keeps weights of neighboring inputs: so it should go on helping
if the curves are mirrored, and less if their points are shuffled. Here with LeNet-300-100 of 40
inputs, trained by Adam at a constant rate for as many steps in every arm, and measured at the end.

- "dense": all weights; its rate is also that of the rounds of pruning that find the tickets.
- "ticket": mask and first weights. "reinit": the same mask, new weights.
- "random mask": as many weights of each layer, at random places. Mirrored or shuffled inputs are
  nothing new to it, nor to a dense network: both are trained on the curves as drawn only.

The mask is always that of the curves as drawn; only the training after it sees others. Rates are
chosen for every arm, density and kind of inputs on validation curves, by networks with other seeds.
"""

from dataclasses import replace

import pandas as pd
import torch
from torch import Tensor, nn

from prunelab.data import Data, Split
from prunelab.engines.masked_mlp import fit_masked
from prunelab.engines.mnist_1d import mnist_1d
from prunelab.intervals import choose
from prunelab.lab.cache import remember
from prunelab.lottery import prune_round
from prunelab.masks import get_masks, kept_weights
from prunelab.models import lenet300
from prunelab.rewinding import State
from prunelab.studies.shared import accuracies, widened
from prunelab.studies.tickets import as_kind, density_of, seed_for

POINTS = 40
ROUNDS = (2, 4)
"""Pruning is measured after these; they keep 25.6 and 6.7 % of the weights."""
PRUNED = {"fc1": 0.5, "fc2": 0.5, "fc3": 0.3}
"""The share of a layer that a round prunes."""
STEPS, BATCH_SIZE = 1000, 100
RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1)
"""All learning rates there are; a search begins with `FIRST` and widens."""
FIRST = (1e-3, 1e-2)
TUNING_SEEDS = tuple(range(100, 106))
"""Networks on which rates are chosen; those that are compared have the seeds from 0 up."""
MATTERS = 0.5
"""Points of accuracy: the smallest difference that matters, fixed before the study ran. With 5,000
test curves and accuracies near 65 %, a single network is known to about 0.7 points."""
ORDERS = {
    "as drawn": list(range(POINTS)),
    "mirrored": list(reversed(range(POINTS))),
    "shuffled": torch.randperm(POINTS, generator=torch.Generator().manual_seed(0)).tolist(),
}
"""Which point of a curve each input of the network sees."""
SCALES = {"recorded": {"seeds": 10}, "quick": {"seeds": 2, "steps": 100}}


def grid(seeds: int, steps: int = STEPS) -> list[dict]:
    """All choices first (seed None), each after those of the networks it begins with.

    Args:
        seeds: networks that are compared.
        steps: batches of each training.
    """
    arms = [("dense", 0, "as drawn")]
    for round in ROUNDS:
        arms += [(kind, round, inputs) for inputs in ORDERS for kind in ("ticket", "reinit")]
        arms += [("random mask", round, "as drawn")]
    return [
        {"kind": kind, "round": round, "inputs": inputs, "seed": seed, "steps": steps}
        for seed in (None, *range(seeds))
        for kind, round, inputs in arms
    ]


def describe(kind: str, round: int, inputs: str, seed: int | None, **rest) -> str:
    """A point in words, for the progress bar."""
    who = "choice of a rate" if seed is None else f"seed {seed}"
    return f"{who}: {kind} after {round} rounds, {inputs}"


def measure(seed: int | None, **arm) -> list[dict]:
    """The rows of a choice, without test curves; or the one row of a comparison."""
    rows = remember(tried, **arm)
    return rows if seed is None else [compared(**arm, seed=seed, **best(rows))]


def tried(**arm) -> list[dict]:
    """Train an arm's tuning networks at three rates, and at more until the best lies inside."""

    def rows_at(rate: float) -> list[dict]:
        return [row_of(**arm, role="choice", seed=seed, rate=rate)[0] for seed in TUNING_SEEDS]

    return widened(rows_at, RATES, *FIRST)


def compared(edge: str, **settings) -> dict:
    """The row of a network whose rate was chosen before, with its test accuracy."""
    row, model, data = row_of(**settings, role="comparison")
    row |= {"edge": edge, "density": density_of(model)}
    row["neighbors"] = neighbors(kept_weights(model.fc1), settings["inputs"])
    return row | accuracies(model, data, ("test",))


def row_of(role: str, steps: int, **settings) -> tuple[dict, nn.Module, Data]:
    """Train a network: its row with the validation accuracy, itself, and its data."""
    model, data = trained(**settings, steps=steps)
    row = {"network": "lenet300", **settings, "role": role}
    return row | accuracies(model, data, ("valid",)), model, data


def best(rows: list[dict]) -> dict:
    """The rate that validation prefers, and the end of the grid that it lies at, if any."""
    (found,) = choose(pd.DataFrame(rows), ["network"], "rate").itertuples()
    return {"rate": float(found.rate), "edge": str(found.edge)}


def trained(
    kind: str, round: int, inputs: str, seed: int, rate: float, steps: int
) -> tuple[nn.Module, Data]:
    """A network of an arm after its training, and the data it was trained on."""
    data = seen(mnist_1d(seed_for(seed, "split")), inputs)
    masks = remember(ticket_masks, round=round, seed=seed, steps=steps)
    model = lenet300((1, 1, POINTS), seed=seed_for(seed, "init"))
    as_kind(model, kind, masks, seed, round, replicate=0)
    how = {"batch_size": BATCH_SIZE, "seed": seed_for(seed, "order", round)}
    fit_masked(model, data, steps=steps, lr=rate, eval_every=steps, **how)
    return model, data


def ticket_masks(round: int, seed: int, steps: int) -> State:
    """The masks after some rounds of training, pruning and going back to the first weights."""
    if round == 0:
        return {}
    dense = {"kind": "dense", "round": 0, "inputs": "as drawn", "steps": steps}
    rate = best(remember(tried, **dense))["rate"]
    model, _ = trained("ticket", round - 1, "as drawn", seed, rate, steps)
    return get_masks(prune_round(model, PRUNED))


def seen(data: Data, inputs: str) -> Data:
    """The data with the points of every curve in another order."""
    parts = {name: getattr(data, name) for name in ("train", "valid", "test")}
    order = ORDERS[inputs]
    return replace(data, **{name: Split(p.x[..., order], p.y) for name, p in parts.items()})


def neighbors(mask: Tensor, inputs: str) -> float:
    """Of the kept weights of the first layer: the share whose next point is kept by that unit too.

    Args:
        mask: `[units, inputs]`.
        inputs: which points they see, by `ORDERS`. The last point of a curve has none next to it.
    """
    of_points = mask[:, torch.tensor(ORDERS[inputs]).argsort()]
    here, there = of_points[:, :-1], of_points[:, 1:]
    return ((here & there).sum() / here.sum()).item()
