"""Checks of the exercises of notebook 00."""

import math
from collections.abc import Callable

from prunelab.exercises.checking import exercise


@exercise("00.1")
def compression_ratio(answer: Callable) -> str | None:
    for sparsity, right in ((0.0, 1.0), (0.5, 2.0), (0.9, 10.0), (0.99, 100.0)):
        value = answer(sparsity)
        if not math.isclose(value, right, rel_tol=1e-6):
            if math.isclose(value, 1 - sparsity):
                return "That is the density. The ratio is original / compressed, so 1 or more."
            return f"At sparsity {sparsity} it should be {right:g}, and yours is {value:g}."
    return None


@exercise("00.2")
def half_width(answer: Callable) -> str | None:
    values = [0.911, 0.917, 0.913, 0.909, 0.915]
    mean = sum(values) / 5
    deviation = math.sqrt(sum((v - mean) ** 2 for v in values) / 4)
    right = 2.7764451 * deviation / math.sqrt(5)
    value = float(answer(values))
    if math.isclose(value, right, rel_tol=1e-3):
        return None
    if math.isclose(value, 1.96 * deviation / math.sqrt(5), rel_tol=1e-3):
        return "1.96 is for many seeds; with five, Student's t with 4 degrees of freedom is 2.776."
    if math.isclose(value, right * math.sqrt(4 / 5), rel_tol=1e-3):
        return "Divide the squares by n − 1, not n: the mean was estimated from the same values."
    if math.isclose(value, right * math.sqrt(5), rel_tol=1e-3):
        return "That is the spread of single runs; the mean of n runs is √n times more certain."
    return f"For {values} it should be {right:.5f}, and yours is {value:.5f}."
