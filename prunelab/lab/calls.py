"""What a study can be asked for at all."""

import torch

from prunelab.data import MEAN_STD


class WrongCall(ValueError):
    """An argument that cannot be. Says which one, its value and what would be right."""


def check_settings(settings: dict) -> None:
    """Fail before a process is started if numbers, data set or device cannot be.

    Raises:
        WrongCall: says which.
    """
    for key, value in settings.items():
        least = 1 if key in ("seeds", "jobs", "iterations") else 0
        if isinstance(value, int) and value < least:
            raise WrongCall(f"{key}={value} must be at least {least}")
    if settings.get("dataset", "mnist") not in MEAN_STD:
        raise WrongCall(f"dataset={settings['dataset']!r} is none of {', '.join(MEAN_STD)}")
    device = settings.get("device", "cpu")
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        why = str(error).partition("\n")[0]
        raise WrongCall(f"device={device!r} cannot be used here: {why}") from error
