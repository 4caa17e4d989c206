"""Weights that were stored: read without running anything, and checked before they are used."""

import io
from pathlib import Path

import torch
from torch import nn

from prunelab.checks import said
from prunelab.checks.tensors import check_type, first_line


def checked_path(path: Path | str, name: str = "path") -> Path:
    """The path, if a file can be there.

    Raises:
        TypeError, ValueError: naming the argument.
    """
    check_type(name, path, str | Path, "the path of a file")
    if not str(path) or "\0" in str(path):
        raise ValueError(f"{name}={said(path)} cannot be the path of a file")
    return Path(path)


def read_weights(path: Path | str):
    """What `torch.save` has written, on the CPU. No code in the file is run.

    Raises:
        OSError: the file is missing or may not be read.
        ValueError: it is damaged, or holds more than tensors, numbers and texts.
    """
    stored = io.BytesIO(checked_path(path).read_bytes())
    try:
        return torch.load(stored, map_location="cpu", weights_only=True)
    except Exception:  # torch's own words advise to run what is in the file
        raise ValueError(
            f"{path} is damaged or holds more than weights, and was not read; get it again from "
            "where it came"
        ) from None


def fill(model: nn.Module, weights, path: Path | str, name: str) -> None:
    """Load the weights that were read from a file.

    Raises:
        ValueError: they belong to another architecture.
    """
    try:
        model.load_state_dict(weights)
    except Exception as error:
        raise ValueError(f"{path} does not fit {name}: {first_line(error)}") from error
