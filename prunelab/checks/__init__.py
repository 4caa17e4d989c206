"""What an argument must be, said in the same words everywhere (all notebooks).

Here are numbers and choices; models, tensors and devices are in `checks.tensors`, tables in
`checks.tables`, stored weights in `checks.files`.
"""

import math
from numbers import Integral, Real


def said(value) -> str:
    """A value in at most 100 characters of one line, to be named in an error."""
    words = " ".join(repr(value).split())
    return words if len(words) <= 100 else f"{words[:99]}…"


def is_number(value) -> bool:
    """Whether it is a finite number: Python's or numpy's, but neither True nor False."""
    if not isinstance(value, Real) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond the largest float
        return False


def is_whole(value) -> bool:
    """Whether it is a whole number: Python's or numpy's, but neither True nor False."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def check_fraction(name: str, value: float) -> None:
    """Refuse what is no fraction, 0 ≤ value < 1. A whole number is refused as it means a count.

    Raises:
        ValueError: naming the argument and its value.
    """
    is_fraction = is_number(value) and (not is_whole(value) or value == 0)
    if not is_fraction or not 0 <= value < 1:
        raise ValueError(
            f"{name}={said(value)} must be a fraction, 0 ≤ {name} < 1; write 0.5 for 50 %"
        )


def check_count(name: str, value: int, least: int = 1, most: int = 2**63 - 1) -> None:
    """Refuse what is no whole number of at least 1, or within other bounds.

    Raises:
        ValueError: naming the argument and its value.
    """
    if not is_whole(value) or not least <= value <= most:
        bounds = f"of at least {least}" if most == 2**63 - 1 else f"from {least} to {most}"
        raise ValueError(f"{name}={said(value)} must be a whole number {bounds}")


def check_network(
    input_shape, num_classes: int, width: int = 1, least: int = 1
) -> tuple[int, int, int]:
    """Channels, height and width of the images, if a network can be built for them.

    Raises:
        ValueError: naming the argument; images must have at least `least` by `least` pixels.
    """
    check_count("num_classes", num_classes)
    check_count("width", width)
    shape = tuple(input_shape) if isinstance(input_shape, tuple | list) else ()
    whole = all(is_whole(size) and 1 <= size < 2**31 for size in shape)
    if len(shape) != 3 or not whole or min(shape[1:]) < least:
        raise ValueError(
            f"input_shape={said(input_shape)} must be the channels, height and width of an image, "
            f"such as (1, 28, 28), of at least {least}×{least} pixels"
        )
    return int(shape[0]), int(shape[1]), int(shape[2])


def check_seed(seed: int) -> None:
    """Refuse what no generator can be seeded with.

    Raises:
        ValueError: naming the value.
    """
    if not is_whole(seed) or not 0 <= seed < 2**63:
        raise ValueError(f"seed={said(seed)} must be a whole number from 0 to 2⁶³ − 1")


def check_between(name: str, value: float, low: float, high: float) -> None:
    """Refuse what is no number from `low` to `high`.

    Raises:
        ValueError: naming the argument and its value.
    """
    if not is_number(value) or not low <= value <= high:
        raise ValueError(f"{name}={said(value)} must be from {low} to {high}")


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Refuse what is none of the choices.

    Raises:
        ValueError: naming the argument, its value and the choices.
    """
    if not isinstance(value, str) or value not in choices:
        listed = [f'"{choice}"' for choice in choices]
        wanted = " or ".join([", ".join(listed[:-1]), listed[-1]])
        raise ValueError(f"{name}={said(value)} is unknown; choose {wanted}")
