"""What `training.fit` may be given: checked before anything is changed, and made ready."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from prunelab.checks import check_count


def check_fit(model, data, steps, epochs, batch_size, eval_every, eval_splits) -> int:
    """The steps of an epoch, if all is right."""
    if (steps is None) == (epochs is None):
        raise ValueError(f"give one of steps and epochs, not steps={steps} and epochs={epochs}")
    for name, value in (("steps", steps), ("epochs", epochs), ("eval_every", eval_every)):
        if value is not None:
            check_count(name, value)
    if not isinstance(batch_size, int) or not 1 <= batch_size <= len(data.train):
        raise ValueError(
            f"batch_size={batch_size!r} must be from 1 to the {len(data.train)} training images"
        )
    unknown = set(eval_splits) - {"train", "valid", "test"}
    if isinstance(eval_splits, str) or unknown:
        raise ValueError(
            f'eval_splits={eval_splits!r} must be a tuple of "train", "valid" and "test"'
        )
    if not any(p.requires_grad for p in model.parameters()):
        raise ValueError("model has no parameter to train; every requires_grad is False")
    return -(-len(data.train) // batch_size)


def make_optimizer(optimizer, model: nn.Module) -> torch.optim.Optimizer:
    """The optimizer of this model that was given, or one by the function that was, or Adam."""
    if optimizer is None:
        return torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    if not isinstance(optimizer, torch.optim.Optimizer):
        return optimizer(model.parameters())
    own = set(model.parameters())
    if not any(p in own for group in optimizer.param_groups for p in group["params"]):
        raise ValueError(
            "optimizer holds none of the model's parameters; "
            "make it from model.parameters() of the model that is trained"
        )
    return optimizer


def make_scheduler(scheduler, optimizer) -> Any:
    """The scheduler of this optimizer that was given, or one by the function that was, or None."""
    if scheduler is None or isinstance(scheduler, torch.optim.lr_scheduler.LRScheduler):
        if scheduler is not None and scheduler.optimizer is not optimizer:
            raise ValueError("scheduler belongs to another optimizer; make it from this one")
        return scheduler
    return scheduler(optimizer)


def make_loss(loss: Callable | None) -> Callable:
    """A loss of outputs, labels and inputs, whichever of them the given one takes."""
    chosen: Callable = loss or F.cross_entropy
    if "inputs" in inspect.signature(chosen).parameters:
        return lambda outputs, labels, inputs: chosen(outputs, labels, inputs=inputs)
    return lambda outputs, labels, inputs: chosen(outputs, labels)


@contextmanager
def reproducible(seed: int, device: torch.device) -> Iterator[None]:
    """Seed everything random inside, ask for deterministic kernels, then restore both."""
    with (
        torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
        torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True),
    ):
        torch.manual_seed(seed)
        yield
