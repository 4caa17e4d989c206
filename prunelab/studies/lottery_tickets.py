"""Winning tickets of LeNet-300-100 and their controls, by the paper's recipe (notebook 11).

Figures 1, 3 and 4 of Frankle & Carbin (2019), arXiv:1803.03635v5: Gaussian Glorot, Adam 1.2e-3,
batches of 60, 5,000 validation images drawn anew in each trial, 20 % of a layer pruned a round and
10 % of the output layer, evaluation every 100 iterations, early stop read afterwards. Where the
paper says nothing: pixels are normalized by their mean and standard deviation, biases start at
zero and are rewound, and the images of a round come in one order in all its runs.

On an accelerator (`--device cuda`) all runs of a round, of all trials, are trained as one
computation, once, by the first that needs it: there `--jobs` must be 1.
"""

from collections.abc import Iterator
from functools import cache

from torch import nn

from prunelab.data import Data, load_data
from prunelab.engines.masked_mlp import Trained, fit_masked
from prunelab.engines.together import fit_together
from prunelab.lab.cache import remember
from prunelab.lottery import early_stop, prune_round
from prunelab.masks import get_masks
from prunelab.models import lenet300
from prunelab.rewinding import State, snapshot, weight_rewinding
from prunelab.studies.shared import accuracies
from prunelab.studies.tickets import (
    BATCH_SIZE,
    EVALUATE_EVERY,
    LEARNING_RATE,
    RATES,
    as_kind,
    curve,
    density_of,
    row_at,
    seed_for,
    weights_left,
)

ONE_SHOT_ROUNDS = (1, 3, 5, 7, 9, 12, 15, 18, 21)
"""One-shot pruning is measured at the densities of these rounds."""
CURVE_ROUNDS = (0, 3, 7, 12, 15, 18)
"""Figure 3: 100, 51.3, 21.1, 7.0, 3.6 and 1.9 % of the weights kept."""
WITH_CURVE = ("ticket", "random reinit")


SCALES = {
    "quick": {"seeds": 2, "rounds": 7, "iterations": 600},
    "recorded": {},
    "paper": {"iterations": 50_000, "reinits": 3},
}


def grid(
    seeds: int,
    rounds: int = 21,
    iterations: int = 15_000,
    reinits: int = 1,
    dataset: str = "fashion-mnist",
    device: str = "cpu",
) -> list[dict]:
    """One point a training. A ticket comes well after the one of the round before it.

    Args:
        seeds: trials.
        rounds: rounds of pruning.
        iterations: training iterations of each run.
        reinits: random reinitializations of each ticket.
        dataset: "fashion-mnist", or "mnist" if it is in the data folder.
        device: where to train; on an accelerator a round is one computation.
    """
    together = {} if device == "cpu" else {"trials": seeds, "reinits": reinits}
    return [
        {
            "kind": kind,
            "round": round,
            "seed": seed,
            "replicate": replicate,
            "iterations": iterations,
            "dataset": dataset,
            "device": device,
            **together,
        }
        for round in range(rounds + 1)
        for kind, replicate in _kinds(round, reinits)
        for seed in range(seeds)
    ]


def _kinds(round: int, reinits: int) -> Iterator[tuple[str, int]]:
    yield "ticket", 0
    if round > 0:
        yield "random mask", 0
        yield from (("random reinit", replicate) for replicate in range(reinits))
    if round in ONE_SHOT_ROUNDS:
        yield "one-shot ticket", 0
        yield from (("one-shot reinit", replicate) for replicate in range(reinits))


def describe(kind: str, round: int, seed: int, **rest) -> str:
    """A point in words, for the progress bar."""
    return f"trial {seed}, {kind}, {density_after(round):.1%} of the weights"


@cache
def density_after(rounds: int) -> float:
    """The share of the weights kept after a number of rounds, by equation (11.1)."""
    return sum(weights_left(rounds).values()) / sum(weights_left(0).values())


def measure(kind: str, replicate: int, seed: int, **which) -> list[dict]:
    if "trials" in which:
        return remember(train_round, **which)[0][kind, replicate, seed]
    if kind == "ticket":
        return remember(train_ticket, seed=seed, **which)[0]
    model = untrained(kind, replicate, seed=seed, **which)
    return train(model, kind=kind, replicate=replicate, seed=seed, **which)


def train_ticket(**which) -> tuple[list[dict], State, State]:
    """Train a winning ticket, or the dense network in round 0: its rows, masks and final weights.

    Args:
        which: `seed`, `round`, `iterations`, `dataset`, `device`.
    """
    model = untrained("ticket", **which)
    rows = train(model, kind="ticket", replicate=0, **which)
    return rows, get_masks(model), snapshot(model)


