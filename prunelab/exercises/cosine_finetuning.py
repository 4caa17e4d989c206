"""Checks of the exercises of notebook 04."""

import math
from collections.abc import Callable

from prunelab.exercises.checking import exercise


@exercise("04.1")
def cosine_rate(answer: Callable) -> str | None:
    for step, steps, lr in ((0, 40, 0.1), (20, 40, 0.1), (30, 40, 0.02), (40, 40, 0.02)):
        right, value = lr * (1 + math.cos(math.pi * step / steps)) / 2, answer(step, steps, lr)
        if not math.isclose(value, right, abs_tol=1e-6):
            if math.isclose(value, lr * (1 + math.cos(step / steps)) / 2, abs_tol=1e-6):
                return "It does not get to zero: half a cosine is π long, not 1."
            if math.isclose(value, lr * (1 + math.cos(math.pi * step / 100)) / 2, abs_tol=1e-6):
                return "That is T_max=100 whatever the steps: the guide's mistake."
            return f"At step {step} of {steps} from {lr}: {right:.5f}, and yours is {value:.5f}."
    return None


@exercise("04.2")
def rewound_rate(answer: float) -> str | None:
    if math.isclose(answer, 0.01, rel_tol=1e-6):
        return None
    if math.isclose(answer, 0.1, rel_tol=1e-6):
        return "That is where the whole schedule begins; only its last 600 steps are repeated."
    return "The last 600 of 2,000 steps begin at step 1,400. What was the rate there?"
