"""Milliseconds of dense, masked, permanent and CSR layers on one thread (notebook 07).

Run it on an idle machine with `--jobs 1`. Every trial measures all formats of one layer and
batch side by side.
"""

import copy

import pandas as pd
import torch
from torch import nn

from prunelab.masks import make_pruning_permanent
from prunelab.models import lenet300
from prunelab.pruning import apply_global_pruning
from prunelab.sparsity import CSRLinear, latency

SPARSITIES = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
LAYERS = ("linear 2048×2048", "lenet300")
BATCHES = (1, 64)


def grid(seeds: int) -> list[dict]:
    return [
        {"layer": layer, "batch": batch, "seed": seed}
        for seed in range(seeds)
        for layer in LAYERS
        for batch in BATCHES
    ]


def measure(layer: str, batch: int, seed: int) -> list[dict]:
    dense, x = _build(layer, batch, seed)
    rows = []
    for sparsity in SPARSITIES:
        masked = apply_global_pruning(copy.deepcopy(dense), sparsity=sparsity)
        formats = {
            "dense": dense,
            "masked": masked,
            "permanent": make_pruning_permanent(copy.deepcopy(masked)),
            "CSR": to_csr(masked),
        }
        rows += [
            {
                "layer": layer,
                "batch": batch,
                "seed": seed,
                "sparsity": sparsity,
                "format": name,
                **latency(model, x)._asdict(),
            }
            for name, model in formats.items()
        ]
    return rows


def to_csr(model: nn.Sequential) -> nn.Sequential:
    """A copy of a sequence of layers whose linear ones are stored as CSR."""
    return nn.Sequential(
        *(CSRLinear(layer) if isinstance(layer, nn.Linear) else layer for layer in model)
    )


def _build(layer: str, batch: int, seed: int) -> tuple[nn.Sequential, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    if layer == "lenet300":
        return lenet300(seed=seed).eval(), torch.randn(batch, 1, 28, 28, generator=generator)
    linear = nn.Linear(2048, 2048)
    nn.init.normal_(linear.weight, std=2048**-0.5, generator=generator)
    return nn.Sequential(linear).eval(), torch.randn(batch, 2048, generator=generator)


def relative_speed(table: pd.DataFrame) -> pd.DataFrame:
    """The rows other than dense, with `speedup`: dense median / median in the same trial."""
    trial = ["layer", "batch", "seed", "sparsity"]
    dense = table.loc[table["format"] == "dense", [*trial, "median"]]
    others = table[table["format"] != "dense"]
    both = others.merge(dense, on=trial, suffixes=("", "_dense"), validate="many_to_one")
    return both.assign(speedup=both["median_dense"] / both["median"])
