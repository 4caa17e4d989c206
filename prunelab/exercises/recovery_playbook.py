"""Exercises of notebook 13."""

import math
import statistics

import pandas as pd
import torch

from prunelab.exercises.exercise import FIND_THE_BUG, IMPLEMENT, REASON, exercise


def tried_rates() -> list[tuple]:
    by_hand = pd.DataFrame(
        {
            "rate": [0.01, 0.03, 0.1, 0.3],
            "valid_accuracy": [0.871, 0.884, 0.889, 0.886],
            "test_accuracy": [0.868, 0.887, 0.883, 0.880],
        }
    )
    generator = torch.Generator().manual_seed(0)
    random = torch.rand(5, 3, generator=generator, dtype=torch.float64).numpy()
    return [(by_hand,), (pd.DataFrame(random, index=range(3, 8), columns=by_hand.columns),)]


@exercise(
    "13.1",
    "Which one may be reported?",
    REASON,
    level=1,
    minutes=4,
    hints=(
        "Which images may choose a learning rate?",
        "One column chooses the row, another one is read from it.",
        '`table["valid_accuracy"].idxmax()` is the label of the row; `table.loc` reads from it.',
    ),
    cases=tried_rates,
    mistakes={
        "That rate was chosen by its test accuracy; the test images may not choose.": (
            lambda table: table["test_accuracy"].max()
        ),
        "The rate is the right one; report its test accuracy, not what chose it.": (
            lambda table: table["valid_accuracy"].max()
        ),
        "That is the rate; return the accuracy to be reported.": (
            lambda table: table.loc[table["valid_accuracy"].idxmax(), "rate"]
        ),
        "That is the mean over all rates. One rate is used, and one is reported.": (
            lambda table: table["test_accuracy"].mean()
        ),
    },
)
def accuracy_to_report(table):
    """A way back was tried at several learning rates. `table` has a row for each, with the columns
    `rate`, `valid_accuracy` and `test_accuracy`. Return the accuracy that may be reported.
    """
    return table.loc[table["valid_accuracy"].idxmax(), "test_accuracy"]


def intervals() -> list[tuple]:
    ends = [
        (-0.1, 0.3),
        (-0.15, -0.05),
        (0.1, 0.4),
        (-0.5, 0.3),
        (-0.5, 0.9),
        (-0.8, -0.3),
        (-0.9, -0.1),
    ]
    generator = torch.Generator().manual_seed(0)
    random = (torch.rand(12, 2, generator=generator) - 0.5).sort()[0].tolist()
    return ends + [(low, high) for low, high in random]


@exercise(
    "13.2",
    "As good as the best",
    REASON,
    level=1,
    minutes=5,
    hints=(
        "Draw a line with a mark at −0.2, and on it [−0.5, 0.3] and [−0.15, −0.05].",
        "All that the interval holds is possible. What is the worst that is possible?",
        "Compare one end of the interval with −0.2. The other end does not matter.",
    ),
    cases=intervals,
    mistakes={
        "An interval that includes zero may also include −0.5: that cannot be told.": (
            lambda low, high: low <= 0 <= high
        ),
        "One end above −0.2 is not enough: the other may lie far below, and it cannot be told.": (
            lambda low, high: high > -0.2
        ),
        "The mean lies above −0.2, but the whole interval should.": (
            lambda low, high: (low + high) / 2 > -0.2
        ),
        "An interval from −0.15 to −0.05 lies below zero, by less than what matters.": (
            lambda low, high: low >= 0
        ),
        "A way may also be *better* than the best one on validation images.": (
            lambda low, high: low > -0.2 and high < 0.2
        ),
        "You say it of those that are not.": lambda low, high: low <= -0.2,
    },
)
def as_good(low, high):
    """A way is *as good* as the best one if the whole interval of the difference lies above −0.2
    points. `low` and `high` are the ends of a 95 % interval (this way minus the best, in points).
    Return whether the way is as good.
    """
    return low > -0.2


