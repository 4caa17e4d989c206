"""Exercises of notebook 15."""

from collections.abc import Callable

import torch

from prunelab.exercises.exercise import FIND_THE_BUG, IMPLEMENT, PREDICT, REASON, exercise
from prunelab.masks import prunable_layers
from prunelab.models import pretrained
from prunelab.shipping import rounded


def layers_with_norms() -> list[tuple]:
    generator = torch.Generator().manual_seed(0)
    cases = []
    for shape in ((4, 3, 3, 3), (6, 1, 5, 5), (3, 8, 1, 1)):
        weight = torch.randn(shape, generator=generator).double()
        bias, gamma, beta, mean = torch.randn(4, shape[0], generator=generator).double()
        var = torch.rand(shape[0], generator=generator).double() + 0.2
        cases.append((weight, bias, gamma, beta, mean, var, 0.1))
    return cases


def folded_with(scale: Callable, shift: Callable) -> Callable:
    """An answer to 15.1 with its own factor, and its own bias from it."""

    def answer(weight, bias, gamma, beta, mean, var, eps):
        factor = scale(gamma, var, eps)
        return weight * factor.view(-1, 1, 1, 1), shift(bias, beta, mean, factor)

    return answer


def usual_scale(gamma, var, eps):
    return gamma / (var + eps).sqrt()


def usual_shift(bias, beta, mean, factor):
    return beta + factor * (bias - mean)


@exercise(
    "15.1",
    "Fold it by hand",
    IMPLEMENT,
    level=2,
    minutes=12,
    hints=(
        "Equation (15.1) has one factor that stands in both parts. Compute it first.",
        "`factor = gamma / (var + eps).sqrt()` is a number for each output channel. The weights of "
        "a channel are `weight[c]`, three dimensions.",
        "`factor.view(-1, 1, 1, 1)` makes the factor broadcast over them. The bias becomes "
        "`beta + factor * (bias - mean)`.",
    ),
    cases=layers_with_norms,
    mistakes={
        "The variance is divided by, but its root is meant.": folded_with(
            lambda gamma, var, eps: gamma / (var + eps), usual_shift
        ),
        "ε stands below the root, beside the variance.": folded_with(
            lambda gamma, var, eps: gamma / (var.sqrt() + eps), usual_shift
        ),
        "Without ε it is not quite the same.": folded_with(
            lambda gamma, var, eps: gamma / var.sqrt(), usual_shift
        ),
        "The weights are divided by the deviation, and γ is missing.": folded_with(
            lambda gamma, var, eps: 1 / (var + eps).sqrt(), usual_shift
        ),
        "The old bias is lost. BatchNorm scales it, too.": folded_with(
            usual_scale, lambda bias, beta, mean, factor: beta - factor * mean
        ),
        "The old bias goes through BatchNorm as well: it is multiplied by the factor.": folded_with(
            usual_scale, lambda bias, beta, mean, factor: beta + bias - factor * mean
        ),
        "The mean is subtracted before BatchNorm multiplies.": folded_with(
            usual_scale, lambda bias, beta, mean, factor: beta + factor * bias - mean
        ),
        "β is missing.": folded_with(
            usual_scale, lambda bias, beta, mean, factor: factor * (bias - mean)
        ),
    },
)
def folded(weight, bias, gamma, beta, mean, var, eps):
    """A convolution with `weight` [out, in, k, k] and `bias` [out] is followed by BatchNorm with
    γ = `gamma`, β = `beta`, the running statistics `mean` and `var`, and ε = `eps`. Return the
    weight and the bias of one convolution that does what both do in evaluation mode.
    """
    factor = gamma / (var + eps).sqrt()
    return weight * factor.view(-1, 1, 1, 1), beta + factor * (bias - mean)


def numbers_to_store() -> list[tuple]:
    generator = torch.Generator().manual_seed(0)
    random = torch.randn(40, generator=generator).double()
    return [
        (torch.tensor([-1.0, 0.0, 0.5, 1.55]).double(), -1.0, 1.55),
        (random, -1.7, 2.3),
        (random.relu(), 0.0, 1.9),
        (3 * random, -2.0, 4.0),
    ]


def stored_with(
    levels: int = 255, offset: bool = True, clip: bool = True, rounding: Callable = torch.round
) -> Callable:
    """An answer to 15.2 with a part of it done otherwise."""

    def answer(x, low, high):
        scale = (high - low) / levels
        q = rounding(x / scale) + (round(-low / scale) if offset else 0)
        return q.clamp(0, 255) if clip else q

    return answer


