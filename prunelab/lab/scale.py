"""What pruning a language model costs, on paper: counted from its shapes, timed on this machine."""

import time
from collections.abc import Callable
from typing import NamedTuple

import pandas as pd
import torch

from prunelab.calibrated import sparsegpt


class Shape(NamedTuple):
    """What a block of a transformer consists of, and how many there are."""

    blocks: int
    layers: tuple[tuple[int, int, str], ...]
    """Outputs and inputs of each linear layer, and what it reads; some read the same."""

    @property
    def weights(self) -> int:
        return self.blocks * sum(out * inputs for out, inputs, _ in self.layers)

    @property
    def widths(self) -> list[int]:
        """The widths of the different inputs of a block."""
        return list({read: inputs for _, inputs, read in self.layers}.values())


def llama(blocks: int, width: int, hidden: int, keys: int) -> Shape:
    """A network like LLaMA-2.

    Args:
        blocks, width: how many, and numbers a position between them.
        hidden: units of an MLP, which has three layers.
        keys: numbers of all keys of a position, and of all values; fewer than `width` where
            several heads share theirs.
    """
    attention = ((width, "norm"), (keys, "norm"), (keys, "norm"), (width, "heads"))
    layers = [(out, width, read) for out, read in attention]
    layers += [(hidden, width, "second norm")] * 2 + [(width, hidden, "hidden")]
    return Shape(blocks, tuple(layers))


LLAMA = {
    "7B": llama(32, 4096, 11008, 4096),
    "70B": llama(80, 8192, 28672, 1024),
}
"""LLaMA-2: Touvron et al. (2023), arXiv:2307.09288, and the configurations published with it."""
CALIBRATION = 128 * 2048
"""Tokens that Wanda and SparseGPT look at in their papers."""
RETRAINING = 1_000_000_000
"""Tokens of a short retraining: an example, a two-thousandth of the 2 · 10¹² of LLaMA-2."""


def steps(shape: Shape) -> pd.Series:
    r"""Multiplications of each step, of layers of $n_\text{out} \times n_\text{in}$.

    For $N$ tokens. One pass: $N n_\text{out} n_\text{in}$ a layer, without attention's own
    products. The matrix (17.3): $N n_\text{in}^2$ an input. The factor of its inverse:
    $n_\text{in}^3$ to invert, $n_\text{in}^3 / 6$ for Cholesky. The update (17.6):
    $n_\text{out} n_\text{in}^2 / 2$ a layer.
    A training step is three passes: forward, and twice as much backward.
    """
    squares = shape.blocks * sum(width**2 for width in shape.widths)
    cubes = shape.blocks * sum(width**3 for width in shape.widths)
    updates = shape.blocks * sum(out * inputs**2 for out, inputs, _ in shape.layers) / 2
    return pd.Series(
        {
            "one pass": CALIBRATION * shape.weights,
            "Gram matrices": CALIBRATION * squares,
            "inverses": cubes * (1 + 1 / 6),
            "updates": updates,
            "retraining": 3 * RETRAINING * shape.weights,
        }
    )


def memory(shape: Shape) -> pd.Series:
    """Gigabytes: weights of 2 bytes, the largest Gram matrix of 4, training with Adam of 16."""
    largest = max(shape.widths)
    return pd.Series(
        {
            "weights": 2 * shape.weights / 1e9,
            "one block": 2 * shape.weights / shape.blocks / 1e9,
            "largest Gram matrix": 4 * largest**2 / 1e9,
            "training": 16 * shape.weights / 1e9,
        }
    )


def seconds_a_multiplication(width: int = 768, tokens: int = 2048, seed: int = 0) -> pd.Series:
    """Time each step once on square layers of this machine: seconds over multiplications."""
    generator = torch.Generator().manual_seed(seed)
    weights, x = (torch.randn(n, width, generator=generator) for n in (width, tokens))
    precise = x.double()
    gram = precise.T @ precise + torch.eye(width)
    kept = torch.ones_like(weights, dtype=torch.bool)
    one = tokens * width**2
    factor = _seconds(lambda: torch.linalg.cholesky(torch.linalg.inv(gram)))
    whole = _seconds(lambda: sparsegpt(weights, gram, kept, 0.5))
    passing = _seconds(lambda: x @ weights.T) / one
    return pd.Series(
        {
            "one pass": passing,
            "Gram matrices": _seconds(lambda: precise.T @ precise) / one,
            "inverses": factor / (width**3 * (1 + 1 / 6)),
            "updates": max(whole - factor, 0) / (width**3 / 2),
            "retraining": passing,
        }
    )


def _seconds(work: Callable[[], object]) -> float:
    """The shorter of two times."""
    taken = []
    for _ in range(2):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return min(taken)


METHODS = {
    "magnitude": (),
    "Wanda": ("one pass",),
    "SparseGPT": ("one pass", "Gram matrices", "inverses", "updates"),
    "a short retraining": ("retraining",),
}


def methods(rates: pd.Series) -> pd.DataFrame:
    """Multiplications of each method in all, and days at the rates of this machine."""
    rows = [
        {
            "model": model,
            "method": method,
            "multiplications": (counts := steps(shape)[[*used]]).sum(),
            "days": (counts * rates[[*used]]).sum() / 86400,
        }
        for model, shape in LLAMA.items()
        for method, used in METHODS.items()
    ]
    return pd.DataFrame(rows)
