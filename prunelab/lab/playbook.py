"""What the studies of recovery say together: which way back is best where, and how sure that is."""

from collections.abc import Iterable

import pandas as pd

from prunelab.intervals import choose, mean_interval
from prunelab.lab.protocol import POINTS
from prunelab.lab.results import load_results, with_more

CELL = ["network", "pruned", "density", "budget"]
UNTRAINED = ("as pruned", "BN recalibration")
CONTROLS = ("scratch", "random mask")


STUDIES = (
    "recovery_lenet300",
    "recovery_lenet300_densities",
    "recovery_convnet",
    "recovery_resnet20_weights",
    "recovery_resnet20_filters",
)
"""What is recorded of the studies of recovery, all ways on the same five networks."""


def recovery(studies: Iterable[str] = STUDIES, more: bool = False) -> pd.DataFrame:
    """The studies of recovery in one table.

    Args:
        studies: which of them.
        more: whether to add the networks of `undecided`, on which only some ways were tried.

    Raises:
        FileNotFoundError: a study that is not recorded.
    """
    load = with_more if more else load_results
    return pd.concat(map(load, studies), ignore_index=True)


def comparisons(study: pd.DataFrame) -> pd.DataFrame:
    """The rows with test accuracies; what was not trained stands in every budget.

    Args:
        study: what `recovery` returns.
    """
    table = study[study["role"] == "comparison"]
    trained = table[~table["method"].isin(UNTRAINED)]
    untrained = table[table["method"].isin(UNTRAINED)].drop(columns="budget")
    return pd.concat([trained, untrained.merge(trained[CELL].drop_duplicates())])


def tried_fully(behind: pd.DataFrame) -> pd.Series:
    """Whether a cell was given nearly all ways, and not only those that need least tuning.

    Args:
        behind: what `behind_best` returns.
    """
    return behind.groupby(CELL)["method"].transform("size") > 6


def edges(study: pd.DataFrame) -> pd.DataFrame:
    """The learning rate that was chosen in every cell, and whether it lies at the `edge`.

    Args:
        study: what `recovery` returns.
    """
    tried = study[(study["role"] == "choice") & ~study["alpha"].isin([0.0, 0.9])]
    several = tried.groupby([*CELL, "method"])["rate"].transform("nunique") > 1
    return choose(tried[several], [*CELL, "method"], "rate")


def behind_best(table: pd.DataFrame) -> pd.DataFrame:
    """How far every way is behind the one that validation images prefer, cell by cell.

    Args:
        table: what `comparisons` returns.

    Returns:
        A row a cell and way: the columns of the cell, `method`, `best` (the name of the preferred
        way), points of test accuracy as `mean`, `low`, `high` (paired by seed; 0 for the best
        itself), `valid`: the mean distance on validation images, and `as_good`: the interval does
        not reach beyond the smallest effect that matters below zero.
    """
    table = table[table["pruned"] != "nothing"]
    candidates = table[~table["method"].isin([*UNTRAINED, *CONTROLS])]
    best = _preferred(candidates, CELL).rename(columns={"method": "best"})
    beside = best[[*CELL, "seed", "best", "valid_accuracy", "test_accuracy"]]
    cell_by_cell = pd.concat(rows for _, rows in table.groupby(CELL, sort=False))
    both = cell_by_cell.merge(beside, on=[*CELL, "seed"], suffixes=("", "_best"))
    for split in ("valid", "test"):
        both[split] = 100 * (both[f"{split}_accuracy"] - both[f"{split}_accuracy_best"])
    which = [*CELL, "method", "best"]
    behind = mean_interval(both, which, "test")[[*which, "mean", "low", "high"]]
    valid = both.groupby(which)["valid"].mean().reset_index()
    as_good = (behind["low"] >= -POINTS).to_numpy()
    return behind.merge(valid, on=which).assign(as_good=as_good)


def against_dense(table: pd.DataFrame) -> pd.DataFrame:
    """Every way minus the dense network that was trained for as many more steps.

    The dense network has several ways to train on; validation images prefer one, budget by budget.

    Args:
        table: what `comparisons` returns.

    Returns:
        A row a cell and way: the columns of the cell, `method`, and points of test accuracy as
        `mean`, `low`, `high`, paired by seed.
    """
    dense, pruned = table[table["pruned"] == "nothing"], table[table["pruned"] != "nothing"]
    dense = dense[~dense["method"].isin(UNTRAINED)]
    as_long = _preferred(dense, ["network", "budget"])
    beside = as_long[["network", "budget", "seed", "test_accuracy"]]
    both = pruned.merge(beside, on=["network", "budget", "seed"], suffixes=("", "_dense"))
    points = 100 * (both["test_accuracy"] - both["test_accuracy_dense"])
    return mean_interval(both.assign(points=points), [*CELL, "method"], "points")