@exercise(
    "15.2",
    "Into one byte",
    IMPLEMENT,
    level=2,
    minutes=12,
    hints=(
        "Equation (15.2) names everything in order: s, z, q.",
        "`scale = (high - low) / 255` and `zero = round(-low / scale)` are plain numbers. Then "
        "round `x / scale`, and add `zero`.",
        "What lies outside of the range must not leave the byte: `.clamp(0, 255)` at the end.",
    ),
    cases=numbers_to_store,
    mistakes={
        "256 numbers have 255 steps between them.": stored_with(levels=256),
        "The zero point is missing: zero must not always become 0.": stored_with(offset=False),
        "Numbers outside of the range leave the byte. Clip them.": stored_with(clip=False),
        "That rounds down. `round` is to the nearest.": stored_with(rounding=torch.floor),
        "Those are the numbers that come back; the whole numbers q are wanted.": rounded,
        "The range is yours to use, not that of x: it was measured on other images.": (
            lambda x, low, high: stored_with()(x, min(x.min().item(), 0.0), x.max().item())
        ),
    },
)
def to_bytes(x, low, high):
    """Return the whole numbers q, from 0 to 255, in which equation (15.2) stores the numbers `x`
    for the range from `low` to `high`. They may have any dtype.
    """
    scale = (high - low) / 255
    zero = round(-low / scale)
    return (torch.round(x / scale) + zero).clamp(0, 255)


def several_batches() -> list[tuple]:
    generator = torch.Generator().manual_seed(0)
    cases = []
    for shift in (0.0, 3.0, -3.0):
        batches = [torch.randn(5, 7, generator=generator) + shift for _ in range(3)]
        cases.append(([batches[0], 2 * batches[1], batches[2]],))
    return cases


@exercise(
    "15.3",
    "A range that forgets",
    FIND_THE_BUG,
    level=2,
    minutes=10,
    hints=(
        "Call it with two batches, a bright one and then a dark one. Which of them does the result "
        "know?",
        "`low` and `high` are written anew for every batch. And what if all numbers are above "
        "zero? Equation (15.2) wants l ≤ 0 ≤ h.",
        "Begin with `low = high = 0.0`, and take `min(low, …)` and `max(high, …)` in every batch.",
    ),
    cases=several_batches,
    mistakes={
        "Zero must lie inside, or it has no byte: ReLU and padding make many zeros.": (
            lambda batches: (
                min(batch.min().item() for batch in batches),
                max(batch.max().item() for batch in batches),
            )
        ),
        "That is the range of the first batch.": (
            lambda batches: (
                min(batches[0].min().item(), 0.0),
                max(batches[0].max().item(), 0.0),
            )
        ),
        "That is the range of the last batch.": (
            lambda batches: (
                min(batches[-1].min().item(), 0.0),
                max(batches[-1].max().item(), 0.0),
            )
        ),
    },
)
def calibrated_range(batches):
    """Calibration watches a layer while training images go through the network in batches, and
    returns the smallest and the largest number it has seen, a range that equation (15.2) can use.
    This function gives other ranges. Repair it; there are two mistakes in it.
    """
    low = high = 0.0
    for batch in batches:
        low, high = min(low, batch.min().item()), max(high, batch.max().item())
    return low, high


@calibrated_range.given
def range_of_the_last_batch(batches):
    for batch in batches:
        low, high = batch.min().item(), batch.max().item()
    return low, high


@exercise(
    "15.4",
    "Bytes prune, too",
    PREDICT,
    level=2,
    minutes=10,
    unit="a share, such as 0.02",
    hints=(
        "`prunable_layers(model)` gives the layers by name; each has a `weight`.",
        "`rounded(weight, low, high)` with `weight.min().item()` and `weight.max().item()` is what "
        "comes back from the bytes.",
        "Compare with zero, `== 0`, and take all layers together: the number of zeros over the "
        "number of weights.",
    ),
    mistakes={
        "That is with one range for all layers. Each has a range of its own.": 0.027186,
        "That is the mean over layers. A large layer has more weights than a small one.": 0.014960,
        "That is `fc1` alone.": 0.023214,
    },
)
def zeros_from_rounding():
    """Round every layer of the shipped `pretrained("lenet300")` by equation (15.2), with the
    smallest and the largest weight of that layer as its range. No weight was zero before. Which
    share of the weights is exactly zero now? Guess first, then measure.
    """
    zeros = total = 0
    for layer in prunable_layers(pretrained("lenet300")).values():
        weight = layer.weight.detach()
        back = rounded(weight, weight.min().item(), weight.max().item())
        zeros += int((back == 0).sum())
        total += weight.numel()
    return zeros / total


@exercise(
    "15.5",
    "What 2:4 costs to store",
    REASON,
    level=2,
    minutes=8,
    unit="a share, such as 0.7",
    hints=(
        "Take four weights. How many bits have they dense, and what is stored of them at 2:4?",
        "Two values of 16 bits each, and for each of the two which of the four places it has.",
        "One of four places takes 2 bits: 2 · 16 + 2 · 2 bits, over 4 · 16.",
    ),
    mistakes={
        "You forgot the places: a value alone does not say where it belongs.": 0.5,
        "One bit tells two places apart, and there are four.": (2 * 16 + 2) / 64,
        "That is how many times smaller it is; the share that is left is wanted.": 64 / 36,
    },
    tolerance=0.005,
)
def share_of_2_of_4():
    """In the pattern 2:4 two of every four weights are kept. The hardware stores the two values, of
    16 bits each, and for each of them its place among the four, in as few bits as possible. Which
    share of the dense 16-bit weights is that?
    """
    return (2 * 16 + 2 * 2) / (4 * 16)
