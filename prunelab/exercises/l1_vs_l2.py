"""Exercises of notebook 10."""

import torch
from torch import Tensor

from prunelab.exercises.exercise import FIND_THE_BUG, IMPLEMENT, PREDICT, REASON, exercise
from prunelab.filters import filter_norms
from prunelab.models import pretrained


@exercise(
    "10.1",
    "Two filters in dispute",
    REASON,
    level=1,
    minutes=5,
    unit="[[a, b, c], [d, e, f]], two filters of three numbers",
    hints=(
        "L2 gives most of the say to the largest weight. Which of the two filters should have one?",
        "The first filter must have the smaller sum of sizes, and the larger sum of squares.",
        "Put all of the first filter into one weight, and spread the second one evenly.",
    ),
)
def filters_in_dispute():
    """Find two filters of three weights each, about which the norms disagree. By L1 the first would
    be pruned, by L2 the second. Give them as two lists of numbers.
    """
    return [[0, 5, 0], [2, 2, 2]]


@filters_in_dispute.check
def _(answer: list) -> str | None:
    try:
        filters = torch.as_tensor(answer, dtype=torch.float64)
    except (TypeError, ValueError):
        return "Two lists of three numbers each are wanted, as [[a, b, c], [d, e, f]]."
    if filters.shape != (2, 3):
        return f"Two filters of three weights are wanted; yours have shape {list(filters.shape)}."
    l1, l2 = (filter_norms(filters, norm) for norm in ("l1", "l2"))
    if l1[0] < l1[1] and l2[0] > l2[1]:
        return None
    if l1[0] > l1[1] and l2[0] < l2[1]:
        return "They disagree, but the other way round: the filter of the lower norm is pruned."
    norms = [", ".join(f"{norm:.3g}" for norm in pair.tolist()) for pair in (l1, l2)]
    return f"The L1 norms are {norms[0]}, the L2 norms {norms[1]}: here they do not disagree."


def weights_and_rates() -> list[tuple]:
    generator = torch.Generator().manual_seed(0)
    fixed = torch.tensor([0.5, -0.25, 0.01, -0.03, 0.0])
    random = [torch.randn(shape, generator=generator) for shape in ((3,), (4, 2))]
    return [(fixed, 0.1, 0.2), (random[0], 0.5, 0.3), (random[1], 0.01, 2.0)]


@exercise(
    "10.2",
    "One step on a penalty",
    IMPLEMENT,
    level=2,
    minutes=8,
    hints=(
        "A step of gradient descent: `w - lr * gradient`. The gradient is that of `strength` times "
        "(10.2).",
        "The derivative of |w| is the sign of w: 1, −1, or 0 for a weight of 0. What is that of "
        "½ w²?",
        "L1: `w - lr * strength * w.sign()`. L2: the same with `w` in the place of its sign.",
    ),
    cases=weights_and_rates,
    mistakes={
        "L1 pulls toward zero: a negative weight must rise.": (
            lambda w, lr, strength: (w - lr * strength, w - lr * strength * w)
        ),
        "The ½ in R₂ cancels the 2 of the derivative: its gradient is w itself.": (
            lambda w, lr, strength: (w - lr * strength * w.sign(), w - 2 * lr * strength * w)
        ),
        "Both steps are right, in the other order: L1 first.": (
            lambda w, lr, strength: (w - lr * strength * w, w - lr * strength * w.sign())
        ),
        "Your steps go up the penalty. Descent subtracts the gradient.": (
            lambda w, lr, strength: (w + lr * strength * w.sign(), w + lr * strength * w)
        ),
        "Those are the gradients, or the steps. The weights after the step are wanted.": (
            lambda w, lr, strength: (lr * strength * w.sign(), lr * strength * w)
        ),
    },
    tolerance=1e-5,
)
def penalty_step(w, lr, strength):
    """Take one step of plain gradient descent on the penalty alone, `strength` times R₁ or R₂ of
    equation (10.2). `w` is a tensor of weights and `lr` the learning rate. Return the weights after
    a step under L1, and those after a step under L2, two tensors.
    """
    return w - lr * strength * w.sign(), w - lr * strength * w


def weights_and_counts() -> list[tuple]:
    generator = torch.Generator().manual_seed(0)
    shapes = (((4, 4, 3, 3), 2), ((6, 6, 1, 1), 3), ((5, 3, 3, 3), 4), ((3, 8, 1, 2), 1))
    return [(torch.randn(shape, generator=generator), count) for shape, count in shapes]


def ranked(scores: Tensor, count: int) -> Tensor:
    return scores.argsort()[:count]