def _preferred(rows: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Of every group, the rows of the method with the best mean validation accuracy."""
    means = rows.groupby([*by, "method"])["valid_accuracy"].mean().reset_index()
    best = means.loc[means.groupby(by)["valid_accuracy"].idxmax(), [*by, "method"]]
    return rows.merge(best)


def decisions(behind: pd.DataFrame, lost: pd.DataFrame) -> pd.DataFrame:
    """What to do, given what is pruned, how far, and how many steps there are.

    The way is the one with the least mean distance from the best on validation images, among those
    that were tried in every network that has the cell.

    Args:
        behind: what `behind_best` returns.
        lost: what `against_dense` returns.

    Returns:
        A row a `pruned`, `density` and `budget`: the way to `do`; in how many of `networks` it is
        `as_good` as the best; `worst`, its greatest distance from it, in points; `also`, a tuple
        of all other ways that are as good in every network; `least` and `most`: how many points
        it loses against the dense network trained as long, over the networks.
    """
    rows = []
    situation = CELL[1:]
    for here, cells in behind.groupby(situation, sort=False):
        ways = cells[~cells["method"].isin([*UNTRAINED, *CONTROLS])]
        networks = ways["network"].nunique()
        summary = ways.groupby("method").agg(
            valid=("valid", "mean"),
            worst=("mean", "min"),
            good=("as_good", "sum"),
            n=("mean", "size"),
        )
        everywhere = summary[summary["n"] == networks].sort_values("valid", ascending=False)
        do, also = everywhere.iloc[0], everywhere.iloc[1:]
        row = dict(zip(situation, here, strict=True)) | {"do": do.name, "networks": networks}
        row |= {"as_good": do["good"], "worst": do["worst"]}
        row["also"] = tuple(also.index[also["good"] == networks])
        of_it = lost[(lost[situation] == list(here)).all(axis=1) & (lost["method"] == do.name)]
        rows.append(row | {"least": -of_it["mean"].max(), "most": -of_it["mean"].min()})
    return pd.DataFrame(rows).astype({"as_good": int})


def worst_case(behind: pd.DataFrame) -> pd.DataFrame:
    """Of each way that was tried in all cells: its mean and its greatest distance from the best.

    Args:
        behind: what `behind_best` returns.

    Returns:
        The columns `method`, `mean`, `worst` (points) and `as_good` (in how many cells), the least
        bad way first.
    """
    everywhere = behind.groupby("method")["mean"].transform("size") == len(
        behind[CELL].drop_duplicates()
    )
    ways = behind[everywhere].groupby("method", sort=False)
    summary = ways.agg(mean=("mean", "mean"), worst=("mean", "min"), as_good=("as_good", "sum"))
    return summary.sort_values("worst", ascending=False).reset_index()


def agreement(behind: pd.DataFrame, over: str) -> pd.DataFrame:
    r"""Spearman's rank correlation of the ways between any two values of `over`.

    Args:
        behind: what `behind_best` returns.
        over: one of the columns of a cell, such as "network".

    Returns:
        A square table; 1 where two rank all ways alike. Ways are ranked by their mean distance
        from the best over the cells of each.
    """
    means = behind.pivot_table(index="method", columns=over, values="mean")
    return means.corr(method="spearman")


def held_out(behind: pd.DataFrame) -> pd.DataFrame:
    """Decide on all networks but one; see how far the decision is from the best on that one.

    Args:
        behind: what `behind_best` returns, of two networks or more.

    Returns:
        A row a network, `pruned` and budget: the way with the least mean distance from the best on
        the others' validation images, and its mean and worst distance on this one, in points of
        test accuracy.
    """
    rows = []
    for (network, pruned, budget), cells in behind.groupby(["network", "pruned", "budget"]):
        others = behind[(behind["network"] != network) & (behind["pruned"] == pruned)]
        others = others[(others["budget"] == budget) & others["method"].isin(cells["method"])]
        others = others[~others["method"].isin([*UNTRAINED, *CONTROLS])]
        if others.empty:
            continue
        decided = others.groupby("method")["valid"].mean().idxmax()
        here = cells.loc[cells["method"] == decided, "mean"]
        row = {"network": network, "pruned": pruned, "budget": budget, "decided": decided}
        rows.append(row | {"mean": here.mean(), "worst": here.min()})
    return pd.DataFrame(rows)
