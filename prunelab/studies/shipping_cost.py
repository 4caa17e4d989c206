"""Milliseconds of a dense, masked and cut network in torch, in onnxruntime, and in 8 bits (15).

They do not depend on how a network was trained, so new ones are pruned. Run it on an idle machine
with `--jobs 1`. In every trial all variants take turns, three times; PyTorch and onnxruntime may
use one thread, then two.
"""

import tempfile
from itertools import product
from pathlib import Path

import numpy as np

from prunelab.data import load_data
from prunelab.sparsity import latency
from prunelab.studies.shipping import FORMS, ORIGINALS, VARIANTS, forms, variants

BATCHES = (1, 16, 64)
THREADS = (1, 2)
TURNS = 3
SECONDS = 0.02
"""For which a turn lasts, at least."""


def grid(seeds: int) -> list[dict]:
    return [{"network": network, "seed": seed} for seed in range(seeds) for network in ORIGINALS]


def measure(network: str, seed: int) -> list[dict]:
    data = load_data()
    dense = ORIGINALS[network].build(seed=seed)
    shipped = {}
    for variant, pruned in variants(dense, data.test.x[:1]).items():
        with tempfile.TemporaryDirectory() as folder:
            for form, on_threads, _ in forms(pruned, data, Path(folder)):
                for threads in THREADS:
                    shipped[threads, variant, form] = on_threads(threads)
    turns: dict[tuple, list[float]] = {}
    for threads, batch, _ in product(THREADS, BATCHES, range(TURNS)):
        x = data.test.x[:batch]
        for variant, form in product(VARIANTS, FORMS):
            model = shipped[threads, variant, form]
            seconds = latency(model, x, threads, SECONDS).median
            turns.setdefault((threads, batch, variant, form), []).append(seconds)
    rows = []
    for (threads, batch, variant, form), seconds in turns.items():
        row = {"network": network, "seed": seed, "threads": threads, "batch": batch}
        q25, median, q75 = np.quantile(seconds, [0.25, 0.5, 0.75])
        row |= {"variant": variant, "form": form, "median": median, "q25": q25, "q75": q75}
        rows.append(row)
    return rows