@exercise(
    "10.3",
    "Filters of another kind",
    FIND_THE_BUG,
    level=2,
    minutes=6,
    hints=(
        "Try it on `torch.randn(5, 3, 3, 3)`, the weight of a convolution with 5 filters that read "
        "3 channels. How many norms does it compute?",
        "The weight is [filters, inputs, height, width]. A norm of a filter goes over all weights "
        "of that filter, so which dimensions does it sum over?",
        "`dim=(0, ...)` adds up over the filters. Leave dimension 0 alone, and sum over the three "
        "others.",
    ),
    cases=weights_and_counts,
    mistakes={
        "Those are no filters. For a weight of [5, 3, 3, 3] you rank three norms, and there are "
        "five filters.": lambda weight, count: ranked(weight.abs().sum(dim=(0, 2, 3)), count),
        "Without `abs` weights of both signs cancel: that is no norm.": (
            lambda weight, count: ranked(weight.sum(dim=(1, 2, 3)), count)
        ),
        "That ranks by the L2 norm; L1 is wanted.": (
            lambda weight, count: ranked(weight.square().sum(dim=(1, 2, 3)), count)
        ),
        "Those are the right filters, but not in the order of their norms.": (
            lambda weight, count: ranked(weight.abs().sum(dim=(1, 2, 3)), count).sort().values
        ),
        "Those have the *largest* norms.": (
            lambda weight, count: ranked(-weight.abs().sum(dim=(1, 2, 3)), count)
        ),
    },
)
def lowest_filters(weight, count):
    """This function is to return the numbers of the `count` filters with the lowest L1 norms
    (10.1), the lowest first. It runs without an error in every layer that has as many inputs as
    filters, and is wrong there, too. Repair it.
    """
    norms = weight.abs().sum(dim=(1, 2, 3))
    return norms.argsort()[:count]


@lowest_filters.given
def lowest_inputs(weight, count):
    norms = weight.abs().sum(dim=(0, 2, 3))
    return norms.argsort()[:count]


@exercise(
    "10.4",
    "One ranking for all layers",
    PREDICT,
    level=2,
    minutes=8,
    unit="a number of filters, such as 3",
    hints=(
        "`filter_norms(model.conv1.weight)` gives 16 norms. Join those of the three layers with "
        "`torch.cat`.",
        "`argsort` gives the places from the lowest norm to the highest. Which places belong to "
        "`conv1`?",
        "Of the first 34 places of `argsort`, count those below 16. Why so many? A filter of "
        "`conv1` has 9 weights, one of `conv3` has 288.",
    ),
    mistakes={
        "That is 30 % of 16, as if each layer had a ranking of its own.": 5,
        "Those 18 belong to another layer.": 18,
    },
    tolerance=0,
)
def filters_of_conv1():
    """The trained `small_convnet` has convolutions of 16, 32 and 64 filters. All 112 are ranked
    together by their L1 norms (10.1), and the lowest 34, about 30 %, shall go. How many of the
    16 filters of `conv1` are among them? Guess first, then measure it.
    """
    model = pretrained("small_convnet")
    layers = (model.conv1, model.conv2, model.conv3)
    norms = torch.cat([filter_norms(layer.weight) for layer in layers])
    lowest = norms.argsort()[:34]
    return (lowest < 16).sum().item()


@exercise(
    "10.5",
    "A step that stops at zero",
    REASON,
    level=3,
    minutes=12,
    hints=(
        "Under L1 every weight moves by `lr * strength`. Which weights would cross zero?",
        "Work with the size and the sign apart. The size becomes smaller, but never less than "
        "zero.",
        "`(w.abs() - lr * strength).clamp(min=0)` is the new size. Give it the sign of `w`.",
    ),
    cases=weights_and_rates,
    mistakes={
        "That is the plain step. A weight that it carries over zero must stop at zero.": (
            lambda w, lr, strength: w - lr * strength * w.sign()
        ),
        "The small weights are zero, but the others must be pulled, too.": (
            lambda w, lr, strength: w * (w.abs() > lr * strength)
        ),
        "Negative weights are lost: clamp the size of a weight, not the weight.": (
            lambda w, lr, strength: (w - lr * strength).clamp(min=0)
        ),
        "Those are the sizes; the signs are missing.": (
            lambda w, lr, strength: (w.abs() - lr * strength).clamp(min=0)
        ),
    },
    tolerance=1e-5,
)
def step_that_stops(w, lr, strength):
    """Plain descent on R₁ steps over zero and back, and no weight stays exactly zero. Move every
    weight of the tensor `w` toward zero by `lr * strength`, and set it to exactly 0 where this step
    would reach or cross zero. Return the new weights.
    """
    return w.sign() * (w.abs() - lr * strength).clamp(min=0)
