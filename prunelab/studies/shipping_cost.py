"""Milliseconds of a dense, masked and cut network in torch, in onnxruntime, and in 8 bits (15).

They do not depend on how a network was trained, so new ones are pruned. Run it on an idle machine
with `--jobs 1`. In every trial all variants take turns, three times.
"""

from itertools import product

import numpy as np

from prunelab.data import load_data
from prunelab.models import resnet20
from prunelab.sparsity import latency
from prunelab.studies.shipping import ORIGINALS, forms, variants

BUILD = {name: original.build for name, original in ORIGINALS.items()} | {"resnet20": resnet20}

BATCHES = (1, 16, 64)
THREADS = (1, 2)
TURNS = 3
SECONDS = 0.03
"""For which a turn lasts, at least."""


def grid(seeds: int) -> list[dict]:
    return [
        {"network": network, "threads": threads, "seed": seed}
        for seed in range(seeds)
        for network in BUILD
        for threads in THREADS
    ]


def measure(network: str, threads: int, seed: int) -> list[dict]:
    data = load_data()
    dense = BUILD[network](seed=seed)
    shipped = {
        (variant, form): model
        for variant, pruned in variants(dense, data.test.x[:1]).items()
        for form, (model, _) in forms(pruned, data, threads)
    }
    turns: dict[tuple, list[float]] = {}
    for _, batch, (which, model) in product(range(TURNS), BATCHES, shipped.items()):
        seconds = latency(model, data.test.x[:batch], threads, SECONDS).median
        turns.setdefault((batch, *which), []).append(seconds)
    cell = {"network": network, "threads": threads, "seed": seed}
    rows = []
    for (batch, variant, form), seconds in turns.items():
        q25, median, q75 = np.quantile(seconds, [0.25, 0.5, 0.75])
        row = {**cell, "batch": batch, "variant": variant, "form": form}
        rows.append(row | {"median": median, "q25": q25, "q75": q75})
    return rows
