"""What an argument must be, said in the same words everywhere (all notebooks).

Here are numbers and choices; models, tensors and devices are in `checks.tensors`, stored weights
in `checks.files`.
"""

import math
from numbers import Integral, Real


def is_number(value) -> bool:
    """Whether it is a finite number: Python's or numpy's, but neither True nor False."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


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
        raise ValueError(f"{name}={value!r} must be a fraction, 0 ≤ {name} < 1; write 0.5 for 50 %")


def check_count(name: str, value: int) -> None:
    """Refuse what is no whole number of at least 1.

    Raises:
        ValueError: naming the argument and its value.
    """
    if not is_whole(value) or value < 1:
        raise ValueError(f"{name}={value!r} must be a whole number of at least 1")


def check_seed(seed: int) -> None:
    """Refuse what no generator can be seeded with.

    Raises:
        ValueError: naming the value.
    """
    if not is_whole(seed) or not 0 <= seed < 2**63:
        raise ValueError(f"seed={seed!r} must be a whole number from 0 to 2⁶³ − 1")


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Refuse what is none of the choices.

    Raises:
        ValueError: naming the argument, its value and the choices.
    """
    if not isinstance(value, str) or value not in choices:
        listed = [f'"{choice}"' for choice in choices]
        wanted = " or ".join([", ".join(listed[:-1]), listed[-1]])
        raise ValueError(f"{name}={value!r} is unknown; choose {wanted}")