def train_round(
    round: int, iterations: int, dataset: str, device: str, trials: int, reinits: int
) -> tuple[dict, dict]:
    """Train all runs of a round together: the rows of each, and the ticket of each trial.

    Returns:
        Rows as `train` returns them, by kind, replicate and trial; masks and final weights of the
        winning tickets, by trial.
    """
    which = {"round": round, "iterations": iterations, "dataset": dataset, "device": device}
    own_data = [load_data(dataset, seed=seed_for(seed, "split")) for seed in range(trials)]
    runs = [(*run, seed) for run in _kinds(round, reinits) for seed in range(trials)]
    models = [
        untrained(kind, replicate, seed=seed, trials=trials, reinits=reinits, **which).to(device)
        for kind, replicate, seed in runs
    ]
    trained = fit_together(
        models,
        [own_data[seed] for *_, seed in runs],
        seeds=[seed_for(seed, "order", round) for *_, seed in runs],
        **_recipe(iterations, round in CURVE_ROUNDS),
    )
    rows = {
        run: rows_of(model, own_data[run[-1]], result, round, *run)
        for run, model, result in zip(runs, models, trained, strict=True)
    }
    tickets = {
        seed: (get_masks(model), snapshot(model))
        for (kind, _, seed), model in zip(runs, models, strict=True)
        if kind == "ticket"
    }
    return rows, tickets


def untrained(kind: str, replicate: int = 0, **which) -> nn.Module:
    """The network of a kind, masked by what was trained before."""
    masks = one_shot_masks(**which) if kind.startswith("one-shot") else ticket_masks(**which)
    return starting_point(kind, masks, which["seed"], which["round"], replicate)


def ticket_masks(round: int, **which) -> State:
    """The masks of an iterative winning ticket: from what is left of the round before."""
    return pruned_masks(1, round=round - 1, **which) if round > 0 else {}


def one_shot_masks(round: int, **which) -> State:
    """Masks of the same layerwise densities, from the dense network at once."""
    return pruned_masks(round, round=0, **which)


def pruned_masks(times: int, **which) -> State:
    """The masks after pruning the trained network of a round one or several times."""
    if "trials" in which:
        seed = which.pop("seed")
        masks, trained = remember(train_round, **which)[1][seed]
    else:
        _, masks, trained = remember(train_ticket, **which)
    model = weight_rewinding(lenet300(), trained, masks)
    for _ in range(times):
        prune_round(model, RATES)
    return get_masks(model)


def starting_point(kind: str, masks: State, seed: int, round: int, replicate: int = 0) -> nn.Module:
    """The network of a kind before it is trained."""
    return as_kind(lenet300(seed=seed_for(seed, "init")), kind, masks, seed, round, replicate)


def train(
    model: nn.Module,
    kind: str,
    replicate: int,
    seed: int,
    round: int,
    iterations: int,
    dataset: str,
    device: str,
) -> list[dict]:
    """Train a network in place to the end and measure it: at its early stop, and at the end."""
    data = load_data(dataset, seed=seed_for(seed, "split"))
    recipe = _recipe(iterations, has_curve(kind, round))
    trained = fit_masked(model.to(device), data, seed=seed_for(seed, "order", round), **recipe)
    return rows_of(model, data, trained, round, kind, replicate, seed)


def _recipe(iterations: int, with_curve: bool) -> dict:
    return {
        "steps": iterations,
        "batch_size": BATCH_SIZE,
        "lr": LEARNING_RATE,
        "eval_every": EVALUATE_EVERY,
        "eval_splits": ("valid", "test") if with_curve else ("valid",),
    }


def rows_of(
    model: nn.Module,
    data: Data,
    trained: Trained,
    round: int,
    kind: str,
    replicate: int,
    seed: int,
) -> list[dict]:
    """The rows of a network at the end of its training; it is left on the CPU."""
    history, best = trained
    end = snapshot(model)
    at_end = accuracies(model, data, ("test", "train"))
    at_stop = accuracies(weight_rewinding(model, best), data, ("test",))
    weight_rewinding(model, end).cpu()

    setting = {"kind": kind, "round": round, "seed": seed, "replicate": replicate}
    setting["density"] = density_of(model)
    table, stop, last = curve(history), early_stop(history), history["step"].max()
    rows = [
        {**setting, "moment": "early stop", **row_at(table, stop), **at_stop},
        {**setting, "moment": "end", **row_at(table, last), **at_end},
    ]
    if has_curve(kind, round):
        rows += [{**setting, "moment": "curve", **row} for row in table.to_dict("records")]
    return rows


def has_curve(kind: str, round: int) -> bool:
    return kind in WITH_CURVE and round in CURVE_ROUNDS
