"""A schedule fits the steps of its round, and ends there."""

import pytest
import torch

from prunelab.finetuning import get_finetune_optimizer, learning_rate_rewinding, one_cycle
from prunelab.models import lenet300
from prunelab.pruning import apply_global_pruning
from prunelab.training import fit
from tests.helpers import learning_rates

SCHEDULES = (get_finetune_optimizer, learning_rate_rewinding, one_cycle)
every_schedule = pytest.mark.parametrize("make", SCHEDULES)


def weight() -> torch.nn.Module:
    return torch.nn.Linear(1, 1)


def rates(pair, steps: int) -> list[float]:
    """The learning rate at the start and after each step, as `fit` steps the scheduler."""
    return learning_rates(*pair, steps + 1)


@pytest.mark.parametrize(("make", "lr"), [*zip(SCHEDULES, (0.001, 0.1, 0.004), strict=True)])
def test_defaults_are_those_of_the_guide(make, lr):
    optimizer, _ = make(weight(), steps=10)
    group = optimizer.param_groups[0]
    assert isinstance(optimizer, torch.optim.SGD)
    defaults = group["lr"], group["momentum"], group["weight_decay"]
    assert defaults == pytest.approx((lr, 0.9, 5e-4))


@every_schedule
@pytest.mark.parametrize("momentum", [0.0, 0.7])
def test_momentum_and_weight_decay_are_passed_on_and_stay(make, momentum):
    optimizer, scheduler = make(weight(), 4, lr=0.1, momentum=momentum, weight_decay=0.01)
    rates((optimizer, scheduler), 3)
    group = optimizer.param_groups[0]
    assert (group["momentum"], group["weight_decay"]) == (momentum, 0.01)


@every_schedule
def test_fit_takes_the_pair(make, data):
    model = apply_global_pruning(lenet300(seed=0), sparsity=0.5)
    optimizer, scheduler = make(model, steps=5)
    how = {"steps": 5, "eval_every": 1, "device": "cpu", "progress": False}
    history = fit(model, data, optimizer=optimizer, scheduler=scheduler, **how)
    assert history["lr"].tolist() == pytest.approx(rates(make(weight(), steps=5), 5))


def test_rewound_rate_starts_at_the_original_one_and_falls_at_the_milestones():
    lrs = rates(learning_rate_rewinding(weight(), 8, lr=1.0), 7)
    assert lrs == pytest.approx([1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01])


@pytest.mark.parametrize("steps", [1, 3, 7, 8])
def test_rewound_rate_is_the_end_of_the_original_schedule(steps):
    original = rates(learning_rate_rewinding(weight(), 8, lr=1.0), 7)
    lrs = rates(learning_rate_rewinding(weight(), steps, lr=1.0, original_steps=8), steps - 1)
    assert lrs == pytest.approx(original[-steps:])


def test_rewound_rate_without_milestones_is_constant():
    assert rates(learning_rate_rewinding(weight(), 3, lr=0.1, milestones=()), 3) == [0.1] * 4


def test_one_cycle_rises_for_three_tenths_then_falls():
    lrs = rates(one_cycle(weight(), 99, lr=0.1), 99)
    peak = lrs.index(max(lrs))
    assert lrs[0] == pytest.approx(0.1 / 25)
    assert (peak, lrs[peak]) == (29, pytest.approx(0.1))
    assert lrs[: peak + 1] == sorted(lrs[: peak + 1])
    assert lrs[peak:] == sorted(lrs[peak:], reverse=True)
    assert lrs[-1] == pytest.approx(0.1 / 25e4)
