"""Exercises of notebook 08."""

import torch
from torch import nn

from prunelab.exercises.exercise import FIND_THE_BUG, IMPLEMENT, PREDICT, REASON, exercise
from prunelab.finetuning import get_finetune_optimizer
from prunelab.gradual import sparsity_schedule
from prunelab.masks import get_masks
from prunelab.models import pretrained
from prunelab.pruning import apply_global_pruning


def schedules() -> list[list[float]]:
    generator = torch.Generator().manual_seed(0)
    random = [torch.rand(n, generator=generator).sort().values.tolist() for n in (2, 4, 7)]
    return [[0.5, 0.75], [0.1, 0.2, 0.3, 0.4, 0.5], [0.9], *random]


def taken_in(schedule: list[float]) -> list[float]:
    """What each round takes, as shares of all weights."""
    return [s - before for s, before in zip(schedule, [0.0, *schedule[:-1]], strict=True)]


@exercise(
    "08.1",
    "Amounts for torch",
    IMPLEMENT,
    level=2,
    minutes=8,
    hints=(
        "After a round with target 0.5, half of the weights are left. To get to 0.75, what share "
        "of *these* must go?",
        "A round takes the target minus the target before, as a share of all weights. "
        "As a share of what is left it is more.",
        "Divide by what was left before the round: `(target - before) / (1 - before)`, where "
        "`before` is 0 in the first round.",
    ),
    cases=lambda: [(schedule,) for schedule in schedules()],
    mistakes={
        "Those are shares of all weights; divide each by the share still there.": taken_in,
        "Passed on as they are, the targets compound: 0.5 and 0.75 would give 87.5 %.": (
            lambda targets: targets
        ),
        "Divide by the share that was left *before* the round, not after it.": (
            lambda targets: [
                t / (1 - after) for t, after in zip(taken_in(targets), targets, strict=True)
            ]
        ),
    },
)
def amounts_of(targets):
    """`targets` lists increasing sparsities $s_i$, shares of *all* weights. Torch wants amounts
    $a_i$, shares of what is *left*: $1 - s_i = (1 - s_{i-1})(1 - a_i)$, with $s_0 = 0$. Return the
    list of the amounts. For `[0.5, 0.75]` it is `[0.5, 0.5]`.
    """
    before = [0.0, *targets[:-1]]
    return [(t - b) / (1 - b) for t, b in zip(targets, before, strict=True)]


@exercise(
    "08.2",
    "A fair comparison",
    REASON,
    level=1,
    minutes=3,
    unit="a number of epochs, such as 30",
    hints=(
        "Fair is what costs the same in all.",
        "How many epochs does gradual pruning train for, in all its rounds together?",
        "Three rounds of 50 epochs each.",
    ),
    mistakes={
        "Three rounds of 50 epochs: gradual pruning would get three times the training.": 50,
        "One-shot pruning would get more epochs than all rounds have together.": 182,
    },
    tolerance=0,
)
def fair_epochs():
    """A paper prunes to 51.2 % of the weights in three rounds and retrains for 50 epochs after
    each. It reports one-shot pruning after 10, 30, 50, 90, 150 and 182 epochs of retraining. With
    which of these is the comparison fair?
    """
    rounds, epochs = 3, 50
    return rounds * epochs


def models_and_rounds() -> list[tuple]:
    model = nn.Linear(2, 2)
    return [(model, 2, 5), (model, 1, 4), (model, 3, 8), (model, 4, 1)]


def one_optimizer(model: nn.Module, rounds: int, steps: int, period: int) -> list[float]:
    optimizer, scheduler = get_finetune_optimizer(model, steps=period)
    rates = []
    for _ in range(rounds * steps):
        rates.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    return rates


@exercise(
    "08.3",
    "A rate that comes back",
    FIND_THE_BUG,
    level=2,
    minutes=8,
    hints=(
        "Call it for two rounds of ten steps, with `torch.nn.Linear(2, 2)` as the model, and print "
        "the rates.",
        "A cosine goes on after its end: it rises again. Who tells the scheduler that a new round "
        "begins?",
        "Every round needs an optimizer and a scheduler of its own. Which line must move?",
    ),
    cases=models_and_rounds,
    mistakes={
        "In the second round the rate begins near zero and rises. Print both rounds.": (
            lambda model, rounds, steps: one_optimizer(model, rounds, steps, period=steps)
        ),
        "One cosine over all rounds: the last cut, which hurts most, would be trained least.": (
            lambda model, rounds, steps: one_optimizer(model, rounds, steps, rounds * steps)
        ),
        "The rates of one round are wanted for each of the rounds.": (
            lambda model, rounds, steps: one_optimizer(model, 1, steps, period=steps)
        ),
    },
)
def rates_of_all_steps(model, rounds, steps):
    """Gradual pruning trains for `steps` steps after each of its `rounds` cuts (which are left out
    here). In every round the learning rate shall begin at its full size and fall toward zero. This
    function lists the rates that are used, and shows that it is not so. Repair it.
    """
    rates = []
    for _ in range(rounds):
        optimizer, scheduler = get_finetune_optimizer(model, steps=steps)
        for _ in range(steps):
            rates.append(scheduler.get_last_lr()[0])
            optimizer.step()
            scheduler.step()
    return rates


