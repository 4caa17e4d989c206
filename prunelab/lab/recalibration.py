"""Tables of BatchNorm recalibration: two networks' statistics, and the study (notebook 09)."""

import pandas as pd
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

STALE, AT_START, NOW = "stale at the start", "recalibrated at the start", "recalibrated now"


def channel_statistics(stale: nn.Module, recalibrated: nn.Module) -> pd.DataFrame:
    """What each BatchNorm layer keeps of each channel, in one network and in its twin.

    Args:
        stale: a network.
        recalibrated: one with the same layers.

    Returns:
        The columns `layer`, `what` ("mean" or "standard deviation"), `stale` and `recalibrated`:
        two rows a channel.
    """
    tables = []
    for name, old in stale.named_modules():
        if isinstance(old, _BatchNorm):
            new = recalibrated.get_submodule(name)
            for what, one, other in (
                ("mean", old.running_mean, new.running_mean),
                ("standard deviation", old.running_var.sqrt(), new.running_var.sqrt()),
            ):
                values = {"stale": one.tolist(), "recalibrated": other.tolist()}
                tables.append(pd.DataFrame({"layer": name, "what": what, **values}))
    return pd.concat(tables, ignore_index=True)


def with_damage(study: pd.DataFrame) -> pd.DataFrame:
    """The study with a column `damage`, such as "50 % of weights"."""
    pairs = zip(study["amount"], study["pruned"], strict=True)
    return study.assign(damage=[f"{amount:.0%} of {pruned}" for amount, pruned in pairs])


def came_back(study: pd.DataFrame) -> pd.DataFrame:
    """Before any training: the points that pruning took, and those that recalibration gives back.

    Args:
        study: the table of `bn_recalibration` with `damage`.

    Returns:
        By `damage`: `points lost` and `came back`, means over the networks, and `share, %`,
        the one of the other.
    """
    untrained = study[study["steps"].fillna(0) == 0]
    mean = untrained.pivot_table(index="damage", columns="statistics", values="accuracy")
    table = pd.DataFrame({"points lost": mean["dense"], "came back": mean[NOW]})
    table = 100 * table.sub(mean[STALE], axis=0)
    return table.assign(**{"share, %": 100 * table["came back"] / table["points lost"]})


def gains(study: pd.DataFrame) -> pd.DataFrame:
    """Points of accuracy over the network that nobody recalibrates, after each number of steps.

    Args:
        study: the table of `bn_recalibration` with `damage`.

    Returns:
        The columns `damage`, `seed`, `steps`, `when` (at the start, or now) and `points`.
    """
    steps = study[study["steps"].notna()]
    by = ["damage", "seed", "steps"]
    wide = steps.pivot_table(index=by, columns="statistics", values="accuracy")
    points = 100 * wide[[AT_START, NOW]].sub(wide[STALE], axis=0)
    return points.melt(ignore_index=False, var_name="when", value_name="points").reset_index()


def fewer_batches(study: pd.DataFrame) -> pd.DataFrame:
    """Points of accuracy after few batches, less those after the most.

    Args:
        study: the table of `bn_recalibration` with `damage`.

    Returns:
        The columns `damage`, `seed`, `batches` and `points`.
    """
    rows = study[study["statistics"] == "batches"]
    wide = 100 * rows.pivot_table(index=["damage", "seed"], columns="batches", values="accuracy")
    points = wide.sub(wide[wide.columns.max()], axis=0)
    return points.melt(ignore_index=False, value_name="points").reset_index()
