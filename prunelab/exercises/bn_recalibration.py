"""Checks of the exercises of notebook 09."""

from collections.abc import Callable

import torch

from prunelab.exercises.checking import exercise


@exercise("09.1")
def passes_until_fresh(answer: int) -> str | None:
    if answer == 44:
        return None
    if answer == 10:
        return "Ten passes keep 0.9¹⁰ = 35 % of the stale statistics."
    if isinstance(answer, int):
        return (
            f"{answer} passes keep {0.9**answer:.2%}; the fewest that keep at most 1 % are asked."
        )
    return "A whole number of passes: solve 0.9ⁿ ≤ 0.01 for n, and round up."


@exercise("09.2")
def batch_statistics(answer: Callable) -> str | None:
    x = torch.randn(8, 3, 5, 4, generator=torch.Generator().manual_seed(0)) * 2 + 1
    mean, variance = answer(x.clone())
    if tuple(mean.shape) != (3,) or tuple(variance.shape) != (3,):
        return f"One number a channel is wanted, [3]; yours are {tuple(mean.shape)}."
    if not torch.allclose(mean, x.mean((0, 2, 3)), atol=1e-5):
        return "The mean goes over the images and over all pixels of a channel."
    if torch.allclose(variance, x.var((0, 2, 3), correction=0), atol=1e-5):
        return "Running variances are unbiased: divide by n − 1, not by n."
    if not torch.allclose(variance, x.var((0, 2, 3)), atol=1e-4):
        return "The variance goes over the same values as the mean."
    return None
