"""What assignment A4 brings along: your curves, networks, their training, a colleague's code."""

import pandas as pd
import torch
from torch import Tensor, nn

from prunelab.data import Data, Split
from prunelab.engines.masked_mlp import fit_masked
from prunelab.engines.mnist_1d import drawn_curves

TRAIN, VALID, TEST = 1500, 1000, 2500
NETWORKS = (0, 1, 2, 3, 4)
"""The networks of part E: the seeds of their first weights."""
ROUNDS = 3
STEPS = 400
LEARNING_RATE = 0.01


def your_curves(seed: int) -> Data:
    """MNIST-1D, drawn from your seed: ten digits as noisy curves of 40 points.

    Source: Greydanus & Kobak (2024), arXiv:2011.14439, with its settings but for how many are
    drawn.
    """
    x, y = (part.clone() for part in drawn_curves(TRAIN + VALID + TEST, seed))
    parts = zip(x.split((TRAIN, VALID, TEST)), y.split((TRAIN, VALID, TEST)), strict=True)
    train, valid, test = (Split(*part) for part in parts)
    return Data("mnist-1d", train, valid, test, tuple("0123456789"))


def your_rates(seed: int) -> dict[str, float]:
    """The share of the weights left that a round prunes, by layer; half as much in the last."""
    rate = 0.46 + 0.02 * (seed % 5)
    return {"1": rate, "3": rate, "5": rate / 2}


def small_network(seed: int) -> nn.Sequential:
    """40-100-50-10, with first weights from a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Flatten(),
            *(nn.Linear(40, 100), nn.ReLU()),
            *(nn.Linear(100, 50), nn.ReLU()),
            nn.Linear(50, 10),
        )


def train(network: nn.Sequential, data: Data, order: int) -> pd.DataFrame:
    """Train a network in place, masked or not, by Adam. Its optimizer is new in every call.

    Returns:
        A row for each evaluation and split, "valid" and "test": `step`, `split`, `loss`,
        `accuracy`.
    """
    return fit_masked(
        network,
        data,
        steps=STEPS,
        batch_size=100,
        lr=LEARNING_RATE,
        seed=order,
        eval_every=20,
        eval_splits=("valid", "test"),
    ).history


class Rehearsal:
    """Stands in for a training: it throws the weights about, and writes down what it was given.

    After `rehearsal(network, masks, optimizer)`, `rehearsal.calls` has one more dictionary:

    * "before", "after": copies of the network's `state_dict()` before and after the training;
    * "masks": copies of the masks;
    * "optimizer": the optimizer itself;
    * "remembers": whether the optimizer held memories of an earlier training.

    Weights that are pruned are zero afterwards, as a training with masks leaves them.
    """

    def __init__(self, seed: int = 0):
        self.generator = torch.Generator().manual_seed(seed)
        self.calls: list[dict] = []

    def __call__(self, network: nn.Module, masks: dict[str, Tensor], optimizer) -> None:
        call = {
            "before": _copied(network.state_dict()),
            "masks": _copied(masks),
            "optimizer": optimizer,
            "remembers": len(optimizer.state) > 0,
        }
        for parameter in network.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=self.generator)
        optimizer.step()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=self.generator))
            for name, mask in masks.items():
                network.get_parameter(f"{name}.weight").mul_(mask)
        self.calls.append(call | {"after": _copied(network.state_dict())})


def _copied(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


def objection(judge, find_ticket) -> str | None:
    """What a judge says against an implementation; None if it is accepted."""
    try:
        judge(find_ticket)
    except AssertionError as error:
        return str(error) or "refused, without a reason"
    return None


def colleagues_ticket(network, train, rates, rounds):
    """A colleague's version of `find_ticket`. Something is wrong with it."""
    start = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    masks = {name: network.get_submodule(name).weight.abs() >= 0 for name in rates}
    for _ in range(rounds):
        train(network, masks, torch.optim.Adam(network.parameters()))
        for name, rate in rates.items():
            left = masks[name].flatten().nonzero().flatten()
            weight = network.get_submodule(name).weight.detach().flatten()
            order = weight[left].abs().argsort(stable=True)
            mask = masks[name].flatten().clone()
            mask[left[order[: round(rate * len(left))]]] = False
            masks[name] = mask.view_as(masks[name])
        for name, parameter in network.named_parameters():
            parameter.data = start[name]
        for name, mask in masks.items():
            network.get_submodule(name).weight.data *= mask
    return masks
