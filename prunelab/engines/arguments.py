"""What `training.fit` may be given: checked before anything is changed, and made ready."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prunelab.checks import check_count, check_seed, is_whole, said
from prunelab.checks.tensors import (
    calling,
    check_function,
    check_model,
    check_split,
    check_type,
    first_line,
    usable_device,
)
from prunelab.masks import refresh


def check_fit(
    model,
    data,
    steps=None,
    epochs=None,
    batch_size=128,
    optimizer=None,
    scheduler=None,
    loss=None,
    seed=0,
    eval_every=None,
    eval_splits=("valid",),
    device=None,
    progress=True,
) -> int:
    """The steps of an epoch, if all that `fit` is given is right."""
    check_model(model)
    for name in ("train", "valid", "test"):
        if not hasattr(data, name):
            raise TypeError(f"data must be what load_data returns, not {type(data).__name__}")
        check_split(f"data.{name}", getattr(data, name))
    if (steps is None) == (epochs is None):
        raise ValueError(
            f"give one of steps and epochs, not steps={said(steps)} and epochs={said(epochs)}"
        )
    for name, value in (("steps", steps), ("epochs", epochs), ("eval_every", eval_every)):
        if value is not None:
            check_count(name, value)
    if not is_whole(batch_size) or not 1 <= batch_size <= len(data.train):
        raise ValueError(
            f"batch_size={said(batch_size)} must be from 1 to the {len(data.train)} training images"
        )
    known = {"train", "valid", "test"}
    if not isinstance(eval_splits, tuple | list | set) or not set(map(str, eval_splits)) <= known:
        raise ValueError(
            f'eval_splits={said(eval_splits)} must be a tuple of "train", "valid" and "test"'
        )
    if not isinstance(optimizer, torch.optim.Optimizer):
        check_function("optimizer", optimizer)
    if not isinstance(scheduler, torch.optim.lr_scheduler.LRScheduler):
        check_function("scheduler", scheduler)
    check_function("loss", loss)
    check_type("progress", progress, bool, "True or False")
    check_seed(seed)
    if device is not None:
        usable_device(device)
    if not any(p.requires_grad for p in model.parameters()):
        raise ValueError("model has no parameter to train; every requires_grad is False")
    return -(-len(data.train) // batch_size)


def check_loss(batch_loss):
    """The loss of a batch, if it can be minimized."""
    if not isinstance(batch_loss, Tensor) or batch_loss.numel() != 1:
        shape = tuple(batch_loss.shape) if isinstance(batch_loss, Tensor) else said(batch_loss)
        raise ValueError(
            f"loss must return a tensor of one number for the whole batch, not {shape}"
        )
    if not batch_loss.requires_grad:
        raise ValueError("loss has no gradient: it must be computed from outputs, undetached")
    return batch_loss


@contextmanager
def as_it_was_if_nothing_is_learned(model: nn.Module, history) -> Iterator[None]:
    """If something fails before the first step is finished, put the model back as it was."""
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    modes = {module: module.training for module in model.modules()}
    device = next((tensor.device for tensor in model.parameters()), torch.device("cpu"))
    try:
        yield
    except Exception as error:
        if history.step > 0:
            raise
        model.to(device)
        for name, buffer in buffers.items():
            model.get_buffer(name).copy_(buffer)
        for module, mode in modes.items():
            module.training = mode
        refresh(model)
        if isinstance(error, ValueError | torch.OutOfMemoryError):
            raise
        raise ValueError(f"the first step failed: {first_line(error)}") from error


def make_optimizer(optimizer, model: nn.Module) -> torch.optim.Optimizer:
    """The optimizer of this model that was given, or one by the function that was, or Adam."""
    if optimizer is None:
        return torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    if not isinstance(optimizer, torch.optim.Optimizer):
        with calling("optimizer"):
            optimizer = optimizer(model.parameters())
        check_type("what optimizer makes", optimizer, torch.optim.Optimizer, "an optimizer")
        return optimizer
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
    with calling("scheduler"):
        return scheduler(optimizer)


def make_loss(loss: Callable | None) -> Callable:
    """A loss of outputs, labels and inputs, whichever of them the given one takes."""
    chosen: Callable = loss or F.cross_entropy
    with_inputs = "inputs" in inspect.signature(chosen).parameters

    def compute(outputs: Tensor, labels: Tensor, inputs: Tensor) -> Tensor:
        with calling("loss"):
            return chosen(outputs, labels, **({"inputs": inputs} if with_inputs else {}))

    return compute


@contextmanager
def reproducible(seed: int, device: torch.device) -> Iterator[None]:
    """Seed everything random inside, ask for deterministic kernels, then restore both."""
    with (
        torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
        torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True),
    ):
        torch.manual_seed(int(seed))
        yield
