"""Checks of the exercises of notebook 06."""

import math
from collections.abc import Callable

import torch

from prunelab.exercises.checking import exercise


@exercise("06.1")
def csr_break_even(answer: float) -> str | None:
    if math.isclose(answer, 0.5, abs_tol=0.005):
        return None
    if math.isclose(answer, 1 / 3, abs_tol=0.005):
        return "That is for 64-bit column indices, 12 bytes a kept weight; take 32-bit ones."
    return "A kept weight costs 4 bytes of value and 4 of column; a dense weight costs 4."


@exercise("06.2")
def permanent_weight(answer: Callable) -> str | None:
    weight, mask = torch.tensor([1.5, -2.0, 3.0, -4.0]), torch.tensor([1.0, 0.0, 0.0, 1.0])
    result = answer(weight.clone(), mask.clone())
    if not torch.equal(result, weight * mask):
        return f"For {weight.tolist()} and {mask.tolist()} yours is {result.tolist()}."
    if torch.signbit(result[result == 0]).any():
        return "−2.0 × 0 is −0.0: a zero with its sign bit set, which spoils compression."
    return None
