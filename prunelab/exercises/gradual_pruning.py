"""Checks of the exercises of notebook 08."""

from collections.abc import Callable

import torch

from prunelab.exercises.checking import exercise


@exercise("08.1")
def amounts_of(answer: Callable) -> str | None:
    for targets in ([0.5, 0.75], [0.1, 0.2, 0.3, 0.4, 0.5], [0.3, 0.9]):
        before = torch.tensor([0.0, *targets[:-1]], dtype=torch.float64)
        taken = torch.tensor(targets, dtype=torch.float64) - before
        right = taken / (1 - before)
        value = torch.as_tensor(list(answer(list(targets))), dtype=torch.float64)
        if value.shape == taken.shape and torch.allclose(value, taken):
            return "Those are shares of all weights; divide each by the share still there."
        if value.shape != right.shape or not torch.allclose(value, right, atol=1e-6):
            amounts = [round(amount, 4) for amount in right.tolist()]
            return f"For {targets} it should be {amounts}, and yours is {value.tolist()}."
    return None


@exercise("08.2")
def fair_epochs(answer: float) -> str | None:
    if answer == 150:
        return None
    if answer == 50:
        return "Three rounds of 50 epochs: gradual pruning would get three times the training."
    return "Fair is what costs the same in all. How many epochs are three rounds of 50?"
