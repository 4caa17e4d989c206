"""Exercises of notebook 00."""

import statistics
from collections.abc import Callable

import torch
from scipy import stats
from torch import nn

from prunelab.data import load_data
from prunelab.exercises.exercise import FIND_THE_BUG, IMPLEMENT, PREDICT, exercise
from prunelab.models import pretrained


def sparsities() -> list[tuple]:
    generator = torch.Generator().manual_seed(0)
    random = torch.rand(4, generator=generator).tolist()
    return [(sparsity,) for sparsity in (0.9, 0.5, 0.99, 0.0, *random)]


@exercise(
    "00.1",
    "How many times smaller?",
    IMPLEMENT,
    level=1,
    minutes=3,
    hints=(
        "At sparsity 0.9 a tenth of the weights is left. How many times smaller is that?",
        "The density is kept / total, or 1 − sparsity. You want total / kept.",
        "It is 1 / density.",
    ),
    cases=sparsities,
    mistakes={
        "That is the density, kept / total. The ratio is total / kept, so 1 or more.": (
            lambda sparsity: 1 - sparsity
        ),
        "You divide by the share that is removed. Only what is kept is stored.": (
            lambda sparsity: 1 / sparsity
        ),
        "That is removed / kept. The network before pruning had both.": (
            lambda sparsity: sparsity / (1 - sparsity)
        ),
    },
)
def compression_ratio(sparsity):
    """Return the compression ratio of a network, original / compressed, from its sparsity: the
    share of the weights that is removed. Only the kept weights are stored.
    """
    return 1 / (1 - sparsity)


def accuracies() -> list[tuple]:
    generator = torch.Generator().manual_seed(0)
    random = [(0.9 + 0.01 * torch.randn(n, generator=generator)).tolist() for n in (3, 10, 30)]
    five = [0.911, 0.917, 0.913, 0.909, 0.915]
    return [(values,) for values in (five, [0.91, 0.92], [0.9, 0.9, 0.9], *random)]


def half_width_with(values, quantile=0.975, t=None, freedom=1, squares=1):
    """The half-width, or what comes out if a part of it is taken wrongly."""
    n = len(values)
    t = stats.t.ppf(quantile, n - freedom) if t is None else t
    deviation = torch.tensor(values, dtype=torch.float64).std(correction=squares).item()
    return t * deviation / n**0.5


@exercise(
    "00.2",
    "An interval by hand",
    IMPLEMENT,
    level=2,
    minutes=8,
    hints=(
        "Equation (0.3) stands in the notebook, below *One number, and where it breaks*. The "
        "half-width is what follows the ±.",
        "You need three numbers: *t*, the standard deviation *s* and √n. For *t* take "
        "`stats.t.ppf(0.975, n - 1)`.",
        "`statistics.stdev(values)` is *s*; it divides by n − 1. Then it is t · s / √n.",
    ),
    cases=accuracies,
    mistakes={
        "1.96 is for many seeds. With few of them Student's t is larger.": (
            lambda values: half_width_with(values, t=1.96)
        ),
        "2.776 is for five values. Another number of them has another t.": (
            lambda values: half_width_with(values, t=2.776)
        ),
        "Your t is cut off at 5 % on each side. Of a 95 % interval only 2.5 % lie on each.": (
            lambda values: half_width_with(values, quantile=0.95)
        ),
        "Student's t has n − 1 degrees of freedom here, not n.": (
            lambda values: half_width_with(values, freedom=0)
        ),
        "Your s divides by n. It divides by n − 1: the mean came from the same values.": (
            lambda values: half_width_with(values, squares=0)
        ),
        "That is for single runs. The mean of n runs is √n times more certain.": (
            lambda values: half_width_with(values) * len(values) ** 0.5
        ),
        "That is the whole width, from end to end. Half of it is wanted.": (
            lambda values: 2 * half_width_with(values)
        ),
    },
    tolerance=1e-3,
)
def half_width(values):
    """A list holds the accuracies of a network from several seeds. Return the half-width of its
    95 % interval, equation (0.3). Then try it on two seeds: how wide is the interval?
    """
    n = len(values)
    return stats.t.ppf(0.975, n - 1) * statistics.stdev(values) / n**0.5


@exercise(
    "00.3",
    "A seed that comes too late",
    FIND_THE_BUG,
    level=2,
    minutes=6,
    hints=(
        "When are the weights drawn: when the layer is made, or when it is returned?",
        "The first layer is made before any seed is set. Which seed was set last when the second "
        "one is made?",
        "Set the seed first, and make the layer after it.",
    ),
)
def new_layer(seed):
    """The seed is to fix the random weights of a layer. But call `new_layer(1)` three times: the
    first layer is another one, and the last two are equal. Find out why, and repair it.
    """
    torch.manual_seed(seed)
    return nn.Linear(20, 10)


@new_layer.given
def seeded_too_late(seed):
    layer = nn.Linear(20, 10)
    torch.manual_seed(seed)
    return layer


@new_layer.check
def _(answer: Callable) -> str | None:
    with torch.random.fork_rng(devices=[]):
        weights = []
        for before, seed in ((123, 1), (456, 1), (789, 2)):
            torch.manual_seed(before)
            weights.append(answer(seed).weight)
    first, again, other = weights
    if first.shape != (10, 20):
        return f"A layer from 20 to 10 is wanted; the weights of yours are {tuple(first.shape)}."
    if torch.equal(first, again) and torch.equal(first, other):
        return "Seeds 1 and 2 give the same layer. Two seeds must give two."
    if not torch.equal(first, again):
        return "Seed 1 gives two different layers if other random numbers were drawn in between."
    return None


@exercise(
    "00.4",
    "Two good networks, one image",
    PREDICT,
    level=2,
    minutes=8,
    unit="a share, such as 0.5",
    hints=(
        "Each network gives every image ten scores. Its answer is the class of the highest.",
        "`pretrained(name)(x).argmax(dim=1)` are the answers of one network. Use "
        "`torch.no_grad()`, it is faster.",
        "Compare the two tensors of answers with `!=`, and take the mean of what comes out as "
        "floats. The labels are not needed.",
    ),
    mistakes={
        "That is how far apart the accuracies are. Where each gets right what the other gets "
        "wrong, this cancels.": 0.026,
        "That is the share on which they agree.": 0.923,
        "That is how many images they are. Which share of the 1,000?": 77,
        "That is the share on which at least one is wrong. They can be wrong alike.": 0.115,
        "That is the share on which both are wrong.": 0.045,
    },
    tolerance=0.03,
)
def different_answers():
    """On the first 1,000 test images, the accuracies of the shipped `lenet300` and `small_convnet`
    are less than three points apart. On which share of these images do they name different
    classes? Guess first, then measure it.
    """
    x = load_data("fashion-mnist").test.x[:1000]
    with torch.no_grad():
        one, other = (pretrained(name)(x).argmax(dim=1) for name in ("lenet300", "small_convnet"))
    return (one != other).float().mean().item()
