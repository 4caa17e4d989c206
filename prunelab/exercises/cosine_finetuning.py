"""Exercises of notebook 04."""

import copy
import math

import torch
from torch.optim.lr_scheduler import CosineAnnealingLR

from prunelab.data import load_data
from prunelab.exercises.exercise import FIND_THE_BUG, IMPLEMENT, PREDICT, REASON, exercise
from prunelab.finetuning import get_finetune_optimizer
from prunelab.models import pretrained
from prunelab.pruning import apply_global_pruning
from prunelab.training import evaluate, fit


def places() -> list[tuple]:
    generator = torch.Generator().manual_seed(0)
    random = torch.rand(4, generator=generator).tolist()
    fixed = [(20, 40, 0.1), (30, 40, 0.02), (0, 40, 0.1), (40, 40, 0.02), (1, 3, 1.0)]
    return [*fixed, *((int(430 * share), 430, share) for share in random)]


@exercise(
    "04.1",
    "Along a cosine",
    IMPLEMENT,
    level=1,
    minutes=4,
    hints=(
        "Equation (4.1) stands in the notebook, below *The math*. `lr` is η₀ and `steps` is T.",
        "At step 0 the cosine is 1, at the last step it is −1. Add 1 and take half.",
        "The angle is `math.pi * step / steps`.",
    ),
    cases=places,
    mistakes={
        "It does not get to zero: half a cosine is π long, not 1.": (
            lambda step, steps, lr: lr * (1 + math.cos(step / steps)) / 2
        ),
        "That is T_max=100 whatever the steps: the guide's mistake.": (
            lambda step, steps, lr: lr * (1 + math.cos(math.pi * step / 100)) / 2
        ),
        "That falls along a straight line.": lambda step, steps, lr: lr * (1 - step / steps),
        "It begins at twice `lr`: the ½ is missing.": (
            lambda step, steps, lr: lr * (1 + math.cos(math.pi * step / steps))
        ),
        "It falls to −`lr`: the 1 and the ½ are missing.": (
            lambda step, steps, lr: lr * math.cos(math.pi * step / steps)
        ),
        "That is a quarter of a wave; (4.1) is half of one.": (
            lambda step, steps, lr: lr * math.cos(math.pi * step / steps / 2)
        ),
        "It rises: a minus stands where (4.1) has a plus.": (
            lambda step, steps, lr: lr * (1 - math.cos(math.pi * step / steps)) / 2
        ),
    },
)
def cosine_rate(step, steps, lr):
    """Return the learning rate (4.1) at a step of a training that takes `steps` of them. `lr` is
    the rate at the start.
    """
    return lr * (1 + math.cos(math.pi * step / steps)) / 2


@exercise(
    "04.2",
    "Where a rewound rate begins",
    REASON,
    level=1,
    minutes=4,
    unit="a learning rate, such as 0.05",
    hints=(
        "Equation (4.2) repeats the *end* of the original schedule.",
        "The end is 600 steps long, and the whole 2,000. At which step does the end begin?",
        "It begins at step 1,400. What was the rate there?",
    ),
    mistakes={
        "That is where the whole schedule begins; only its last 600 steps are repeated.": 0.1,
        "That is where the schedule ends. What was the rate 600 steps before the end?": 0.001,
    },
)
def rewound_rate():
    """A network was trained for 2,000 steps. Its learning rate was 0.1 at first, 0.01 from step
    1,000 and 0.001 from step 1,500 on. It is pruned, and retrained for 600 steps with
    learning-rate rewinding. At which rate does the retraining *begin*?
    """
    original = [0.1] * 1000 + [0.01] * 500 + [0.001] * 500
    return original[2000 - 600]


def several_rounds() -> list[tuple]:
    return [(2, 4, 0.1), (3, 5, 0.02), (1, 6, 0.3), (4, 2, 1.0)]


def with_the_old_optimizer(rounds, steps, lr):
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=lr)
    rates = []
    for _ in range(rounds):
        scheduler = CosineAnnealingLR(optimizer, T_max=steps)
        for _ in range(steps):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
    return rates


def over_all_rounds(rounds, steps, lr):
    total = rounds * steps
    return [lr * (1 + math.cos(math.pi * step / total)) / 2 for step in range(total)]


@exercise(
    "04.3",
    "The second round runs backwards",
    FIND_THE_BUG,
    level=2,
    minutes=10,
    hints=(
        "Print the rates of two rounds of four steps. In which direction does the second go?",
        "The scheduler counts on from where the first round ended. A cosine beyond its end rises.",
        "Each round needs a new scheduler *and* a new optimizer: the old one still has the rate "
        "it ended with.",
    ),
    cases=several_rounds,
    mistakes={
        "The scheduler is new, but it starts from the rate that the old optimizer has now: zero. "
        "The optimizer must be new, too.": with_the_old_optimizer,
        "Now the rate falls once, over all rounds together. It is to fall in every round.": (
            over_all_rounds
        ),
        "It hardly falls: T_max must be the steps of a round, not the guide's 100.": (
            lambda rounds, steps, lr: over_all_rounds(1, 100, lr)[:steps] * rounds
        ),
        "The rates are right, but only those of the last round are left.": (
            lambda rounds, steps, lr: over_all_rounds(1, steps, lr)
        ),
    },
)
def rates_of_rounds(rounds, steps, lr):
    """A network is pruned and retrained in rounds of so many steps. In each round the learning
    rate is to fall along a cosine from `lr` to zero. The list of rates that is returned shows
    that it does not. Repair it.
    """
    rates = []
    for _ in range(rounds):
        optimizer = torch.optim.SGD([torch.zeros(1)], lr=lr)
        scheduler = CosineAnnealingLR(optimizer, T_max=steps)
        for _ in range(steps):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
    return rates


@rates_of_rounds.given
def with_one_scheduler(rounds, steps, lr):
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=lr)
    scheduler = CosineAnnealingLR(optimizer, T_max=steps)
    rates = []
    for _ in range(rounds):
        for _ in range(steps):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
    return rates


@exercise(
    "04.4",
    "What fifty steps repair",
    PREDICT,
    level=3,
    minutes=12,
    unit="a share of what was lost, such as 0.5",
    hints=(
        "You need three accuracies: of the dense network, after pruning, and after the steps.",
        "`get_finetune_optimizer(model, steps=50, lr=0.1)` gives the optimizer and the scheduler "
        "for `fit`. With `eval_splits=()` it is faster.",
        "What was lost is dense − pruned, what is back is repaired − pruned. Divide.",
    ),
    mistakes={
        "That is the accuracy itself. Which share of what was *lost* is back?": 0.852,
        "That is with the guide's rate of 0.001. Take 0.1.": 0.2137,
        "That is how many points are back. Divide by how many were lost.": 0.329,
    },
    tolerance=0.015,
)
def share_repaired():
    """Prune 95 % of the weights of the shipped `lenet300`, and retrain for 50 steps, an eighth of
    an epoch, along a cosine from 0.1. Which share of the lost validation accuracy is back? Guess
    first, then measure it.
    """
    data, dense = load_data("fashion-mnist"), pretrained("lenet300")
    model = apply_global_pruning(copy.deepcopy(dense), sparsity=0.95)
    before, pruned = (evaluate(network, data.valid).accuracy for network in (dense, model))
    optimizer, scheduler = get_finetune_optimizer(model, steps=50, lr=0.1)
    how = {"optimizer": optimizer, "scheduler": scheduler, "eval_splits": (), "progress": False}
    fit(model, data, steps=50, **how)
    return (evaluate(model, data.valid).accuracy - pruned) / (before - pruned)
