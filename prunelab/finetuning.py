"""Learning rates for retraining: cosine fine-tuning, rewinding, one cycle (notebook 04)."""

import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LRScheduler, OneCycleLR

from prunelab.checks import check_count
from prunelab.checks.rates import check_milestones, check_sgd


def get_finetune_optimizer(
    model: nn.Module,
    steps: int,
    lr: float = 0.001,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
) -> tuple[torch.optim.SGD, LRScheduler]:
    r"""SGD with a learning rate that falls to zero over this round, along a cosine.

    $$\eta_t = \tfrac{1}{2} \, \eta_0 \Big(1 + \cos \frac{\pi t}{T}\Big) \tag{4.1}$$

    for step $t$ of the $T$ = `steps` of this round. Make a new pair for every round: a scheduler
    that goes on beyond $T$ runs upwards.

    Args:
        model: the network to fine-tune.
        steps: training steps of this round, at least 1.
        lr: the learning rate at the start, $\eta_0$.
        momentum, weight_decay: SGD's.

    Returns:
        The optimizer and its scheduler, for `fit(..., optimizer=optimizer, scheduler=scheduler)`.

    Raises:
        ValueError: a number out of range.

    Source: Loshchilov & Hutter (2017), arXiv:1608.03983.
    """
    optimizer = _sgd(model, steps, lr, momentum, weight_decay)
    return optimizer, CosineAnnealingLR(optimizer, T_max=steps)


def learning_rate_rewinding(
    model: nn.Module,
    steps: int,
    lr: float = 0.1,
    milestones: tuple[float, ...] = (0.5, 0.75),
    original_steps: int | None = None,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
) -> tuple[torch.optim.SGD, LRScheduler]:
    r"""SGD that repeats the end of the original schedule: the rate goes back, the weights stay.

    $$\eta_t = \eta_0 \cdot 10^{-|\{m \,:\, T_0 - T + t \,\ge\, m T_0\}|} \tag{4.2}$$

    for step $t$ of this round's $T$ = `steps`. The dense network was trained for $T_0$ =
    `original_steps`, and its rate fell tenfold at each of the `milestones` $m$.

    Args:
        model: the network to retrain.
        steps: training steps of this round, from 1 to `original_steps`.
        lr: the learning rate the original schedule started with, $\eta_0$.
        milestones: fractions of the original steps, increasing, between 0 and 1.
        original_steps: None means `steps`: the whole schedule, from its start.
        momentum, weight_decay: SGD's.

    Returns:
        The optimizer and its scheduler, for `fit(..., optimizer=optimizer, scheduler=scheduler)`.

    Raises:
        ValueError: a number out of range, or milestones that do not increase.

    Source: Renda, Frankle & Carbin (2020), arXiv:2003.02389.
    """
    check_milestones(milestones)
    optimizer = _sgd(model, steps, lr, momentum, weight_decay)
    total = steps if original_steps is None else original_steps
    check_count("original_steps", total)
    if total < steps:
        raise ValueError(f"steps={steps} must be at most original_steps={original_steps}")

    def factor(step: int) -> float:
        return 10.0 ** -sum(total - steps + step >= m * total for m in milestones)

    return optimizer, LambdaLR(optimizer, factor)


def one_cycle(
    model: nn.Module,
    steps: int,
    lr: float = 0.1,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
) -> tuple[torch.optim.SGD, LRScheduler]:
    """SGD with one cycle: from `lr` / 25 up to `lr` in 30 % of the steps, then down to almost 0.

    Both ways along a cosine, by `torch.optim.lr_scheduler.OneCycleLR`. The momentum stays as it
    is, so that this schedule differs from the others in the learning rate alone.

    Arguments, result and errors as of `get_finetune_optimizer`, but for `lr`: the rate at the peak.

    Source: Smith & Topin (2018), arXiv:1708.07120; for pruned networks Le & Hua (2021),
    arXiv:2105.03193.
    """
    optimizer = _sgd(model, steps, lr, momentum, weight_decay)
    # `steps` training steps need `steps` + 1 rates, as the scheduler is stepped after the last too
    return optimizer, OneCycleLR(optimizer, lr, total_steps=int(steps) + 1, cycle_momentum=False)


def _sgd(
    model: nn.Module, steps: int, lr: float, momentum: float, weight_decay: float
) -> torch.optim.SGD:
    check_sgd(model, steps, lr=lr, momentum=momentum, weight_decay=weight_decay)
    return torch.optim.SGD(
        model.parameters(), lr, momentum=momentum, weight_decay=weight_decay, fused=True
    )
