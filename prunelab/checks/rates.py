"""What an optimizer and its schedule can be made of."""

from torch import nn

from prunelab.checks import check_count, is_number, said
from prunelab.checks.tensors import check_model


def check_sgd(model: nn.Module, steps: int, **rates: float) -> None:
    """Refuse what SGD cannot train, or not with these numbers; `lr` must be greater than 0.

    Raises:
        TypeError: no model.
        ValueError: naming the argument and its value.
    """
    check_model(model)
    if not list(model.parameters()):
        raise ValueError("model has no parameters to train")
    check_count("steps", steps)
    for name, value in rates.items():
        if not is_number(value) or value < 0 or (name == "lr" and value == 0):
            wanted = "greater than 0" if name == "lr" else "at least 0"
            raise ValueError(f"{name}={said(value)} must be {wanted}")


def check_milestones(milestones: tuple[float, ...]) -> None:
    """Refuse what are no increasing fractions, with a ValueError."""
    numbers = isinstance(milestones, tuple | list) and all(map(is_number, milestones))
    increase = numbers and list(milestones) == sorted(set(milestones))
    if not increase or not all(0 < m < 1 for m in milestones):
        raise ValueError(f"milestones={said(milestones)} must increase, each between 0 and 1")