def distances() -> list[tuple]:
    by_hand = {"steady": [-0.3, -0.4, -0.3], "bold": [0.0, 0.0, -0.9], "poor": [-1.0, -0.2, -0.7]}
    generator = torch.Generator().manual_seed(0)
    random = [-torch.rand(4, 6, generator=generator) for _ in range(4)]
    return [(by_hand,), *((dict(zip("abcd", rows.tolist(), strict=True)),) for rows in random)]


@exercise(
    "13.3",
    "The safest way",
    REASON,
    level=1,
    minutes=5,
    hints=(
        "What is the worst setting of each way? Distances are negative.",
        "First one number for each way, then compare the ways.",
        "`min(behind[way])` is the worst of a way. `max` takes a `key`.",
    ),
    cases=distances,
    mistakes={
        "It has the best mean, but yours may be the setting where it is bad: see the worst.": (
            lambda behind: max(behind, key=lambda way: sum(behind[way]))
        ),
        "That way has the very worst setting of all.": (
            lambda behind: min(behind, key=lambda way: min(behind[way]))
        ),
        "You compare the *best* settings of all ways.": (
            lambda behind: max(behind, key=lambda way: max(behind[way]))
        ),
        "That is its distance; return the name of the way.": (
            lambda behind: max(min(values) for values in behind.values())
        ),
    },
)
def safest_way(behind):
    """You must choose a way for a network that nobody has tried. `behind` maps the name of each way
    to its distances from the best in several settings, such as `{"a": [-0.1, -0.5], "b": [0.0,
    -0.9]}`. Return the name of the way whose worst setting is the least bad.
    """
    return max(behind, key=lambda way: min(behind[way]))


def five_networks() -> list[tuple]:
    generator = torch.Generator().manual_seed(0)
    cases: list[tuple] = [
        ([88.4, 86.1, 87.9, 85.2, 87.0], [88.0, 85.6, 87.6, 84.7, 86.6]),
        ([85.0, 86.0, 87.0, 88.0, 89.0], [84.0, 85.0, 86.0, 87.0, 88.0]),
    ]
    for _ in range(3):
        networks, moved = 86 + torch.randn(2, 5, generator=generator)
        cases.append((networks.tolist(), moved.tolist()))
    return cases


def ends_of(mean: float, variance: float, t: float = 2.776) -> tuple[float, float]:
    half_width = t * math.sqrt(variance / 5)
    return mean - half_width, mean + half_width


def paired_ends(a: list, b: list, t: float = 2.776, each: float = 1) -> tuple[float, float]:
    gains = [x - y for x, y in zip(a, b, strict=True)]
    return ends_of(statistics.mean(gains), each * statistics.variance(gains), t)


@exercise(
    "13.4",
    "A gain that gets lost",
    FIND_THE_BUG,
    level=3,
    minutes=15,
    hints=(
        "Try `[88.4, 86.1, 87.9, 85.2, 87.0]` and `[88.0, 85.6, 87.6, 84.7, 86.6]`. How far is the "
        "first ahead in each network? And what interval is returned?",
        "The networks differ by points, whatever way they take. Should that make the *difference* "
        "of two ways unsure?",
        "Subtract network by network first. Mean, variance and interval are those of the five "
        "differences; there is only one variance then.",
    ),
    cases=five_networks,
    mistakes={
        "In the first case `a` is ahead in each of five networks, yet zero is inside.": (
            lambda a, b: ends_of(
                statistics.mean(a) - statistics.mean(b),
                statistics.variance(a) + statistics.variance(b),
            )
        ),
        "You take half of the variance, but the networks of `a` and `b` are still not paired.": (
            lambda a, b: ends_of(
                statistics.mean(a) - statistics.mean(b),
                (statistics.variance(a) + statistics.variance(b)) / 2,
            )
        ),
        "Paired now, but the variance of the differences is there twice; it counts once.": (
            lambda a, b: paired_ends(a, b, each=2)
        ),
        "Paired now, but for five values Student's t is 2.776, as before.": (
            lambda a, b: paired_ends(a, b, t=1.96)
        ),
        "Paired now, but that is how far *one* network may lie; the mean of five is surer.": (
            lambda a, b: paired_ends(a, b, each=5)
        ),
        "Paired now, but the variance is divided by n; `statistics.variance` divides by n − 1.": (
            lambda a, b: paired_ends(a, b, each=0.8)
        ),
        "The differences are b − a; take a − b.": lambda a, b: paired_ends(b, a),
    },
    tolerance=1e-3,
)
def interval_of_gain(a, b):
    """Two ways back were tried on the same five networks: `a` and `b` are lists of test accuracies,
    in the same order. This function is to return the ends of the 95 % interval of a − b. But even
    where one way is ahead in *each* network, the interval may include zero. Repair it.
    """
    gains = [x - y for x, y in zip(a, b, strict=True)]
    half_width = 2.776 * math.sqrt(statistics.variance(gains) / 5)
    return statistics.mean(gains) - half_width, statistics.mean(gains) + half_width


