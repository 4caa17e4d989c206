"""Checks of the exercises of notebook 11."""

from collections.abc import Callable

import pandas as pd
import torch
from torch import Tensor

from prunelab.exercises.checking import exercise


@exercise("11.1")
def mask_after_round(answer: Callable) -> str | None:
    generator = torch.Generator().manual_seed(0)
    distinct = torch.randn(6, 8, generator=generator)
    tied = torch.randint(-3, 4, (6, 8), generator=generator).float()
    mask = torch.ones(48, dtype=torch.bool)
    mask[torch.randperm(48, generator=generator)[:19]] = False
    mask = mask.view(6, 8)
    for weight, what in ((distinct, "distinct weights"), (tied, "weights that tie")):
        for rate in (0.2, 0.4):
            result = torch.as_tensor(answer(weight.clone(), mask.clone(), rate))
            problem = _round_problem(result, weight, mask, rate)
            if problem is not None:
                return f"With {what}, 29 of 48 left, at rate {rate}: {problem}"
    return None


def _round_problem(result: Tensor, weight: Tensor, mask: Tensor, rate: float) -> str | None:
    new, left = result.bool(), int(mask.sum())
    if result.shape != mask.shape or not torch.equal(result, new.to(result.dtype)):
        return f"a mask {tuple(mask.shape)} of True and False, or 1 and 0, is wanted."
    gone = mask & ~new
    right, pruned = round(rate * left), int(gone.sum())
    if new[~mask].all() and pruned == left - right:
        return "the mask is inverted; it is True where a weight is kept."
    if (new & ~mask).any():
        return "a weight pruned before is back. What is pruned stays pruned."
    if pruned == round(rate * mask.numel()):
        return f"{pruned} go, a share of all weights. The rate is of those still there: {right}."
    if pruned == left - right:
        return f"{pruned} go and {right} stay; the rate is the share that goes."
    if pruned != right and len(weight[mask].abs().unique()) < left:
        return f"{pruned} go, not {right}. A threshold takes all equals or none; count instead."
    if pruned < int(rate * left):
        return f"only {pruned} go, not {right}. Rank no weights but those still there."
    if pruned != right:
        return f"{pruned} go, and it should be {right}."
    if torch.equal(weight[gone].sort()[0], weight[mask].sort()[0][:right]):
        return "the most negative weights go. Low is meant in magnitude, whatever the sign."
    if weight[new].abs().min() < weight[gone].abs().max():
        return "a weight goes that is larger in magnitude than one that stays."
    return None


@exercise("11.2")
def early_stopped(answer: Callable) -> str | None:
    splits = {
        "valid": {
            "loss": [2.3, 0.5, 0.42, 0.44, 0.4, 0.4, 0.45, 0.6, 0.65],
            "accuracy": [0.1, 0.82, 0.851, 0.84, 0.861, 0.873, 0.885, 0.882, 0.875],
        },
        "test": {
            "loss": [2.3, 0.52, 0.45, 0.46, 0.43, 0.42, 0.41, 0.39, 0.66],
            "accuracy": [0.1, 0.81, 0.84, 0.83, 0.85, 0.855, 0.86, 0.88, 0.87],
        },
    }
    parts = [pd.DataFrame({"step": range(0, 900, 100), "split": n, **s}) for n, s in splits.items()]
    history = pd.concat(parts).sort_values("step", kind="stable", ignore_index=True)
    told = {
        0.1: "That is where the loss is highest.",
        0.84: "The loss rises there but falls lower later; look at the whole training.",
        0.855: "Two losses are equally low; the earlier one counts.",
        0.86: "That is where validation accuracy is highest; the loss decides.",
        0.87: "That is the end of the training, where the loss has long risen again.",
        0.88: "That is the best test accuracy: the test images must not choose.",
    }
    result = answer(history.copy())
    if not hasattr(result, "__len__") or len(result) != 2:
        return "Two numbers are wanted: the step, and the test accuracy there."
    step, accuracy = (round(float(value), 4) for value in result)
    if accuracy in told:
        return told[accuracy]
    if step in (4, 8) and accuracy == 0.85:
        return f"{step:g} is the row's place in the table; the column `step` says 400."
    if (step, accuracy) == (400, 0.861):
        return (
            "0.861 is the accuracy on the validation images; the test images have a row each too."
        )
    if (step, accuracy) != (400, 0.85):
        return f"It should be 400 and 0.85 for\n{history}\nand yours is {step:g}, {accuracy}."
    part = history.set_index(history.index + 1)
    if [round(float(value), 4) for value in answer(part)] != [400, 0.85]:
        return "With an index that starts at 1 it finds another row: a label is no position."
    return None


@exercise("11.3")
def random_reinit(answer: Callable) -> str | None:
    generator = torch.Generator().manual_seed(0)
    initial, moved, fresh = torch.randn(3, 6, 8, generator=generator)
    trained = initial + moved
    mask = trained.abs() > trained.abs().median()
    start = answer(initial.clone(), trained.clone(), mask.clone(), fresh.clone())
    if torch.equal(start, fresh * mask):
        return None
    if start.shape != mask.shape:
        return (
            f"Weights {tuple(mask.shape)} are wanted, pruned ones zero; not {tuple(start.shape)}."
        )
    if start.all():
        return "That is dense: it has twice the weights of the ticket. Where is the mask?"
    if torch.equal(start, initial * mask):
        return "That is the ticket itself; its weights are what the control must not have."
    if torch.equal(start, trained * mask):
        return "Those weights are trained; ticket and control both start from untrained ones."
    if torch.equal(start, fresh * (fresh.abs() > fresh.abs().median())):
        return "The new weights' own magnitudes chose the mask. The control has the ticket's."
    if not torch.equal(start != 0, mask):
        if torch.equal(start, initial * (start != 0)):
            return "Initial weights at other places are another control, the random mask."
        return "Other weights are kept than in the ticket. Change one thing, not two."
    return "The places are the ticket's, as they should be, but the weights are not the new ones."
