"""Checks of the exercises of notebook 13."""

import math
from collections.abc import Callable

import pandas as pd

from prunelab.exercises.checking import exercise

TRIED = pd.DataFrame(
    {
        "rate": [0.01, 0.03, 0.1, 0.3],
        "valid_accuracy": [0.871, 0.884, 0.889, 0.886],
        "test_accuracy": [0.868, 0.887, 0.883, 0.880],
    }
)
"""Four learning rates: validation prefers the third, test the second."""


@exercise("13.1")
def accuracy_to_report(answer: Callable) -> str | None:
    value = answer(TRIED.copy())
    if math.isclose(value, 0.883):
        return None
    if math.isclose(value, 0.887):
        return "That rate was chosen by its test accuracy; the test images may not choose."
    if math.isclose(value, 0.889):
        return "The rate is the right one; report its test accuracy, not what chose it."
    if math.isclose(value, 0.1):
        return "That is the rate; return the accuracy to be reported."
    return "Find the row with the best validation accuracy, and return its test accuracy."


@exercise("13.2")
def as_good(answer: Callable) -> str | None:
    for low, high, right in ((-0.1, 0.3, True), (-0.15, -0.05, True), (0.1, 0.4, True)):
        if bool(answer(low, high)) != right:
            return f"[{low}, {high}] never reaches 0.2 points below the best: it is as good."
    if answer(-0.5, 0.3):
        return "[-0.5, 0.3] includes zero, but it may lose 0.5 points: it cannot be told."
    if answer(-0.8, -0.3):
        return "[-0.8, -0.3] lies below -0.2: it is worse, and that matters."
    return None


@exercise("13.3")
def safest_way(answer: Callable) -> str | None:
    behind = {"steady": [-0.3, -0.4, -0.3], "bold": [0.0, 0.0, -0.9], "poor": [-1.0, -0.2, -0.7]}
    way = answer({name: list(values) for name, values in behind.items()})
    if way == "steady":
        return None
    if way == "bold":
        return "It has the best mean, but yours may be the setting where it is bad: see the worst."
    return f"Return the name of the way whose worst setting is the least bad; yours is {way!r}."
