"""Exercises of notebook 09."""

from numbers import Real

import torch
from torch import Tensor, nn

from prunelab.batchnorm import recalibrate_bn
from prunelab.data import load_data
from prunelab.exercises.comparing import plain
from prunelab.exercises.exercise import FIND_THE_BUG, IMPLEMENT, PREDICT, REASON, exercise
from prunelab.models import pretrained
from prunelab.training import evaluate


@exercise(
    "09.1",
    "Until the old is gone",
    REASON,
    level=1,
    minutes=4,
    unit="a whole number of passes, such as 5",
    hints=(
        "After two passes 0.9 × 0.9 is left, after three 0.9 × 0.9 × 0.9.",
        "Solve 0.9ⁿ ≤ 0.01 for n, or let a loop try.",
        "n is log(0.01) / log(0.9), rounded *up*.",
    ),
)
def passes_until_fresh():
    """Each forward pass in training mode at momentum 0.1 keeps 0.9 of the running statistics it
    finds. What is the smallest number of passes after which at most 1 % of the stale statistics is
    left?
    """
    passes = 0
    while 0.9**passes > 0.01:
        passes += 1
    return passes


@passes_until_fresh.check
def _(answer: int) -> str | None:
    answer = plain(answer)
    if not isinstance(answer, Real):
        return "A number of passes is wanted."
    if answer != int(answer):
        return "There is no part of a pass: a whole number is wanted."
    left = f"{answer} passes keep {100 * 0.9**answer:.2f} % of the stale statistics"
    if 0.9**answer > 0.01:
        return f"{left}, and at most 1 % shall be left."
    if 0.9 ** (answer - 1) <= 0.01:
        return f"{left}. Fewer are enough: the smallest number is asked for."
    return None


def images() -> list[tuple]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((8, 3, 5, 4), (2, 1, 2, 2), (3, 4, 3, 1), (6, 6, 6, 6))
    return [(torch.randn(shape, generator=generator) * 2 + 1,) for shape in shapes]


@exercise(
    "09.2",
    "What BatchNorm takes from a batch",
    IMPLEMENT,
    level=1,
    minutes=5,
    hints=(
        "One number a channel: which three dimensions does a channel's mean go over?",
        "The images and both dimensions of the pixels: 0, 2 and 3.",
        "`x.mean(dim=(0, 2, 3))`, and the same for `x.var`, which is unbiased by itself.",
    ),
    cases=images,
    mistakes={
        "Running variances are unbiased: divide by n − 1, not by n.": (
            lambda x: (x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0))
        ),
        "One number a channel is wanted: the pixels share it, as they share the filter.": (
            lambda x: (x.mean(0), x.var(0))
        ),
        "One number a channel is wanted: all images of the batch share it.": (
            lambda x: (x.mean((2, 3)), x.var((2, 3)))
        ),
        "That is the standard deviation. The layer stores its square.": (
            lambda x: (x.mean((0, 2, 3)), x.std((0, 2, 3)))
        ),
    },
    tolerance=1e-4,
)
def batch_statistics(x):
    """A batch `x` `[N, C, H, W]` enters a BatchNorm layer. Return its mean and its unbiased
    variance as they stand in equation (9.1), `[C]` each.
    """
    return x.mean(dim=(0, 2, 3)), x.var(dim=(0, 2, 3))


def layers_and_batches() -> list[tuple]:
    generator = torch.Generator().manual_seed(0)
    cases = []
    for channels, count in ((3, 15), (1, 1), (4, 3)):
        batch_norm = nn.BatchNorm2d(channels)
        nn.init.normal_(batch_norm.get_buffer("running_mean"), 9, generator=generator)
        batch_norm.get_buffer("num_batches_tracked").fill_(100)
        shape = (count, 6, channels, 4, 4)
        batches = torch.randn(shape, generator=generator) * 3 + torch.arange(1, channels + 1).view(
            channels, 1, 1
        )
        cases.append((batch_norm, list(batches)))
    return cases


def passes(
    batch_norm: nn.BatchNorm2d,
    batches: list[Tensor],
    momentum: float | None = None,
    training: bool = True,
    reset: bool = True,
) -> tuple:
    """An answer to 09.3, with what can go wrong in it."""
    if reset:
        batch_norm.reset_running_stats()
    batch_norm.train(training)
    batch_norm.momentum = momentum
    with torch.no_grad():
        for x in batches:
            batch_norm(x)
    return batch_norm.running_mean, batch_norm.running_var


