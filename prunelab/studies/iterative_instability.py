"""Tickets pruned in rounds and rewound to iteration k: accuracy, stability, and what lies between.

Two questions, for the convolutional network of `instability`, whose training, copies and barrier
these are. Is a ticket pruned in rounds stable, and as good as the dense network, as Frankle et al.
(2020), arXiv:1912.05671, say of theirs? And is there no barrier between the trained networks of
one round and the next exactly where the sparser one is as good as the dense network, as Paul et
al. (2023), arXiv:2210.03044, say? The second round keeps the 20 % of the ticket of `instability`;
round 0 is the dense network, copied from iteration k and trained for as long as every ticket.
"""

import copy
from collections.abc import Callable
from statistics import mean

import torch
from torch import nn

from prunelab.batchnorm import recalibrate_bn
from prunelab.data import Split, load_data
from prunelab.lab.cache import remember
from prunelab.masks import get_masks, make_pruning_permanent
from prunelab.pruning import apply_global_pruning
from prunelab.rewinding import State, error_barrier, snapshot, weight_rewinding
from prunelab.studies import instability
from prunelab.studies.instability import DENSITIES, iteration, trained_copy
from prunelab.studies.shared import accuracies, networks
from prunelab.studies.trajectories import BUILD, STEPS
from prunelab.training import evaluate

NETWORK = "half_convnet"
SHARES = (0, 0.01, 0.05, 0.25)
"""Shares of the training to which every round goes back."""
ROUNDS = 3
MATCHING = 0.002
"""A ticket matches the dense network if it loses at most this: the smallest effect that matters."""
BARRIER = 0.005
"""A barrier is more than this: copies of the dense network that part after a quarter of the
training reach 0.0036 in `instability`, where their mean is 0.001."""


def grid(seeds: int) -> list[dict]:
    """Round after round: each prunes what the one before has trained."""
    return [
        {**start, "k": iteration(NETWORK, share), "round": round}
        for round in range(ROUNDS + 1)
        for share in SHARES
        for start in networks("trajectories", seeds)
        if start["network"] == NETWORK
    ]


def describe(seed: int, k: int, round: int, **rest) -> str:
    """A point in words, for the progress bar."""
    return f"seed {seed}, round {round}, rewound to iteration {k}"


def density_after(rounds: int) -> float:
    """The share of the weights kept: two rounds keep what the mask of `instability` keeps."""
    return round(DENSITIES[NETWORK] ** (rounds / 2), 6)


def measure(network: str, learning_rate: float, seed: int, k: int, round: int) -> list[dict]:
    data, which = load_data(), {"learning_rate": learning_rate, "seed": seed, "k": k}
    a, start = trained(**which, round=round), ticket(**which, round=round)
    b = trained_copy(start, data, network, learning_rate, k, order(seed, round, 2))

    def repair(model: nn.Module) -> nn.Module:
        return recalibrate_bn(model, data.train.x[:5000])

    both = [accuracies(model, data) for model in (a, b)]
    row = {
        "network": network,
        "seed": seed,
        "round": round,
        "density": density_after(round),
        "k": k,
        "share": k / STEPS[network],
        "barrier": error_barrier(a, b, data.test, points=5, repair=repair),
        "round_barrier": None,
        "round_barrier_above_mean": None,
        **{name: mean(each[name] for each in both) for name in both[0]},
        "original_test_accuracy": original(learning_rate, seed)[1],
    }
    if round > 0:
        errors = errors_between(trained(**which, round=round - 1), a, data.test, repair)
        row["round_barrier"] = rise(errors)
        row["round_barrier_above_mean"] = max(errors[1:-1]) - (errors[0] + errors[-1]) / 2
    return [row]


def original(learning_rate: float, seed: int) -> tuple[dict[int, State], float]:
    """The weights of the dense network at every k and at the end, and its test accuracy."""
    which = {"network": NETWORK, "learning_rate": learning_rate, "seed": seed}
    return remember(instability.train, **which)


def ticket(learning_rate: float, seed: int, k: int, round: int) -> nn.Module:
    """The network of the round before, pruned once more, at iteration k; in round 0 a whole one."""
    if round == 0:
        model = BUILD[NETWORK]()
    else:
        model = trained(learning_rate, seed, k, round - 1)
        apply_global_pruning(model, sparsity=1 - density_after(round))
    return weight_rewinding(model, original(learning_rate, seed)[0][k])


def trained(learning_rate: float, seed: int, k: int, round: int) -> nn.Module:
    """The network at the end of a round, which the next round prunes."""
    which = {"learning_rate": learning_rate, "seed": seed, "k": k, "round": round}
    masks, state = remember(train_round, **which)
    return weight_rewinding(BUILD[NETWORK](), state, masks)


def train_round(learning_rate: float, seed: int, k: int, round: int) -> tuple[State, State]:
    """Train a ticket from iteration k to the end: its masks, and its final weights."""
    start = ticket(learning_rate, seed, k, round)
    model = trained_copy(start, load_data(), NETWORK, learning_rate, k, order(seed, round, 1))
    return get_masks(model), snapshot(model)


def order(seed: int, round: int, which: int) -> int:
    """What draws the batches: another order for each copy; the dense ones see `instability`'s."""
    return 1000 * (seed + 1) + 10 * round + which


@torch.no_grad()
def errors_between(
    a: nn.Module, b: nn.Module, split: Split, repair: Callable[[nn.Module], object]
) -> list[float]:
    """Errors on the straight line from `a` to `b`, both ends included; their masks may differ.

    As in `error_barrier` there are five points in between, and only those are repaired.
    """
    start, end = (make_pruning_permanent(copy.deepcopy(m)).state_dict() for m in (a, b))
    between, errors = make_pruning_permanent(copy.deepcopy(a)), []
    for i in range(7):
        line = {
            name: torch.lerp(tensor, end[name], i / 6) if tensor.is_floating_point() else tensor
            for name, tensor in start.items()
        }
        between.load_state_dict(line)
        if 0 < i < 6:
            repair(between)
        errors.append(1 - evaluate(between, split).accuracy)
    return errors


def rise(errors: list[float]) -> float:
    """How far the error rises above the straight line between the errors of the two ends.

    The barrier (3.2) is taken above their mean. Between networks that are not equally good, it is
    not zero even where the error goes straight from one to the other.
    """
    n = len(errors) - 1
    return max(errors[i] - ((n - i) * errors[0] + i * errors[-1]) / n for i in range(1, n))
