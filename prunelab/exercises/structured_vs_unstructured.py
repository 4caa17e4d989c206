"""Checks of the exercises of notebook 12."""

import math
from collections.abc import Callable

from prunelab.exercises.checking import exercise


@exercise("12.1")
def sparsity_of_equal_weights(answer: Callable) -> str | None:
    for ratio in (0.25, 0.5, 0.75):
        value = answer(ratio)
        if math.isclose(value, (1 - ratio) ** 2):
            return "That is the density, the share that is left."
        if math.isclose(value, ratio):
            return "The filters that stay also read fewer channels, so more weights go."
        if not math.isclose(value, 1 - (1 - ratio) ** 2):
            return f"At ratio {ratio} it should be {1 - (1 - ratio) ** 2:g}; yours is {value:g}."
    return None


@exercise("12.2")
def macs_by_layer(answer: float) -> str | None:
    if math.isclose(answer, 16):
        return None
    if math.isclose(answer, 1 / 16):
        return "The other way round: the second way leaves the layer with the large maps."
    if math.isclose(answer, 4):
        return "A weight is used at every pixel of the map; count pixels, not rows."
    return "Every weight costs one MAC at each pixel of the map its layer makes."
