"""What the outputs of two networks must be that learn from one another."""

import torch
from torch import Tensor

from prunelab.checks import is_number, said
from prunelab.checks.tensors import check_tensor


def check_temperature(T: float, alpha: float = 0.0) -> None:
    """Refuse a temperature or a weight out of range, with a ValueError."""
    if not is_number(T) or not 0 < T <= 1e6:  # beyond, float32 has no differences left to scale
        raise ValueError(
            f"T={said(T)} must be greater than 0 and at most 1e6; 1 leaves the outputs as they are"
        )
    if not is_number(alpha) or not 0 <= alpha <= 1:
        raise ValueError(f"alpha={said(alpha)} must be from 0 (teacher only) to 1 (labels only)")


def check_scores_and_labels(outputs: Tensor, teacher_outputs: Tensor, labels: Tensor) -> None:
    """Refuse what does not fit together, is empty, or has been through a softmax.

    Raises:
        TypeError: no tensors.
        ValueError: naming the argument.
    """
    given = {"outputs": outputs, "teacher_outputs": teacher_outputs, "labels": labels}
    for name, value in given.items():
        check_tensor(name, value)
    if outputs.ndim != 2 or outputs.shape != teacher_outputs.shape:
        raise ValueError(
            f"outputs {tuple(outputs.shape)} and teacher_outputs {tuple(teacher_outputs.shape)} "
            "must have one shape, [B, classes]"
        )
    if outputs.numel() == 0:
        raise ValueError(f"outputs {tuple(outputs.shape)} are empty; give at least one image")
    if labels.shape != outputs.shape[:1]:
        raise ValueError(
            f"labels {tuple(labels.shape)} must have one class for each of the "
            f"{len(outputs)} images"
        )
    classes = outputs.shape[1]
    if labels.dtype != torch.int64 or not ((labels >= 0) & (labels < classes)).all():
        raise ValueError(f"labels must be int64 and from 0 to {classes - 1}")
    for name in ("outputs", "teacher_outputs"):
        _check_scores(name, given[name].detach())


def _check_scores(name: str, values: Tensor) -> None:
    """Refuse probabilities. Log-probabilities are fine: softmax maps them to the same thing."""
    if not values.is_floating_point() or values.element_size() < 2:
        raise ValueError(f"{name} is {values.dtype}; give class scores as floating point")
    if (values >= 0).all() and ((values.sum(dim=1) - 1).abs() < 1e-2).all():
        raise ValueError(f"{name} are probabilities; give class scores, before any softmax")
