"""Milliseconds of what recovery brings back: zeros, sparse rows, cut networks (13).

They do not depend on how a network was trained, so new ones are pruned. Run it on an idle machine
with `--jobs 1`. Every trial measures all variants side by side, on one thread.
"""

import copy

import pandas as pd

from prunelab.data import load_data
from prunelab.intervals import paired_ratio
from prunelab.masks import make_pruning_permanent
from prunelab.sparsity import latency
from prunelab.studies.latency import to_csr
from prunelab.studies.recovery import ORIGINALS, without

BATCHES = (1, 64)
PRUNED = (("weights", 0.2), ("weights", 0.05), ("filters", 0.5), ("filters", 0.2))


def grid(seeds: int) -> list[dict]:
    return [
        {"network": network, "batch": batch, "seed": seed}
        for seed in range(seeds)
        for network in ORIGINALS
        for batch in BATCHES
    ]


def measure(network: str, batch: int, seed: int) -> list[dict]:
    x = load_data().test.x[:batch]
    dense = ORIGINALS[network].build(seed=seed)
    variants = {("nothing", 1.0, "dense"): dense}
    for pruned, density in PRUNED:
        model = without(dense, pruned, density, random=None)
        if pruned == "filters":
            variants[pruned, density, "cut"] = model
            continue
        variants[pruned, density, "zeros"] = make_pruning_permanent(copy.deepcopy(model))
        if network == "lenet300":  # a sequence of linear layers
            variants[pruned, density, "CSR"] = to_csr(model)
    cell = {"network": network, "batch": batch, "seed": seed}
    return [
        {**cell, "pruned": pruned, "density": density, "stored as": stored}
        | latency(model, x)._asdict()
        for (pruned, density, stored), model in variants.items()
    ]


def times_as_fast(table: pd.DataFrame) -> pd.DataFrame:
    """How many times as fast as the dense network each variant is: geometric means, intervals."""
    trial = ["network", "batch", "seed"]
    dense = table.loc[table["pruned"] == "nothing", [*trial, "median"]]
    others = table[table["pruned"] != "nothing"]
    kept = [f"{density:.0%}" for density in others["density"]]
    others = others.assign(variant=others["pruned"] + ", " + kept + ", " + others["stored as"])
    beside = others.drop(columns="median").merge(dense, on=trial, validate="many_to_one")
    both = pd.concat([others.assign(network_is="pruned"), beside.assign(network_is="dense")])
    by = ["variant", "network", "batch"]
    return paired_ratio(both, by, "median", "network_is", "dense", "pruned")
