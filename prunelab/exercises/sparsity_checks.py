"""Checks of the exercises of notebook 07."""

import math
from collections.abc import Callable

import pandas as pd

from prunelab.exercises.checking import exercise


@exercise("07.1")
def whole_model_sparsity(answer: float) -> str | None:
    if math.isclose(answer, 900 / 266_200, rel_tol=2e-3):
        return None
    if math.isclose(answer, 0.9, abs_tol=1e-6):
        return "That is the sparsity of one layer. Divide by the weights of all three."
    if math.isclose(answer, 0.3, abs_tol=1e-6):
        return "A mean over layers weighs 1,000 weights like 235,200. Count weights instead."
    return "900 weights are pruned; how many are there in fc1, fc2 and fc3 together?"


@exercise("07.2")
def density_that_pays(answer: Callable) -> str | None:
    table = pd.DataFrame(
        {
            "sparsity": [0.5, 0.8, 0.9, 0.95, 0.5, 0.8, 0.9, 0.95],
            "format": ["dense"] * 4 + ["CSR"] * 4,
            "median": [1.0, 1.0, 1.0, 1.0, 3.0, 1.2, 0.6, 0.3],
        }
    )
    value = answer(table)
    if value == 0.9:
        return None
    return f"For a table where CSR takes 3, 1.2, 0.6, 0.3 against 1 it is 0.9; yours is {value}."
