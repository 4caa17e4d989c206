"""Files of networks that were cut, which hold no code."""

from pathlib import Path

import torch
from torch import nn

from prunelab.channels.cut import cut
from prunelab.checks.files import checked_path, fill, read_weights
from prunelab.checks.tensors import check_model, first_line


def save_network(small: nn.Module, path: Path | str) -> None:
    """Store a cut network: its weights, and which channels of the original it has kept.

    Args:
        small: what `prune_channels` or `prune_network` returned, trained further or not.
        path: the file to write.

    Raises:
        ValueError: a network that was not cut.
    """
    if not hasattr(small, "kept_channels"):
        raise ValueError("small was not cut; save its state_dict() with torch.save")
    torch.save({"kept": small.kept_channels, "weights": small.state_dict()}, checked_path(path))


def load_network(original: nn.Module, path: Path | str) -> nn.Module:
    """Rebuild a network that `save_network` has stored, without unpickling code.

    Args:
        original: a network built as the one that was cut; its weights do not matter.
        path: the file.

    Returns:
        The small network, in the modes of `original`, which is left as it is.

    Raises:
        ValueError: the file is damaged, or belongs to another architecture.
    """
    check_model(original, "original", with_numbers=False)
    stored = read_weights(path)
    try:
        small = cut(original, stored["kept"])
    except Exception as error:
        raise ValueError(f"{path} does not fit original: {first_line(error)}") from error
    fill(small, stored.get("weights"), path, "original")
    small.kept_channels = stored["kept"]
    return small
