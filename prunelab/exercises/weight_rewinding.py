"""Checks of the exercises of notebook 03."""

import math
from collections.abc import Callable

import torch

from prunelab.exercises.checking import exercise


@exercise("03.1")
def rewound_layer(answer: Callable) -> str | None:
    mask = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    now = {"bias": torch.ones(2), "weight_orig": torch.full((2, 2), 9.0), "weight_mask": mask}
    initial = {"weight": torch.arange(4.0).view(2, 2) + 1, "bias": torch.zeros(2)}
    state = answer(dict(now), dict(initial))
    if set(state) != set(now):
        return f"The masked layer has {sorted(now)}; yours has {sorted(state)}."
    if not torch.equal(state["weight_mask"], mask):
        return "The mask has changed. It is the one thing that stays."
    if not torch.equal(state["weight_orig"] * mask, initial["weight"] * mask):
        return "The kept weights are not the initial ones; they belong into weight_orig."
    if not torch.equal(state["bias"], initial["bias"]):
        return "The bias has stayed where training left it. It goes back too."
    return None


@exercise("03.2")
def barrier_of_errors(answer: Callable) -> str | None:
    value = answer([0.10, 0.30, 0.25, 0.14])
    if math.isclose(value, 0.18, abs_tol=1e-9):
        return None
    if math.isclose(value, 0.30, abs_tol=1e-9):
        return "That is the height above zero; subtract the mean error of the two ends."
    return f"For errors 0.10, 0.30, 0.25, 0.14 it is 0.18; yours is {value:.2f}."
