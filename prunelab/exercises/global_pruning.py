"""Checks of the exercises of notebook 01."""

import math
from collections.abc import Callable

import torch

from prunelab.exercises.checking import exercise


@exercise("01.1")
def sparsity_after(answer: Callable) -> str | None:
    for amount, rounds in ((0.1, 5), (0.2, 3), (0.5, 2)):
        right, value = 1 - (1 - amount) ** rounds, answer(amount, rounds)
        if math.isclose(value, amount * rounds, rel_tol=1e-9):
            return f"{rounds} × {amount} counts weights twice: each round takes from what is left."
        if not math.isclose(value, right, rel_tol=1e-9):
            return f"For amount {amount}, {rounds} rounds: {right:.4f}, and yours is {value:.4f}."
    return None


@exercise("01.2")
def amount_per_round(answer: float) -> str | None:
    if math.isclose(answer, 1 - 0.5**0.2, abs_tol=5e-5):
        return None
    if math.isclose(answer, 0.1, abs_tol=1e-9):
        return "Five times 0.1 ends at 40.95 %. Solve (1 − a)⁵ = 0.5 for a."
    return f"Five rounds of {answer} end at {1 - (1 - answer) ** 5:.2%}, not at 50 %."


@exercise("01.3")
def exact_mask(answer: Callable) -> str | None:
    generator = torch.Generator().manual_seed(0)
    distinct = torch.randn(7, 11, generator=generator)
    tied = torch.randint(-2, 3, (10, 10), generator=generator).float()
    for weights, what in ((distinct, "distinct weights"), (tied, "weights that tie")):
        for sparsity in (0.0, 0.3, 0.8):
            mask = answer(weights.clone(), sparsity)
            if tuple(mask.shape) != tuple(weights.shape):
                return (
                    f"The mask has shape {tuple(mask.shape)}, the weights {tuple(weights.shape)}."
                )
            right = round(sparsity * weights.numel())
            pruned = int((~mask.bool()).sum())
            if pruned != right:
                return f"With {what} at sparsity {sparsity} it prunes {pruned} instead of {right}."
            kept, gone = weights[mask.bool()].abs(), weights[~mask.bool()].abs()
            if right and kept.min() < gone.max():
                return f"With {what} it prunes a weight that is larger than one it keeps."
    return None
