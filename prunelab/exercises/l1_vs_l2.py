"""Checks of the exercises of notebook 10."""

import math
from collections.abc import Callable

import torch

from prunelab.exercises.checking import exercise


@exercise("10.1")
def norms_that_disagree(answer: list) -> str | None:
    filters = torch.tensor(answer, dtype=torch.float64)
    if filters.shape != (2, 3):
        return f"Two filters of three weights are wanted; yours have shape {list(filters.shape)}."
    l1, l2 = filters.abs().sum(1), filters.square().sum(1).sqrt()
    if l1[0] < l1[1] and l2[0] > l2[1]:
        return None
    if l1[0] > l1[1] and l2[0] < l2[1]:
        return "They disagree, but the other way round: the filter of the lower norm is pruned."
    return f"The L1 norms are {l1.tolist()}, the L2 norms {l2.tolist()}: here they do not disagree."


@exercise("10.2")
def penalty_step(answer: Callable) -> str | None:
    for w in (0.5, -0.25, 0.01):
        sign = math.copysign(1, w)
        l1, l2 = answer(w, 0.1, 0.2)
        if w < 0 and math.isclose(l1, w - 0.02):
            return f"L1 pulls toward zero: a negative weight such as {w} must rise."
        if not math.isclose(l1, w - 0.02 * sign):
            return f"Under L1, {w} should become {w - 0.02 * sign:g}, and yours is {l1:g}."
        if math.isclose(l2, w * 0.96):
            return "The ½ in R₂ cancels the 2 of the derivative: its gradient is w itself."
        if not math.isclose(l2, w * 0.98):
            return f"Under L2, {w} should become {w * 0.98:g}, and yours is {l2:g}."
    return None
