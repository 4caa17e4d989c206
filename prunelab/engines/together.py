"""Training many masked networks as one computation, for an accelerator."""

import copy

import pandas as pd
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F

from prunelab.data import Data, Split
from prunelab.engines.masked_mlp import (
    Trained,
    _linear_layers,
)
from prunelab.masks import effective_weight, kept_weights, make_pruning_permanent, prunable_layers
from prunelab.rewinding import State, snapshot, weight_rewinding
from prunelab.training import Evaluation, shuffled_batches


def fit_together(
    models: list[nn.Sequential],
    datas: list[Data],
    *,
    seeds: list[int],
    iterations: int,
    batch_size: int = 60,
    lr: float = 1.2e-3,
    eval_every: int = 100,
    test_curve: bool = False,
) -> list[Trained]:
    """Train masked networks of one architecture in place, all of them as one computation.

    Each is trained as `fit_masked` would train it alone, up to rounding. It is meant for an
    accelerator, which one small network does not fill; on a CPU it saves nothing.

    Args:
        models: networks as `fit_masked` takes them, on one device; their masks may differ.
        datas: the data of each, all of the same sizes. Networks that are given the same object
            share its images on the device.
        seeds: the seed of each.
        iterations, batch_size, lr, eval_every, test_curve: those of all, as in `fit_masked`.

    Returns:
        What `fit_masked` returns, for each.

    Raises:
        ValueError: another kind of network, or splits of different sizes.
    """
    stack = _Stack(models)
    train = _Pool([data.train for data in datas], stack.device)
    splits = {"valid": _Pool([data.valid for data in datas], stack.device)}
    if test_curve:
        splits["test"] = _Pool([data.test for data in datas], stack.device)
    batches = [shuffled_batches(train.size, batch_size, seed, stack.device) for seed in seeds]
    optimizer = torch.optim.Adam(list(stack.parameters.values()), lr, fused=True)

    history: dict[int, list[Tensor]] = {}  # read at the end: training does not wait for the device
    lowest = torch.full([len(models)], torch.inf, dtype=torch.double, device=stack.device)
    best = stack.parameters
    for iteration in range(iterations + 1):
        if iteration % eval_every == 0 or iteration == iterations:
            measured = {name: stack.evaluate(split) for name, split in splits.items()}
            loss = measured["valid"].loss
            history[iteration] = [loss, *(found.accuracy for found in measured.values())]
            better = loss < lowest
            lowest, best = torch.where(better, loss, lowest), stack.where(better, best)
        if iteration < iterations:
            stack.differentiate(train[torch.stack([next(own) for own in batches])])
            optimizer.step()

    table = torch.stack([torch.stack(row) for row in history.values()]).cpu()
    columns = ["valid_loss", *(f"{name}_accuracy" for name in splits)]
    trained = []
    for i, model in enumerate(models):
        rows = pd.DataFrame(table[:, :, i].numpy(), columns=columns)
        rows.insert(0, "iteration", list(history))
        trained.append(Trained(rows, stack.state(model, best, i)))
        weight_rewinding(model, stack.state(model, stack.parameters, i))
    return trained


class _Stack:
    """The weights and biases of networks of one architecture, in one tensor `[R, ...]` a name."""

    def __init__(self, models: list[nn.Sequential]):
        layers = [_linear_layers(model) for model in models]
        self.parameters, self.masks = {}, {}
        for name, same in zip(prunable_layers(models[0]), zip(*layers, strict=True), strict=True):
            weight, bias = f"{name}.weight", f"{name}.bias"
            self.parameters[weight] = torch.stack([effective_weight(layer) for layer in same])
            self.parameters[bias] = torch.stack([layer.bias.detach() for layer in same])
            self.masks[weight] = torch.stack([kept_weights(layer) for layer in same])
            self.masks[bias] = torch.ones_like(self.parameters[bias], dtype=torch.bool)
        self.device = self.parameters[bias].device
        plain = make_pruning_permanent(copy.deepcopy(models[0]))

        def outputs(parameters, x):
            return functional_call(plain, parameters, (x,))

        def loss(parameters, x, y):
            return F.cross_entropy(outputs(parameters, x), y)

        self._outputs, self._gradients = vmap(outputs), vmap(grad(loss))

    def differentiate(self, batch: Split) -> None:
        """Set the gradient of every network on a batch of its own."""
        gradients = self._gradients(self.parameters, batch.x, batch.y)
        for name, tensor in self.parameters.items():
            tensor.grad = gradients[name].mul_(self.masks[name])

    @torch.no_grad()
    def evaluate(self, pool: "_Pool", batch_size: int = 1000) -> Evaluation:
        """Mean cross-entropy and accuracy `[R]` on a split, as `training.evaluate`."""
        losses, correct = [], []
        for index in torch.arange(pool.size, device=self.device).split(batch_size):
            part = pool[index]
            outputs = self._outputs(self.parameters, part.x)
            loss = F.cross_entropy(outputs.double().mT, part.y, reduction="none")
            losses.append(loss)
            correct.append(outputs.argmax(dim=2) == part.y)
        return Evaluation(*(torch.cat(parts, 1).double().mean(1) for parts in (losses, correct)))

    def where(self, chosen: Tensor, others: State) -> State:
        """A copy of the weights and biases of the chosen networks, and those of the others."""
        return {
            name: torch.where(chosen.view(-1, *[1] * (tensor.ndim - 1)), tensor, others[name])
            for name, tensor in self.parameters.items()
        }

    def state(self, model: nn.Sequential, parameters: State, i: int) -> State:
        """Network i as a state for `weight_rewinding`, with the model's own masked weights."""
        return {
            name: torch.where(self.masks[name][i], parameters[name][i], tensor)
            for name, tensor in snapshot(model).items()
        }


class _Pool:
    """The images of splits of one size, those of equal splits only once."""

    def __init__(self, splits: list[Split], device: torch.device):
        self.size = len(splits[0])
        if any(len(split) != self.size for split in splits):
            sizes = " and ".join(str(size) for size in sorted({len(split) for split in splits}))
            raise ValueError(f"datas have splits of {sizes} images; they must be equal")
        distinct = {id(split): split for split in splits}
        parts = [split.to(device) for split in distinct.values()]
        self.images = Split(torch.cat([p.x for p in parts]), torch.cat([p.y for p in parts]))
        numbers = [list(distinct).index(id(split)) for split in splits]
        self.starts = torch.tensor(numbers, device=device).unsqueeze(1) * self.size

    def __getitem__(self, index: Tensor) -> Split:
        """Images of every split, `[R, B, ...]`, from the indices of all `[B]` or each `[R, B]`."""
        return self.images[self.starts + index]