@interval_of_gain.given
def unpaired(a, b):
    gain = statistics.mean(a) - statistics.mean(b)
    half_width = 2.776 * math.sqrt(statistics.variance(a) / 5 + statistics.variance(b) / 5)
    return gain - half_width, gain + half_width


def many_p_values() -> list[tuple]:
    generator = torch.Generator().manual_seed(0)
    by_hand = [
        [0.03],
        [0.2],
        [0.02, 0.001, 0.04],
        [0.04, 0.03, 0.045],
        [0.06, 0.01, 0.02],
        [0.001, 0.013, 0.03, 0.026],
    ]
    random = (0.08 * torch.rand(6, 6, generator=generator) ** 3).tolist()
    return [(values,) for values in by_hand + random]


def holm_by(p_values: list, bound, stop: bool = True) -> list[bool]:
    """Verdicts if the value of a rank (0 for the smallest) is compared with `bound(rank, n)`."""
    survive, going = [False] * len(p_values), True
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        passes = p_values[place] <= bound(rank, len(p_values))
        going = going and passes
        survive[place] = going if stop else passes
    return survive


@exercise(
    "13.5",
    "What survives Holm",
    IMPLEMENT,
    level=3,
    minutes=20,
    hints=(
        "Try it on paper with `[0.04, 0.001, 0.03]`: the bounds are 0.05 / 3, 0.05 / 2 and 0.05.",
        "Sort *places*, not values, so that you know where each verdict belongs.",
        "`sorted(range(n), key=lambda i: p_values[i])` gives the places. Go through them with "
        "`enumerate`, and leave the loop at the first value above its bound.",
    ),
    cases=many_p_values,
    mistakes={
        "You compare all with 0.05. With many verdicts, some of those are chance.": (
            lambda p_values: [p <= 0.05 for p in p_values]
        ),
        "You compare all with 0.05 / n. That is Bonferroni; Holm's bounds grow.": (
            lambda p_values: [p <= 0.05 / len(p_values) for p in p_values]
        ),
        "Where one value fails, all larger ones fail with it.": (
            lambda p_values: holm_by(p_values, lambda k, n: 0.05 / (n - k), stop=False)
        ),
        "The first bound is 0.05 / n. Do you count from zero or from one?": (
            lambda p_values: holm_by(p_values, lambda k, n: 0.05 / (n - k + 1))
        ),
        "Your bounds begin at 0.05 and get smaller. They begin at 0.05 / n and grow.": (
            lambda p_values: holm_by(p_values, lambda k, n: 0.05 / (k + 1))
        ),
        "The verdicts are in the order of size. Return them in the order of `p_values`.": (
            lambda p_values: sorted(holm_by(p_values, lambda k, n: 0.05 / (n - k)), reverse=True)
        ),
        "That is how many survive; return True or False for each.": (
            lambda p_values: sum(holm_by(p_values, lambda k, n: 0.05 / (n - k)))
        ),
    },
)
def holm(p_values):
    """Return a list of True and False: which verdicts survive Holm's procedure at 0.05. It goes
    from the smallest of n p-values to the largest, and compares the first with 0.05 / n, the next
    with 0.05 / (n − 1), and so on; the last with 0.05. The first value above its bound fails, and
    all larger ones with it.
    """
    survive = [False] * len(p_values)
    places = sorted(range(len(p_values)), key=lambda place: p_values[place])
    for rank, place in enumerate(places):
        if p_values[place] > 0.05 / (len(p_values) - rank):
            break
        survive[place] = True
    return survive
