"""Filters or single weights removed: what a network gains, tables of the study (notebook 12)."""

from collections.abc import Mapping

import pandas as pd
from torch import Tensor, nn

from prunelab.intervals import mean_interval, paired_difference
from prunelab.lab.claims import verdicts
from prunelab.lab.results import with_more
from prunelab.sparsity import bytes_on_disk, count_macs, latency
from prunelab.studies.structured import EQUAL_MACS, EQUAL_PARAMETERS, FILTERS

STAGES = ("before", "recalibrated", "LR rewinding")


def file_and_time(networks: Mapping[str, nn.Module], x: Tensor) -> pd.DataFrame:
    """Of each network: its file as it is and zipped, MACs of an image, milliseconds of all of x."""
    rows = {}
    for name, network in networks.items():
        stored = bytes_on_disk(network).set_index("format")["bytes"] / 1000
        rows[name] = {
            "file, kB": stored["permanent"],
            "zipped, kB": stored["permanent, zlib"],
            "MACs, thousands": count_macs(network, x[:1]) / 1000,
            "ms": 1000 * latency(network, x).median,
        }
    return pd.DataFrame(rows).T


def recorded() -> pd.DataFrame:
    """The study `structured`, with `points` against the dense network, and `setting` in words."""
    study = with_more("structured")
    points = 100 * (study["test_accuracy"] - study["test_dense"])
    setting = study["network"] + [f", {ratio:.0%}" for ratio in study["ratio"]]
    return study.assign(points=points, setting=setting)


def between(rows: pd.DataFrame, a: str, b: str, column: str = "pruned") -> pd.DataFrame:
    """Points of a minus those of b, two of the values of `column`, with intervals, by setting."""
    effect = paired_difference(rows, ["setting"], "points", column, a, b)
    return effect.set_index("setting").loc[rows["setting"].unique()].reset_index()


def stages(study: pd.DataFrame, setting: str) -> pd.DataFrame:
    """Points of filters and of as many weights before, recalibrated and retrained, to be drawn."""
    here = study[(study["setting"] == setting) & (study["pruned"] != EQUAL_MACS)]
    mean = mean_interval(here, ["method", "pruned"], "points").set_index("method")
    mean = mean.loc[list(STAGES)].reset_index()
    return mean.rename(columns={"method": "setting", "pruned": "source"})


def lost_before(study: pd.DataFrame) -> pd.DataFrame:
    """By setting: points lost without retraining, their difference, and the claim's verdict."""
    before = study[study["method"] == "before"]
    names = before["network"] + [f", {ratio:g}" for ratio in before["ratio"]]
    lost = -before.pivot_table(index=names.rename("setting"), columns="pruned", values="points")
    lost = (
        lost[[EQUAL_PARAMETERS, FILTERS]]
        .round(1)
        .set_axis(["weights lose", "filters lose"], axis=1)
    )
    claim = verdicts("12").droplevel(["quantity", "claimed"]).loc["filters cost more than weights"]
    return lost.join(claim.rename(columns={"effect": "filters lose more"}))
