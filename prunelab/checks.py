"""What an argument must be, said in the same words everywhere (all notebooks)."""


def check_fraction(name: str, value: float) -> None:
    """Refuse what is no fraction, 0 ≤ value < 1. A whole number is refused as it means a count.

    Raises:
        ValueError: naming the argument and its value.
    """
    is_fraction = isinstance(value, float) or value == 0
    if not is_fraction or not 0 <= value < 1:
        raise ValueError(f"{name}={value!r} must be a fraction, 0 ≤ {name} < 1; write 0.5 for 50 %")


def check_count(name: str, value: int) -> None:
    """Refuse what is no whole number of at least 1.

    Raises:
        ValueError: naming the argument and its value.
    """
    if not isinstance(value, int) or value < 1:
        raise ValueError(f"{name}={value!r} must be a whole number of at least 1")


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Refuse what is none of the choices.

    Raises:
        ValueError: naming the argument, its value and the choices.
    """
    if value not in choices:
        listed = [f'"{choice}"' for choice in choices]
        wanted = " or ".join([", ".join(listed[:-1]), listed[-1]])
        raise ValueError(f"{name}={value!r} is unknown; choose {wanted}")
