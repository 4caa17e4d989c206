"""Bytes and milliseconds of a network without filters and of one without weights (notebook 12).

Run it on an idle machine with `--jobs 1`. Every trial measures all variants side by side, on one
thread.
"""

import copy

import pandas as pd

from prunelab.data import load_data
from prunelab.masks import make_pruning_permanent
from prunelab.sparsity import bytes_on_disk, latency
from prunelab.studies.latency import to_csr
from prunelab.studies.shared import networks
from prunelab.studies.structured import EQUAL_PARAMETERS, FILTERS, RATIOS, without
from prunelab.studies.trajectories import dense_network

BATCHES = (1, 64)


def grid(seeds: int) -> list[dict]:
    return [
        {**start, "ratio": ratio, "batch": batch}
        for start in networks("trajectories", seeds)
        for ratio in RATIOS
        for batch in BATCHES
    ]


def measure(network: str, learning_rate: float, seed: int, ratio: float, batch: int) -> list[dict]:
    x = load_data().test.x[:batch]
    dense = dense_network(network, learning_rate, seed)
    small = without(dense, FILTERS, ratio, x[:1])
    masked = without(dense, EQUAL_PARAMETERS, ratio, x[:1])
    variants = {  # variant: the network, and the file format it needs
        "dense": (dense, "dense"),
        "filters": (small, "dense"),
        "weights, masked": (masked, "masked"),
        "weights, permanent": (make_pruning_permanent(copy.deepcopy(masked)), "permanent, zlib"),
    }
    if network == "lenet300":  # a sequence of linear layers
        variants["weights, CSR"] = (to_csr(masked), "CSR")
    rows = []
    for variant, (model, file_format) in variants.items():
        sizes = bytes_on_disk(masked if variant == "weights, CSR" else model).set_index("format")
        row = {"network": network, "seed": seed, "ratio": ratio, "batch": batch, "variant": variant}
        row["bytes"] = int(sizes.loc[file_format, "bytes"])
        rows.append(row | latency(model, x)._asdict())
    return rows


def relative_to_dense(table: pd.DataFrame) -> pd.DataFrame:
    """All variants but the dense one, with `speedup` and `compression` in the same trial."""
    trial = ["network", "seed", "ratio", "batch"]
    dense = table.loc[table["variant"] == "dense", [*trial, "median", "bytes"]]
    others = table[table["variant"] != "dense"]
    both = others.merge(dense, on=trial, suffixes=("", "_dense"), validate="many_to_one")
    return both.assign(
        speedup=both["median_dense"] / both["median"],
        compression=both["bytes_dense"] / both["bytes"],
    )
