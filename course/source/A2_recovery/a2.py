"""What assignment A2 brings along: your networks, one training for all ways, a colleague's step."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prunelab.data import Data
from prunelab.finetuning import learning_rate_rewinding
from prunelab.training import fit

DENSE_STEPS, DENSE_RATE, MILESTONES = 400, 0.03, (0.5, 0.75)
"""The dense training: its steps, its first learning rate, and where that falls tenfold."""
BUDGET = 200
"""Steps of retraining, for every way."""
TEMPERATURE, ALPHA = 4.0, 0.5
"""Of the distillation in part D."""
TUNING = (100, 101)
"""The networks on which rates are chosen."""
NETWORKS = (0, 1, 2, 3, 4)
"""The networks that are compared."""
WAYS = ("last rate", "cosine", "LR rewinding", "distillation", "random mask", "dense trained on")
RATED = ("cosine", "distillation", "dense trained on")
"""The ways whose learning rate is chosen on validation images."""
COMPARED = (
    ("distillation", "last rate"),
    ("cosine", "last rate"),
    ("distillation", "cosine"),
    ("LR rewinding", "cosine"),
    ("cosine", "random mask"),
    ("cosine", "before"),
    ("cosine", "dense trained on"),
)
"""The differences of part D: the first minus the second."""


def your_sparsity(seed: int) -> float:
    """The share of the weights that is pruned."""
    return 0.9 + 0.01 * (seed % 6)


def small_network(number: int) -> nn.Sequential:
    """784-64-10, with first weights from a number."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(number)
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 10))


def dense_network(data: Data, number: int) -> nn.Sequential:
    """A network that is trained as it was meant to be, before anything is pruned."""
    network = small_network(number)
    pair = learning_rate_rewinding(network, DENSE_STEPS, lr=DENSE_RATE, milestones=MILESTONES)
    return retrain(network, data, pair, DENSE_STEPS, order=number)


def retrain(
    network: nn.Sequential,
    data: Data,
    pair: tuple,
    steps: int,
    order: int,
    loss: Callable | None = None,
) -> nn.Sequential:
    """Train a network in place, masked or not, 64 images a step. The same network comes back.

    Args:
        pair: an optimizer, and a scheduler of its learning rate; or an optimizer and None.
        order: a number that draws the order of the images.
        loss: as for `fit`, such as `distill(…)`; None means cross-entropy with the labels.
    """
    how = {"optimizer": pair[0], "scheduler": pair[1], "seed": order, "loss": loss}
    how |= {"eval_splits": (), "device": "cpu", "progress": False}
    fit(network, data, steps=steps, batch_size=64, **how)
    return network


class Watcher:
    """Stands in for `retrain`: it trains nothing, and writes down in `calls` what it was given."""

    def __init__(self) -> None:
        self.calls: list[dict] = []

    def __call__(self, network, data, pair, steps, order, loss=None):
        with torch.no_grad():
            network(torch.zeros(1, 1, 28, 28))  # so that a network with new masks can be copied
        call = {"network": copy.deepcopy(network), "steps": steps, "order": order, "loss": loss}
        optimizer, scheduler = pair
        group, rates = optimizer.param_groups[0], []
        for _ in range(steps):
            rates.append(group["lr"])
            optimizer.step()  # there are no gradients: nothing moves
            if scheduler is not None:
                scheduler.step()
        self.calls.append(call | {"rates": torch.tensor(rates), "optimizer": optimizer})
        return network


def classroom(seed: int) -> tuple[nn.Sequential, nn.Sequential, Tensor, Tensor]:
    """A small student and its teacher, both with BatchNorm, and images with labels for one step.

    All is in float64. The teacher's statistics are not those of these images.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        student = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4))
        norm, last = nn.BatchNorm1d(16), nn.Linear(16, 4)
        teacher = nn.Sequential(nn.Linear(6, 16), norm, nn.ReLU(), nn.Dropout(0.3), last)
        norm.get_buffer("running_mean").normal_()
        norm.get_buffer("running_var").uniform_(0.5, 2)
        last.weight.data.mul_(5)
        images, labels = torch.randn(12, 6).double(), torch.randint(0, 4, (12,))
    return student.double(), teacher.double(), images, labels


def colleagues_step(student, teacher, optimizer, images, labels, T, alpha):
    """A colleague's version of `distillation_step`. Something is wrong with it."""
    both = nn.ModuleDict({"student": student, "teacher": teacher}).train()
    with torch.no_grad():
        soft = F.softmax(both["teacher"](images) / T, dim=1)
    scores = both["student"](images)
    apart = F.kl_div(F.log_softmax(scores / T, dim=1), soft, reduction="batchmean")
    total = alpha * F.cross_entropy(scores, labels) + (1 - alpha) * T**2 * apart
    optimizer.zero_grad()
    total.backward()
    optimizer.step()
    return total.item()