@rates_of_all_steps.given
def with_one_scheduler(model, rounds, steps):
    rates = []
    optimizer, scheduler = get_finetune_optimizer(model, steps=steps)
    for _ in range(rounds):
        for _ in range(steps):
            rates.append(scheduler.get_last_lr()[0])
            optimizer.step()
            scheduler.step()
    return rates


@exercise(
    "08.4",
    "Five cuts and no training",
    PREDICT,
    level=2,
    minutes=8,
    unit="a number of places, such as 5000",
    hints=(
        "`apply_global_pruning(model, sparsity=...)`: once with 0.5, and once with each sparsity "
        'of `sparsity_schedule("step", 0.5, rounds=5)`.',
        "`get_masks` has the masks of the three layers by name. Compare them place by place.",
        "A place differs where `one != other`. Add up over the layers. Then think: does anything "
        "change the order of the weights between the cuts?",
    ),
    mistakes={
        "Five amounts of 10 % compound to 41 %, so the two are not equally sparse. Use "
        "`sparsity=` and the schedule.": 24_089,
    },
    tolerance=0,
)
def places_that_differ():
    """The trained `lenet300` is pruned to 50 % in one cut. A copy of it is pruned in five rounds of
    the *step* schedule, but *without* training between them. In how many of the 266,200 places do
    the masks differ? Guess first, then measure it.
    """
    once, five = pretrained("lenet300"), pretrained("lenet300")
    apply_global_pruning(once, sparsity=0.5)
    for sparsity in sparsity_schedule("step", 0.5, rounds=5):
        apply_global_pruning(five, sparsity=sparsity)
    pairs = zip(get_masks(once).values(), get_masks(five).values(), strict=True)
    return sum((one != other).sum().item() for one, other in pairs)


def schedules_and_steps() -> list[tuple]:
    kinds = [sparsity_schedule(kind, 0.95, rounds=5) for kind in ("step", "cubic")]
    return [
        *((schedule, 500) for schedule in kinds),
        *((schedule, 60 * len(schedule)) for schedule in schedules()),
    ]


def mean_steps(schedule: list[float], steps: int, cuts: list[float], first: int = 0) -> float:
    """The mean of the steps of each round and those after it, weighted by `cuts`."""
    rounds = len(schedule)
    trained = [steps * (rounds - i) / rounds for i in range(first, rounds + first)]
    return sum(c * t for c, t in zip(cuts, trained, strict=True)) / sum(cuts)


@exercise(
    "08.5",
    "Time to recover",
    REASON,
    level=3,
    minutes=15,
    hints=(
        "Two lists, an entry a round: what the round takes, and how many steps are trained from "
        "its cut to the end.",
        "Round 1 is followed by all steps, the last round by `steps / len(schedule)`. What a round "
        "takes is its sparsity minus that of the round before.",
        "Multiply the two lists entry by entry, add up, and divide by the sparsity in the end.",
    ),
    cases=schedules_and_steps,
    mistakes={
        "Every round counts the same with you. Weigh each by what it takes.": (
            lambda schedule, steps: mean_steps(schedule, steps, [1.0] * len(schedule))
        ),
        "The steps of the round itself come after its cut, too.": (
            lambda schedule, steps: mean_steps(schedule, steps, taken_in(schedule), first=1)
        ),
        "That is a mean over *all* weights. Only those that are pruned in the end count.": (
            lambda schedule, steps: schedule[-1] * mean_steps(schedule, steps, taken_in(schedule))
        ),
        "You weigh a round by all that is gone after it. Weigh it by what it takes.": (
            lambda schedule, steps: mean_steps(schedule, steps, schedule)
        ),
    },
)
def steps_to_recover(schedule, steps):
    """`schedule` lists the sparsity after each round, and `steps` training steps are shared out
    equally among the rounds. How many steps does the network train after a weight is cut? Return
    the mean over all weights that are pruned in the end. Then compare the schedules of (8.1).
    """
    rounds, before, total = len(schedule), 0.0, 0.0
    for i, sparsity in enumerate(schedule):
        total += (sparsity - before) * steps * (rounds - i) / rounds
        before = sparsity
    return total / schedule[-1]