@exercise(
    "09.3",
    "Reset, and still wrong",
    FIND_THE_BUG,
    level=3,
    minutes=12,
    hints=(
        "What does `reset_running_stats` write into the mean and the variance? Nothing is not a "
        "number.",
        "It writes 0 and 1. At momentum 0.1, ten batches keep 0.9¹⁰ = 35 % of *them*.",
        "(9.1) weighs all batches the same. Torch does so with `momentum = None`, see the "
        "documentation of `BatchNorm2d`.",
    ),
    cases=layers_and_batches,
    mistakes={
        "Your means are too near 0 and your variances too near 1. Where do 0 and 1 come from?": (
            lambda batch_norm, batches: passes(batch_norm, batches, momentum=0.1)
        ),
        "With momentum 1 only the last batch counts; (9.1) is a mean over all.": (
            lambda batch_norm, batches: passes(batch_norm, batches, momentum=1.0)
        ),
        "In evaluation mode a pass changes nothing: those are the values after the reset.": (
            lambda batch_norm, batches: passes(batch_norm, batches, training=False)
        ),
        "The stale statistics are still counted: as a hundred batches that came before.": (
            lambda batch_norm, batches: passes(batch_norm, batches, reset=False)
        ),
        "That variance is over all batches at once; in (9.1) each batch has one of its own.": (
            lambda batch_norm, batches: (
                torch.cat(batches).mean((0, 2, 3)),
                torch.cat(batches).var((0, 2, 3)),
            )
        ),
    },
    tolerance=1e-4,
)
def recalibrated(batch_norm, batches):
    """This function forgets the stale statistics of one BatchNorm layer and computes them again
    from a list of batches, all of one size. They shall be those of (9.1). Repair it.
    """
    batch_norm.reset_running_stats()
    batch_norm.momentum = None
    batch_norm.train()
    with torch.no_grad():
        for x in batches:
            batch_norm(x)
    return batch_norm.running_mean, batch_norm.running_var


@recalibrated.given
def with_the_old_momentum(batch_norm, batches):
    batch_norm.reset_running_stats()
    batch_norm.train()
    with torch.no_grad():
        for x in batches:
            batch_norm(x)
    return batch_norm.running_mean, batch_norm.running_var


@exercise(
    "09.4",
    "Only sneakers",
    PREDICT,
    level=2,
    minutes=8,
    unit="a share, such as 0.5",
    hints=(
        "`recalibrate_bn` takes a network and images, and changes the network.",
        "The sneakers are `data.train.x[data.train.y == 7]`.",
        "`evaluate(model, data.test[slice(0, 1000)]).accuracy`, after "
        '`recalibrate_bn(pretrained("small_convnet"), sneakers[:500])`.',
    ),
    mistakes={
        "That is the accuracy before. Were the images for `recalibrate_bn` sneakers alone?": 0.925,
    },
    tolerance=0.05,
)
def accuracy_after_sneakers():
    """The trained `small_convnet` gets 92 % right, and nothing is pruned. It is recalibrated with
    the first 500 training images of sneakers (label 7). What share of the first 1,000 test images,
    which show everything, does it get right now? Guess first, then measure it.
    """
    data = load_data("fashion-mnist")
    sneakers = data.train.x[data.train.y == 7][:500]
    model = recalibrate_bn(pretrained("small_convnet"), sneakers)
    return evaluate(model, data.test[slice(0, 1000)]).accuracy


def workers() -> list[tuple]:
    generator = torch.Generator().manual_seed(0)
    cases = []
    for counts in ([4, 4, 4], [2, 7], [5], [3, 9, 2, 6]):
        values = [torch.randn(n, generator=generator, dtype=torch.float64) for n in counts]
        parts = [3 * part + shift for shift, part in enumerate(values)]
        cases.append((counts, [p.mean().item() for p in parts], [p.var().item() for p in parts]))
    return cases


def weighted(counts: list[int], values: list[float]) -> float:
    return sum(n * value for n, value in zip(counts, values, strict=True)) / sum(counts)


def biased(counts: list[int], means: list[float], variances: list[float]) -> tuple:
    mean = weighted(counts, means)
    parts = zip(counts, means, variances, strict=True)
    return mean, sum((n - 1) * v + n * (m - mean) ** 2 for n, m, v in parts) / sum(counts)


@exercise(
    "09.5",
    "The variance between batches",
    REASON,
    level=3,
    minutes=15,
    hints=(
        "Two batches of values, all 0 in one and all 10 in the other: both variances are 0. "
        "Is that of all values 0, too?",
        "A squared distance from the mean of all has two parts: inside the batch, and from the "
        "mean of the batch to the mean of all.",
        "Inside: the sum of `(n - 1) * variance`. Between: the sum of `n * (mean - mean_of_all)"
        "²`. Add both, and divide by one less than the number of all values.",
    ),
    cases=workers,
    mistakes={
        "Those are the plain means of (9.1). Larger batches must count more, and the variance "
        "*between* the batches is missing.": (
            lambda counts, means, variances: (
                sum(means) / len(means),
                sum(variances) / len(variances),
            )
        ),
        "The mean is right. But the means of the batches differ, and that is variance, too.": (
            lambda counts, means, variances: (
                weighted(counts, means),
                weighted(counts, variances),
            )
        ),
        "That pools the variances *inside* the batches. Their means differ, which counts, too.": (
            lambda counts, means, variances: (
                weighted(counts, means),
                sum((n - 1) * v for n, v in zip(counts, variances, strict=True))
                / (sum(counts) - len(counts)),
            )
        ),
        "Divide by one less than the number of all values: unbiased is wanted.": biased,
    },
)
def statistics_of_all(counts, means, variances):
    """Where batches differ, as those of sorted images do, the variance of (9.1) is too small: it
    averages variances *inside* batches. Three lists hold the number of values in each batch, their
    mean and their unbiased variance. Return the last two of all values together, two numbers.
    """
    batches = list(zip(counts, means, variances, strict=True))
    total = sum(counts)
    mean = sum(n * m for n, m, _ in batches) / total
    squares = sum((n - 1) * v + n * (m - mean) ** 2 for n, m, v in batches)
    return mean, squares / (total - 1)
