"""One plain training loop for every experiment (notebook 00)."""

import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm.auto import tqdm

from prunelab.checks import check_count
from prunelab.checks.tensors import check_model, check_split, check_type, running_on
from prunelab.data import Data, Split
from prunelab.engines.arguments import (
    as_it_was_if_nothing_is_learned,
    check_fit,
    check_loss,
    make_loss,
    make_optimizer,
    make_scheduler,
    reproducible,
)
from prunelab.engines.convolutions import fast_convolutions


class Evaluation(NamedTuple):
    """Mean loss in nats, and accuracy as a fraction from 0 to 1."""

    loss: float
    accuracy: float


class TrainingInterrupted(UserWarning):
    """Training was stopped by hand: the model and the history end early."""


def fit(
    model: nn.Module,
    data: Data,
    *,
    steps: int | None = None,
    epochs: int | None = None,
    batch_size: int = 128,
    optimizer: torch.optim.Optimizer | Callable | None = None,
    scheduler: torch.optim.lr_scheduler.LRScheduler | Callable | None = None,
    loss: Callable | None = None,
    seed: int = 0,
    eval_every: int | None = None,
    eval_splits: tuple[str, ...] = ("valid",),
    device: torch.device | str | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    r"""Train `model` in place on `data.train` and return its history.

    The loss minimized is the mean over a batch $B$ of labeled images,

    $$\mathcal{L}(\theta) = -\frac{1}{|B|} \sum_{(x, y) \in B}
    \log \operatorname{softmax}\big(f_\theta(x)\big)_y \tag{0.1}$$

    unless another `loss` is given. The images are shuffled anew in every epoch.

    Args:
        model: any network from images `[N, C, H, W]` to class scores `[N, classes]`, or from text
            `[N, T]` to scores of the next character `[N, classes, T]`: each counts as an image.
        data: what `load_data` returns.
        steps, epochs: how long to train; give one of the two. A step is one batch.
        batch_size: images a step; the last batch of an epoch may be smaller.
        optimizer: an optimizer over the model's parameters, or a function that makes one from
            them. None means Adam with learning rate 0.001.
        scheduler: a learning-rate scheduler of that optimizer, or a function that makes one from
            it; stepped once after every batch. None keeps the learning rate constant.
        loss: `loss(outputs, labels)`, or `loss(outputs, labels, inputs=images)` if it has a
            parameter of the name `inputs`. None means cross-entropy.
        seed: draws the order of the images (and dropout). The same machine and seed give
            bit-identical weights.
        eval_every: steps between evaluations; None means once an epoch. There is always one
            before the first step and one after the last.
        eval_splits: which of "train", "valid" and "test" to evaluate.
        device: where to train; None means an accelerator if there is one, else the CPU. The model
            stays there.
        progress: show a progress bar.

    Returns:
        A tidy table, one row an evaluation and split: `step`, `epoch`, `split`, `loss`,
        `accuracy`, `train_loss` (mean over the batches since the evaluation before), `lr`,
        `seconds` (of training alone, evaluations not counted). The model is left in evaluation
        mode.

    Raises:
        ValueError: neither or both of `steps` and `epochs`, a number out of range, an unknown
            split or device, an optimizer that holds none of the model's parameters; a first step
            that fails (a wrong loss). The model is as it was.

    Warns:
        TrainingInterrupted: stopped by hand (Ctrl-C, or the stop button); the model is usable and
            the history goes up to the last finished step.
    """
    options = (batch_size, optimizer, scheduler, loss, seed, eval_every, eval_splits, device)
    steps_per_epoch = check_fit(model, data, steps, epochs, *options)
    if epochs is not None:
        steps = epochs * steps_per_epoch
    assert steps is not None  # checked above: one of the two is given
    eval_every = eval_every or steps_per_epoch
    optimizer = make_optimizer(optimizer, model)
    schedule = make_scheduler(scheduler, optimizer)
    compute_loss = make_loss(loss)
    device = torch.device(device) if device is not None else default_device()
    splits = {name: getattr(data, name).to(device) for name in {"train", *eval_splits}}
    x, y = splits["train"].x, splits["train"].y
    evaluated = {name: splits[name] for name in eval_splits if len(splits[name]) > 0}
    history = _History(model, evaluated, optimizer, steps_per_epoch, device)
    undo = as_it_was_if_nothing_is_learned(model, history)
    with undo, reproducible(seed, device), fast_convolutions(model.to(device)):
        history.record()
        model.train()
        batches = islice(shuffled_batches(len(y), batch_size, seed, device), steps)
        try:
            for index in _with_progress_bar(batches, steps, progress):
                inputs, labels = x.index_select(0, index), y.index_select(0, index)
                batch_loss = check_loss(compute_loss(model(inputs), labels, inputs))
                optimizer.zero_grad()
                batch_loss.backward()
                optimizer.step()
                if schedule is not None:
                    schedule.step()
                history.count(batch_loss)
                if history.step % eval_every == 0 or history.step == steps:
                    history.record()
        except KeyboardInterrupt:
            if history.recorded < history.step:
                history.record()
            warnings.warn(
                f"training was interrupted after step {history.step} of {steps}; "
                "the model keeps what it has learned so far",
                TrainingInterrupted,
                stacklevel=2,
            )
        # A pass without gradients leaves masked weights free of the graph: the model can be copied.
        with torch.no_grad():
            model.eval()(x[:1])
    return pd.DataFrame(history.rows, columns=HISTORY_COLUMNS)


HISTORY_COLUMNS = ["step", "epoch", "split", "loss", "accuracy", "train_loss", "lr", "seconds"]


class _History:
    """Counts the steps of a training, and records how well the model does by then."""

    def __init__(self, model, splits: dict[str, Split], optimizer, steps_per_epoch: int, device):
        self.model, self.splits, self.optimizer = model, splits, optimizer
        self.steps_per_epoch = steps_per_epoch
        self.rows: list[dict] = []
        self.step = self.recorded = 0
        self.loss_sum = torch.zeros((), device=device)
        self.seconds, self.clock = 0.0, time.perf_counter()

    def count(self, batch_loss: Tensor) -> None:
        """A step is finished, with this loss."""
        self.loss_sum += batch_loss.detach()
        self.step += 1

    def record(self) -> None:
        """Evaluate every split now. The clock stands still meanwhile."""
        new_steps = self.step - self.recorded
        if new_steps:
            self.seconds += time.perf_counter() - self.clock
        common = {
            "train_loss": self.loss_sum.item() / new_steps if new_steps else float("nan"),
            "lr": self.optimizer.param_groups[0]["lr"],
            "seconds": self.seconds,
        }
        when = {"step": self.step, "epoch": self.step / self.steps_per_epoch}
        self.rows += [
            {**when, "split": name, **evaluate(self.model, split)._asdict(), **common}
            for name, split in self.splits.items()
        ]
        self.recorded = self.step
        self.loss_sum.zero_()
        self.clock = time.perf_counter()


def _with_progress_bar(batches: Iterator[Tensor], steps: int, progress: bool) -> Iterator[Tensor]:
    check_type("progress", progress, bool, "True or False")
    hide = not progress or "TQDM_DISABLE" in os.environ  # the notebook bar ignores the variable
    return tqdm(batches, desc="fit", total=steps, disable=hide)


@torch.no_grad()
def evaluate(model: nn.Module, split: Split, batch_size: int = 250) -> Evaluation:
    r"""Mean cross-entropy and accuracy of `model` on a split.

    $$\text{accuracy} = \frac{1}{N} \sum_{i=1}^{N}
    \mathbb{1}\big[\arg\max_c f_\theta(x_i)_c = y_i\big] \tag{0.2}$$

    where $f_\theta(x)_c$ is the score that the network with weights $\theta$ gives class $c$, and
    $\mathbb{1}[\cdot]$ is 1 if the statement is true, else 0. The model is put in evaluation mode
    for the time of the call and stays on its device.

    Args:
        model: any network from images to class scores.
        split: images and labels, for instance `data.test`.
        batch_size: images a forward pass.

    Returns:
        `.loss` (equation (0.1) over the whole split, in nats) and `.accuracy` (0 to 1).

    Raises:
        ValueError: an empty split.
    """
    check_model(model)
    check_split("split", split)
    check_count("batch_size", batch_size)
    size = int(batch_size)
    if len(split) == 0:
        raise ValueError("split is empty; load_data(valid=…) says how many images it gets")
    device = next(model.parameters(), split.x).device
    loss, correct = 0.0, 0
    with evaluation_mode(model), running_on("split.x", split.x):
        for x, y in zip(split.x.split(size), split.y.split(size), strict=True):
            outputs, y = model(x.to(device)), y.to(device)
            loss += F.cross_entropy(outputs, y, reduction="sum").item()
            correct += (outputs.argmax(dim=1) == y).sum().item()
    return Evaluation(loss / split.y.numel(), correct / split.y.numel())


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; afterwards every module is in the mode it was in."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def shuffled_batches(size: int, batch_size: int, seed: int, device="cpu") -> Iterator[Tensor]:
    """Endless batches of indices into `size` examples, in a new order every epoch."""
    generator = torch.Generator().manual_seed(int(seed))
    while True:
        yield from torch.randperm(size, generator=generator).to(device).split(int(batch_size))


def default_device() -> torch.device:
    """The accelerator of this machine if it has one, else its CPU."""
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
