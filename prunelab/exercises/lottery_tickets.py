"""Exercises of notebook 11."""

from collections.abc import Callable

import pandas as pd
import torch
from torch import Tensor

from prunelab.exercises.exercise import FIND_THE_BUG, IMPLEMENT, PREDICT, REASON, exercise
from prunelab.lottery import prune_round
from prunelab.masks import get_masks
from prunelab.models import lenet300, pretrained


def rounds() -> list[tuple]:
    generator = torch.Generator().manual_seed(0)
    distinct = torch.randn(6, 8, generator=generator)
    tied = torch.randint(-3, 4, (6, 8), generator=generator).float()
    filters = torch.randn(4, 2, 3, 3, generator=generator)
    mask = torch.ones(48, dtype=torch.bool)
    mask[torch.randperm(48, generator=generator)[:19]] = False
    mask = mask.view(6, 8)
    cases: list[tuple] = [(w, mask, rate) for w in (distinct, tied) for rate in (0.2, 0.4)]
    return [*cases, (filters, torch.ones(4, 2, 3, 3, dtype=torch.bool), 0.3), (tied, mask, 0.0)]


@exercise(
    "11.1",
    "One more round",
    IMPLEMENT,
    level=2,
    minutes=12,
    hints=(
        "Equation (11.1) says how many go. Only weights where the mask is True take part.",
        "Rank `weight[mask].abs()`. How do you get from a rank back to a place in the layer?",
        "`mask.flatten().nonzero().flatten()` holds the places of the weights still there. Sort "
        "these places by magnitude, and set the first ones to False in a copy of the mask.",
    ),
    cases=rounds,
)
def mask_after_round(weight, mask, rate):
    """`mask` is True where a weight of this layer is kept. Return the mask after one more round of
    pruning, by equation (11.1): those of the lowest magnitude go, and exactly that many, also
    where weights tie. `weight` still holds old values where the mask is False.
    """
    left = mask.flatten().nonzero().flatten()
    order = weight.flatten()[left].abs().argsort()
    new = mask.flatten().clone()
    new[left[order[: round(rate * len(left))]]] = False
    return new.view_as(mask)


@mask_after_round.check
def _(answer: Callable) -> str | None:
    for weight, mask, rate in rounds():
        result = torch.as_tensor(answer(weight.clone(), mask.clone(), rate))
        problem = round_problem(result, weight, mask, rate)
        if problem is not None:
            ties = "with ties" if len(weight.abs().unique()) < weight.numel() else "without ties"
            left = f"{int(mask.sum())} of {mask.numel()} weights left"
            return f"With {left}, {ties}, at rate {rate}: {problem}"
    return None


def round_problem(result: Tensor, weight: Tensor, mask: Tensor, rate: float) -> str | None:
    new, left = result.bool(), int(mask.sum())
    if result.shape != mask.shape or not torch.equal(result, new.to(result.dtype)):
        return f"a mask {tuple(mask.shape)} of True and False, or 1 and 0, is wanted."
    gone = mask & ~new
    right, pruned = round(rate * left), int(gone.sum())
    if new[~mask].all() and pruned == left - right:
        return "the mask is inverted; it is True where a weight is kept."
    if (new & ~mask).any():
        return "a weight pruned before is back. What is pruned stays pruned."
    if pruned != right:
        return count_problem(pruned, weight, mask, rate)
    if torch.equal(weight[gone].sort()[0], weight[mask].sort()[0][:right]) and right:
        return "the most negative weights go. Low is meant in magnitude, whatever the sign."
    if right and weight[new].abs().min() < weight[gone].abs().max():
        return "a weight goes that is larger in magnitude than one that stays."
    return None


def count_problem(pruned: int, weight: Tensor, mask: Tensor, rate: float) -> str:
    left = int(mask.sum())
    if pruned == round(rate * mask.numel()):
        return f"{pruned} go, a share of all weights. The rate is of those still there."
    if pruned == left - round(rate * left):
        return f"{pruned} go, and as many should stay: the rate is the share that goes."
    if len(weight[mask].abs().unique()) < left:
        return f"{pruned} go. A threshold takes all equals or none; count instead."
    if pruned == int(rate * left):
        return f"{pruned} go, the count cut off. Equation (11.1) rounds."
    if pruned < int(rate * left):
        return f"only {pruned} go. Are weights in your ranking that are no longer there?"
    return f"{pruned} go, and equation (11.1) gives another count."


