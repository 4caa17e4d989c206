"""Exercises of notebook 16."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from prunelab.early import apply_synflow
from prunelab.exercises.exercise import FIND_THE_BUG, IMPLEMENT, PREDICT, REASON, exercise
from prunelab.masks import get_masks
from prunelab.models import lenet300


def layers_and_batches() -> list[tuple]:
    generator = torch.Generator().manual_seed(0)
    cases = []
    for images, inputs, classes in ((6, 5, 3), (4, 9, 2), (1, 3, 4)):
        weight = torch.randn(classes, inputs, generator=generator)
        x = torch.randn(images, inputs, generator=generator)
        cases.append((weight, x, torch.randint(classes, (images,), generator=generator)))
    return cases


def gradient(weight: Tensor, x: Tensor, y: Tensor, reduction: str = "mean") -> Tensor:
    with torch.enable_grad():
        weight = weight.detach().clone().requires_grad_()
        loss = F.cross_entropy(x @ weight.T, y, reduction=reduction)
        return torch.autograd.grad(loss, weight)[0]


@exercise(
    "16.1",
    "SNIP by hand",
    IMPLEMENT,
    level=2,
    minutes=10,
    hints=(
        "Equation (16.1) has three parts: a gradient, a product, a magnitude.",
        "A copy that can have a gradient is `weight.detach().clone().requires_grad_()`. The loss "
        "is `F.cross_entropy(x @ weight.T, y)`, a mean over the images.",
        "`torch.autograd.grad(loss, weight)` returns a tuple of one gradient. Multiply it by the "
        "weight, and take `.abs()` and `.detach()`.",
    ),
    cases=layers_and_batches,
    mistakes={
        "That is the gradient alone. A large gradient at a tiny weight changes little.": (
            lambda weight, x, y: gradient(weight, x, y).abs()
        ),
        "That is the magnitude alone. The images have no say in it.": (
            lambda weight, x, y: weight.abs()
        ),
        "The sign is still there. Weights whose loss would fall count as much.": (
            lambda weight, x, y: weight * gradient(weight, x, y)
        ),
        "Your loss is a sum over the images. The ranking is the same, the scores are not.": (
            lambda weight, x, y: (weight * gradient(weight, x, y, "sum")).abs()
        ),
        "That is a square. It ranks alike, but (16.1) has a magnitude.": (
            lambda weight, x, y: (weight * gradient(weight, x, y)).square()
        ),
        "These scores sum to one. It ranks alike, but (16.1) does not divide.": (
            lambda weight, x, y: F.normalize(
                (weight * gradient(weight, x, y)).abs().flatten(), p=1, dim=0
            ).view_as(weight)
        ),
    },
)
def snip_by_hand(weight, x, y):
    """A network has one linear layer without a bias: its outputs are `x @ weight.T`, for images
    `x` [N, inputs] with labels `y` [N] and `weight` [classes, inputs]. Return the SNIP scores
    (16.1) of the weights, for the cross-entropy, averaged over the images.
    """
    weight = weight.detach().clone().requires_grad_()
    loss = F.cross_entropy(x @ weight.T, y)
    (change,) = torch.autograd.grad(loss, weight)
    return (weight * change).abs().detach()


def two_layers() -> list[tuple]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((4, 3, 2), (5, 2, 6), (1, 4, 1))
    return [
        (
            torch.randn(hidden, inputs, generator=generator),
            torch.randn(outputs, hidden, generator=generator),
        )
        for hidden, inputs, outputs in shapes
    ]


def flows(prepare: Callable, finish: Callable = lambda score: score) -> Callable:
    """An answer to 16.2 that treats signs in its own way, before and after."""

    def answer(first, second):
        first, second = prepare(first), prepare(second)
        into, out = first.sum(dim=1), second.sum(dim=0)
        return finish(first * out.view(-1, 1)), finish(second * into)

    return answer


@exercise(
    "16.2",
    "A flow that cancels",
    FIND_THE_BUG,
    level=2,
    minutes=10,
    hints=(
        "Try two inputs, one hidden unit and one output, with the weights 1, −1 and 1. What flows "
        "through the hidden unit?",
        "SynFlow replaces all weights by their absolute values. When, before the sums or after?",
        "Begin with `first, second = first.abs(), second.abs()`. The rest stays as it is.",
    ),
    cases=two_layers,
    mistakes={
        "Signs go at the end. But then the sums have already canceled.": flows(
            lambda weight: weight, Tensor.abs
        ),
        "That is a square. SynFlow takes the magnitude.": flows(Tensor.square),
        "Negative weights are cut off. They carry as much flow as positive ones.": flows(
            Tensor.relu
        ),
        "The two layers have changed places.": (
            lambda first, second: flows(Tensor.abs)(first, second)[::-1]
        ),
    },
)
def flow_scores(first, second):
    """Two linear layers follow each other, without biases: `first` [hidden, inputs] and `second`
    [outputs, hidden]. This function should return the SynFlow scores (16.3) of both. It gives
    some weights a score below zero, and a hidden unit with large weights may get next to nothing.
    Repair it.
    """
    first, second = first.abs(), second.abs()
    into, out = first.sum(dim=1), second.sum(dim=0)
    return first * out.view(-1, 1), second * into


@flow_scores.given
def flow_with_signs(first, second):
    into, out = first.sum(dim=1), second.sum(dim=0)
    return first * out.view(-1, 1), second * into


@exercise(
    "16.3",
    "Units without a weight",
    PREDICT,
    level=2,
    minutes=10,
    unit="a share, such as 0.02",
    hints=(
        "`apply_synflow(model, 0.98, torch.zeros(1, 1, 28, 28), rounds=20)` prunes in place.",
        "`get_masks(model)` gives a mask for each layer, a row a unit. A unit is without a weight "
        "where its row has none: `~mask.any(dim=1)`.",
        'Take the mean of that for `"fc1"`, as a float.',
    ),
    mistakes={
        "That is the share of units that keep a weight.": 0.16667,
        "That is the share of *weights* of fc1 that are gone.": 0.98872,
        "That is `fc2`.": 0.01,
        "Pixels are columns. A unit of the hidden layer is a row of the mask.": 0.017857,
    },
)
def units_without_weights():
    """Prune a new `lenet300(seed=0)` by SynFlow to a sparsity of 98 %, in 20 rounds. No layer is
    empty then. The layer `fc1` has 300 units. Which share of them has no weight left in `fc1`?
    Guess first, then measure.
    """
    model = lenet300(seed=0)
    apply_synflow(model, 0.98, torch.zeros(1, 1, 28, 28), rounds=20)
    return (~get_masks(model)["fc1"].any(dim=1)).float().mean().item()


@exercise(
    "16.4",
    "ERK by hand",
    REASON,
    level=3,
    minutes=15,
    unit="a share, such as 0.7",
    hints=(
        "A linear layer of equation (16.5) has no kernel: its raw density is "
        "(inputs + outputs) / (inputs · outputs). Times its weights that is inputs + outputs.",
        "So ε times the sum of all inputs + outputs is the number of weights to keep, unless a "
        "layer comes out above 1. Is there one here?",
        "`fc3` would be above 1. It is kept whole, and takes its 1,000 weights out of the budget. "
        "Find ε anew for the two others.",
    ),
    mistakes={
        "One layer would keep more than all its weights. Cap it, and find ε anew.": (
            0.2 * 266_200 / (1084 + 400 + 110) * 400 / 30_000
        ),
        "That is the density of the whole network. ERK gives small layers more.": 0.2,
        "That is `fc1`.": (0.2 * 266_200 - 1000) / 1484 * 1084 / 235_200,
        "The whole layer is out of the sum, but its weights are still in the budget.": (
            0.2 * 266_200 / 1484 * 400 / 30_000
        ),
    },
    tolerance=0.005,
)
def density_of_a_layer():
    """`lenet300` has three linear layers: `fc1` from 784 inputs to 300 outputs, `fc2` from 300 to
    100, and `fc3` from 100 to 10. By equation (16.5), which share of its weights does `fc2` keep
    if the network keeps 20 %? (`erk_densities` knows, but do it by hand.)
    """
    budget = 0.2 * (784 * 300 + 300 * 100 + 100 * 10) - 100 * 10
    epsilon = budget / (784 + 300 + 300 + 100)
    return epsilon * (300 + 100) / (300 * 100)


@exercise(
    "16.5",
    "What the same money buys",
    REASON,
    level=2,
    minutes=10,
    unit="times as many steps, such as 3.5",
    hints=(
        "Write down what magnitude after training costs: T dense steps, and T sparse ones.",
        "And an average step of RigL: its own share, and once in 100 steps a dense one on top.",
        "1.05 T, divided by 0.05 + 0.01 a step.",
    ),
    mistakes={
        "You forgot the dense gradients of RigL.": 1.05 / 0.05,
        "You forgot that the pruned network is trained once more.": 1 / 0.06,
        "You forgot both: the dense gradients, and the second training.": 1 / 0.05,
    },
    tolerance=0.01,
)
def steps_for_the_same_cost():
    """A training step of the dense network costs 1, one with 5 % of the weights 0.05. Magnitude
    after training takes T dense steps, prunes to 5 %, and takes T sparse steps. RigL trains with
    5 % from the start, and needs the gradient of *all* weights once in 100 steps; count that as
    one more dense step. How many steps can RigL take for the same cost, in multiples of T?
    """
    return (1 + 0.05) / (0.05 + 1 / 100)
