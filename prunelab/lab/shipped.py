"""What the studies `shipping` and `shipping_cost` say, as tables that notebook 15 shows (15)."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from torch import Tensor

from prunelab.intervals import paired_difference, paired_ratio, written
from prunelab.lab.claims import p_value, verdict
from prunelab.lab.protocol import POINTS, TIMES
from prunelab.shipping import Shipped, size_of
from prunelab.sparsity import latency

FASTER = {  # claim: the faster one and the slower one, each a variant and a form
    "onnxruntime is faster than PyTorch": (("dense", "onnx"), ("dense", "torch")),
    "zeros make it faster": (("masked", "onnx"), ("dense", "onnx")),
    "a cut makes it faster": (("cut", "onnx"), ("dense", "onnx")),
    "a cut to multiples of 8 makes it faster": (("cut, rounded", "onnx"), ("dense", "onnx")),
    "8 bits make it faster": (("dense", "int8"), ("dense", "onnx")),
    "8 bits make the rounded cut faster": (("cut, rounded", "int8"), ("cut, rounded", "onnx")),
}
"""Fixed before the study was run, as `data/PROTOCOL.md` asks: a ratio of times above 1."""
BATCHES = (1, 64)
SAME = "8 bits lose less than 0.2 points"


def weighed(files: Mapping[str, Path], x: Tensor) -> pd.DataFrame:
    """Of each ONNX file: kilobytes as it is and zipped, and milliseconds of all of x."""
    rows = {}
    for name, path in files.items():
        size = size_of(path)
        rows[name] = {
            "file, kB": size.bytes / 1000,
            "zipped, kB": size.gzipped / 1000,
            "ms": 1000 * latency(Shipped(path), x).median,
        }
    return pd.DataFrame(rows).T


def speeds(cost: pd.DataFrame, first: tuple[str, str], second: tuple[str, str]) -> pd.DataFrame:
    """How many times as fast the first is as the second, a variant and a form each.

    Args:
        cost: the table of `shipping_cost`.
        first, second: such as `("cut", "onnx")`.

    Returns:
        What `paired_ratio` gives by network, threads and batch, with a `setting` in words.
    """
    which = cost["variant"] + "|" + cost["form"]
    two = ("which", "|".join(second), "|".join(first))
    by = ["network", "threads", "batch"]
    ratio = paired_ratio(cost.assign(which=which), by, "median", *two)
    images = ratio["batch"].map(lambda batch: f"{batch} image{'s' if batch > 1 else ''}")
    return ratio.assign(setting=ratio["network"] + ", " + images)


def kilobytes(study: pd.DataFrame, column: str = "bytes") -> pd.DataFrame:
    """Mean size of the files of the study `shipping`, a row a variant and a column a form."""
    table = study.pivot_table(column, ["network", "variant"], "form", sort=False) / 1000
    return table[list(study["form"].unique())]


def lost(study: pd.DataFrame, form: str, to: str = "onnx") -> pd.DataFrame:
    """Points of accuracy that a form loses to another one, by network and variant."""
    points = study.assign(points=100 * study["test_accuracy"])
    by = ["network", "variant"]
    table = paired_difference(points, by, "points", "form", to, form)
    return table.assign(setting=table["network"] + ", " + table["variant"])


def lost_to_dense(study: pd.DataFrame) -> pd.DataFrame:
    """Points of accuracy that each variant loses to the dense network trained as long, in torch."""
    points = study[study["form"] == "torch"]
    points = points.assign(points=100 * points["test_accuracy"])
    parts = [
        paired_difference(points, ["network"], "points", "variant", "dense", variant).assign(
            source=variant
        )
        for variant in points["variant"].unique()
        if variant != "dense"
    ]
    table = pd.concat(parts, ignore_index=True)
    return table.assign(setting=table["network"]).sort_values("network", kind="stable")


def shipping_claims(study: pd.DataFrame, cost: pd.DataFrame) -> pd.DataFrame:
    """What is said of shipping, for one image and for 64 on one thread, and the verdicts.

    Returns:
        The columns `effect`, `verdict` and `p`, by `claim` and `setting`.
    """
    one = cost[(cost["threads"] == 1) & cost["batch"].isin(BATCHES)]
    parts = [
        speeds(one, *pair).assign(claim=claim, side="above", bound=1.0, matters=TIMES)
        for claim, pair in FASTER.items()
    ]
    for part in parts:
        part["effect"] = written(part, "times", ".2f")
    points = lost(study, "int8").assign(claim=SAME, side="below", bound=POINTS, matters=None)
    points["effect"] = written(points)
    table = pd.concat([*parts, points], ignore_index=True)
    table["verdict"] = [
        verdict(row.low, row.high, row.side, row.bound, None if row.claim == SAME else row.matters)
        for row in table.itertuples()
    ]
    table["p"] = [p_value(row, row.bound, row.claim != SAME) for row in table.itertuples()]
    return table.set_index(["claim", "setting"])[["effect", "verdict", "p"]]