def histories() -> list[tuple]:
    generator = torch.Generator().manual_seed(0)
    by_hand = {
        "valid": {
            "loss": [2.3, 0.5, 0.42, 0.44, 0.4, 0.4, 0.45, 0.6, 0.65],
            "accuracy": [0.1, 0.82, 0.851, 0.84, 0.861, 0.873, 0.885, 0.882, 0.875],
        },
        "test": {
            "loss": [2.3, 0.52, 0.45, 0.46, 0.43, 0.42, 0.41, 0.39, 0.66],
            "accuracy": [0.1, 0.81, 0.84, 0.83, 0.85, 0.855, 0.86, 0.88, 0.87],
        },
    }
    tables = [history_of(by_hand, every=100, first_row=0)]
    for count, every, first_row in ((6, 50, 1), (12, 200, 7)):
        random = {
            split: {
                name: torch.rand(count, generator=generator).tolist()
                for name in ("loss", "accuracy")
            }
            for split in ("valid", "test")
        }
        tables.append(history_of(random, every, first_row))
    return [(table,) for table in tables]


def history_of(splits: dict, every: int, first_row: int) -> pd.DataFrame:
    """A table as `fit` returns it, with an index that begins at `first_row`."""
    parts = [
        pd.DataFrame({"step": range(0, every * len(s["loss"]), every), "split": name, **s})
        for name, s in splits.items()
    ]
    table = pd.concat(parts).sort_values("step", kind="stable", ignore_index=True)
    return table.set_index(table.index + first_row)


def read_off(
    history: pd.DataFrame,
    split: str = "valid",
    column: str = "loss",
    best: str = "idxmin",
    reported: str = "test",
) -> tuple:
    """Step and accuracy if a column of one split chooses, and those of another are reported."""
    rows = {name: part.set_index("step") for name, part in history.groupby("split")}
    step = getattr(rows[split][column], best)()
    return step, rows[reported].loc[step, "accuracy"]


def until_loss_rises(history: pd.DataFrame) -> tuple:
    valid = history[history["split"] == "valid"]
    falling = valid["step"][valid["loss"].diff().gt(0).cumsum() == 0]
    return read_off(history[history["step"].isin(falling)])


def row_for_step(history: pd.DataFrame) -> tuple:
    valid = history[history["split"] == "valid"]
    return valid["loss"].idxmin(), read_off(history)[1]


def count_for_step(history: pd.DataFrame) -> tuple:
    valid = history[history["split"] == "valid"]
    return valid["loss"].argmin(), read_off(history)[1]


