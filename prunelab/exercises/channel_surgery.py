"""Checks of the exercises of notebook 05."""

import math
from collections.abc import Callable

from prunelab.exercises.checking import exercise


@exercise("05.1")
def wrong_index(answer: str) -> str | None:
    name = str(answer).removeprefix("bn1.")
    if name == "running_mean":
        return None
    if name in ("weight", "bias", "running_var", "conv1.weight", "conv2.weight"):
        return f"{answer} is cut at `kept`, as it should be. Compare the indices line by line."
    return 'Name the tensor whose entries are the wrong ones, such as "running_var".'


@exercise("05.2")
def columns_after_flatten(answer: Callable) -> str | None:
    for kept, size, right in (([1], 2, [4, 5, 6, 7]), ([0, 2], 2, [0, 1, 2, 3, 8, 9, 10, 11])):
        columns = [int(column) for column in answer(kept, size)]
        if columns == kept:
            return "After flattening, a channel is not one column: it owns size × size of them."
        if columns == [k * size + i for k in kept for i in range(size)]:
            return "A map has size × size pixels, and each of them is a column."
        if columns != right:
            return f"For kept={kept} on a {size}×{size} map it should be {right}, not {columns}."
    return None


@exercise("05.3")
def macs_left(answer: float) -> str | None:
    if math.isclose(answer, 1 / 16, abs_tol=1e-3):
        return None
    if math.isclose(answer, 0.25, abs_tol=1e-3):
        return "The layer writes a quarter of its channels, and also reads only a quarter."
    return "Multiply the share of filters that are left by the share of inputs each still reads."