@exercise(
    "11.2",
    "What to report",
    IMPLEMENT,
    level=1,
    minutes=8,
    hints=(
        "Equation (11.2) says which column of which split chooses. Nothing else may choose.",
        "Take the rows of `valid` alone, and find the one with the lowest loss. `argmin` counts "
        "rows from zero and goes with `iloc`; `idxmin` gives a label and goes with `loc`.",
        "When you have the step, take the rows of `test`: the one of that step has the accuracy.",
    ),
    cases=histories,
    mistakes={
        "The step is right. The accuracy is that of the validation images.": (
            lambda history: read_off(history, reported="valid")
        ),
        "That is where test accuracy is highest: the test images must not choose.": (
            lambda history: read_off(history, "test", "accuracy", "idxmax")
        ),
        "That is where test loss is lowest: the test images must not choose.": (
            lambda history: read_off(history, "test")
        ),
        "That is where validation accuracy is highest. In (11.2) the loss decides.": (
            lambda history: read_off(history, "valid", "accuracy", "idxmax")
        ),
        "That is the lowest loss of *all* rows. Pick the rows of `valid` first.": (
            lambda history: tuple(history.loc[history["loss"].idxmin(), ["step", "accuracy"]])
        ),
        "That is where the loss is highest.": lambda history: read_off(history, best="idxmax"),
        "That is the end of the training. The loss was lower before.": (
            lambda history: read_off(history[history["step"] == history["step"].max()])
        ),
        "The loss rises there but falls lower later; look at the whole training.": until_loss_rises,
        "Two losses are equally low; the earlier one counts.": (
            lambda history: read_off(history[::-1])
        ),
        "The accuracy is right. The step stands in the column `step`; a label is no step.": (
            row_for_step
        ),
        "The accuracy is right. The step stands in the column `step`; you count evaluations.": (
            count_for_step
        ),
        "That is the accuracy; return the step, too, and before it.": (
            lambda history: read_off(history)[1]
        ),
        "That is the step; return the test accuracy, too.": lambda history: read_off(history)[0],
    },
)
def early_stopped(history):
    """`history` is a table of one training as `fit` returns it: a row an evaluation and split, with
    the columns `step`, `split` ("valid" or "test"), `loss` and `accuracy`. Return two numbers: the
    step of early stop (11.2), and the test accuracy to report.
    """
    valid = history[history["split"] == "valid"]
    test = history[history["split"] == "test"].set_index("step")
    step = valid["step"].iloc[valid["loss"].argmin()]
    return step, test.loc[step, "accuracy"]


def layers() -> list[tuple]:
    generator = torch.Generator().manual_seed(0)
    cases = []
    for shape in ((6, 8), (3, 2, 3, 3)):
        initial, moved, fresh = torch.randn(3, *shape, generator=generator)
        trained = initial + moved
        cases.append((initial, trained, trained.abs() > trained.abs().median(), fresh))
    return cases


@exercise(
    "11.3",
    "A fair control",
    REASON,
    level=1,
    minutes=5,
    hints=(
        "A control differs from the ticket in one thing only. Which two things make a ticket?",
        "The mask stays. What should the weights under it be?",
        "Two of the four arguments are enough: the weights drawn anew, and the mask.",
    ),
    cases=layers,
    mistakes={
        "That is dense: it has more weights than the ticket. Where is the mask?": (
            lambda initial, trained, mask, fresh: fresh
        ),
        "That is the ticket itself; its weights are what the control must not have.": (
            lambda initial, trained, mask, fresh: initial * mask
        ),
        "Those weights are trained; ticket and control both start from untrained ones.": (
            lambda initial, trained, mask, fresh: trained * mask
        ),
        "The new weights' own magnitudes chose the mask. The control has the ticket's.": (
            lambda initial, trained, mask, fresh: fresh * (fresh.abs() > fresh.abs().median())
        ),
        "You keep what the ticket prunes. The mask is True where a weight is kept.": (
            lambda initial, trained, mask, fresh: fresh * ~mask
        ),
        "The places are right, but all weights are one.": (
            lambda initial, trained, mask, fresh: mask.float()
        ),
        "Those are the kept weights in a row. A layer has its shape, with zeros for the rest.": (
            lambda initial, trained, mask, fresh: fresh[mask]
        ),
    },
)
def random_reinit(initial, trained, mask, fresh):
    """Does a ticket need its own weights? One layer has the `initial` weights, the `trained` ones,
    the `mask` that pruning made from the trained ones, and `fresh` weights, drawn as the initial
    ones were. The ticket starts from `initial * mask`. Return the weights from which its control
    starts, the random reinit.
    """
    return fresh * mask


def gradients() -> list[tuple]:
    generator = torch.Generator().manual_seed(0)
    cases = []
    for shape in ((5, 7), (3, 2, 3, 3)):
        weight, gradient = torch.randn(2, *shape, generator=generator)
        mask = torch.rand(shape, generator=generator) < 0.6
        weight = weight * mask
        kept = mask.nonzero()
        weight[tuple(kept[0])], weight[tuple(kept[1])] = 0.0, -1e-8
        cases.append((weight, gradient, mask))
    return cases


@exercise(
    "11.4",
    "Frozen by mistake",
    FIND_THE_BUG,
    level=2,
    minutes=8,
    hints=(
        "Which weights does the comparison call pruned? Try -0.3.",
        "With `abs` negative weights learn again. But what of a kept weight that crosses zero?",
        "The value of a weight can't say whether it was pruned. One of the arguments can.",
    ),
    cases=gradients,
    mistakes={
        "Many weights that the mask keeps get no gradient. What do they have in common?": (
            lambda weight, gradient, mask: torch.where(weight < 1e-6, 0.0, gradient)
        ),
        "Negative weights learn now. But a kept weight that comes near zero never leaves it.": (
            lambda weight, gradient, mask: torch.where(weight.abs() < 1e-6, 0.0, gradient)
        ),
        "Negative weights learn now. But a kept weight that is exactly zero never leaves it.": (
            lambda weight, gradient, mask: torch.where(weight == 0, 0.0, gradient)
        ),
        "Now the pruned weights learn, and those that are kept do not.": (
            lambda weight, gradient, mask: gradient * ~mask
        ),
        "That is the masked weight; the gradient is wanted.": (
            lambda weight, gradient, mask: weight * mask
        ),
    },
)
def gradient_of_the_kept(weight, gradient, mask):
    """A pruned weight is to stay at zero in training, so this function takes its gradient away.
    It is as in published code for tickets, and networks that are trained with it are some points
    worse. Repair it.
    """
    return gradient * mask


@gradient_of_the_kept.given
def freezing_too_much(weight, gradient, mask):
    return torch.where(weight < 1e-6, 0.0, gradient)


@exercise(
    "11.5",
    "A mask before training",
    PREDICT,
    level=2,
    minutes=10,
    unit="a share, such as 0.35",
    hints=(
        "You need two masks of `fc1`, one made from each network.",
        '`prune_round(model, {"fc1": 0.8, "fc2": 0.8, "fc3": 0.8})` masks a network in place, and '
        "`get_masks(model)` returns its masks by layer.",
        "A place is in both where `ticket & before` is True. Divide their number by that of the "
        "ticket's places.",
    ),
    mistakes={
        "That is what chance would give. Measure it.": 0.2,
        "That is the share of *all* weights; divide by those that the ticket keeps.": 0.10186,
        "That is the share of the ticket that could not be known.": 0.49071,
    },
)
def known_before_training():
    """The shipped `pretrained("lenet300")` was trained from `lenet300(seed=2)`. Its ticket in `fc1`
    is the fifth of the weights that are largest *after* training. Which share of these places
    would you have found with the weights *before* training? Guess first; at random it is 0.2.
    """
    rates = {"fc1": 0.8, "fc2": 0.8, "fc3": 0.8}
    ticket = get_masks(prune_round(pretrained("lenet300"), rates))["fc1"]
    before = get_masks(prune_round(lenet300(seed=2), rates))["fc1"]
    return (ticket & before).sum().item() / ticket.sum().item()


@exercise(
    "11.6",
    "The luckiest of 150",
    PREDICT,
    level=3,
    minutes=15,
    unit="points, such as 0.05",
    hints=(
        "`torch.randn(1000, 150)` is a thousand such trainings, in units of the standard "
        "deviation and without the mean.",
        "Each training reports the best of its own 150. Then take the mean of a thousand reports.",
        "Multiply by 0.2. `amax(1)` is the largest of each row.",
    ),
    mistakes={
        "That is one standard deviation. The best of 150 lies further out.": 0.2,
        "That is the mean of all 150. Only the best one is reported.": 0.0,
        "That is in standard deviations; one of them is 0.2 points.": 2.63,
    },
    tolerance=0.05,
)
def luck_of_the_best():
    """The test accuracy of a network has stopped to rise. Its 150 evaluations vary by chance, with
    a normal distribution: mean 88 %, standard deviation 0.2 points. Someone reports the best of
    the 150. How many points above 88 % is that, in the mean over a thousand such trainings?
    """
    generator = torch.Generator().manual_seed(0)
    chance = 0.2 * torch.randn(1000, 150, generator=generator)
    return chance.amax(1).mean().item()
