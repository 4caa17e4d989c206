"""What the studies of lottery tickets say, as tables that the figures can draw (11, 14)."""

import pandas as pd
from scipy.stats import binomtest

from prunelab.data import DATA_DIR
from prunelab.intervals import paired_difference
from prunelab.studies.iterative_instability import BARRIER, MATCHING


def compared(
    table: pd.DataFrame, value: str, between: str, pairs: dict[str, tuple[str, str]]
) -> pd.DataFrame:
    """Differences of several pairs of arms at every density, as `figures.differences` draws them.

    Args:
        table: one row a measurement, with the columns `seed` and `density`.
        value: the column to compare.
        between: the column that holds the arms.
        pairs: the two arms by the name of their difference: the first minus the second.

    Returns:
        What `paired_difference` gives, the highest density first, with `setting` for the density
        and the name of the difference.
    """
    effects = [
        paired_difference(table, ["density"], value, between, *two).assign(name=name)
        for name, two in pairs.items()
    ]
    effects = pd.concat(effects).sort_values("density", ascending=False, kind="stable")
    setting = effects["density"].map("{:.1%} kept, ".format) + effects["name"]
    return effects.assign(setting=setting).reset_index(drop=True)


def leads(study: pd.DataFrame, pairs: dict[str, tuple[str, str]]) -> pd.DataFrame:
    """Points of test accuracy by which one kind is ahead of another, run by run.

    Args:
        study: the table of `lottery_tickets`.
        pairs: the two kinds by the name of their comparison; the second may be "dense". At every
            density that both have, the lead of the first is taken.

    Returns:
        One row a trial: the columns `name`, `moment` ("early stop" or "end"), `round`, `density`,
        `seed` and `lead`.
    """
    runs = study[study["moment"].isin(["early stop", "end"]) & (study["replicate"] == 0)]
    trial = ["moment", "seed"]
    parts = []
    for name, (kind, over) in pairs.items():
        one = runs[(runs["kind"] == kind) & (runs["round"] > 0)]
        other = runs[runs["round"] == 0] if over == "dense" else runs[runs["kind"] == over]
        same = trial if over == "dense" else [*trial, "round"]
        both = one.merge(other[[*same, "test_accuracy"]], on=same, suffixes=("", "_other"))
        lead = 100 * (both["test_accuracy"] - both["test_accuracy_other"])
        parts.append(both.assign(name=name, lead=lead)[[*COLUMNS, "lead"]])
    return pd.concat(parts, ignore_index=True)


COLUMNS = ["name", "moment", "round", "density", "seed"]


def published_leads(kind: str, over: str) -> dict[str, dict[int, float]]:
    """The paper's leads in points, where it gives numbers, at its early stop: by round of pruning.

    Args:
        kind, over: as in `leads`.

    Source: Frankle & Carbin (2019), arXiv:1803.03635, in `data/published`; for MNIST.
    """
    said = pd.read_csv(DATA_DIR / "published" / "frankle2019_lenet300.csv")
    against = said["against"].where(said["against_round"] > 0, "dense")
    rows = said[(said["quantity"] == "test accuracy") & (said["kind"] == kind) & (against == over)]
    numbers = pd.to_numeric(rows.set_index("round")["published"], errors="coerce")
    return {"early stop": numbers.dropna().to_dict()}


def best_arms(table: pd.DataFrame, ways: dict[str, str]) -> pd.DataFrame:
    """The runs of the study `supermasks` in the variant of each way that validation prefers.

    Args:
        table: rows of the study, one moment of each run.
        ways: by experiment, the column whose values are the ways.

    Returns:
        The rows of the chosen variants, with the columns `way` and `all` (empty); the way with the
        lowest mean comes first.
    """
    runs = pd.concat(
        rows.assign(way=rows[ways[experiment]], all="")
        for experiment, rows in table.groupby("experiment")
        if experiment in ways
    )
    density = runs["density"].where(runs["experiment"] == "masks")  # a learned mask chooses its own
    variant = [runs["way"], runs["values"], density, runs["mask_learning_rate"]]
    means = runs.groupby(variant, dropna=False)["valid_accuracy"].transform("mean")
    runs = runs[means == means.groupby(runs["way"]).transform("max")]
    order = runs.groupby("way")["test_accuracy"].mean().sort_values().index
    return runs.set_index("way").loc[order].reset_index()


def rounds_and_at_once(rounds: pd.DataFrame, once: pd.DataFrame) -> pd.DataFrame:
    """Tickets pruned in rounds and at once, with what they lose to the dense network, in points.

    Args:
        rounds: the table of `iterative_instability`.
        once: that of `instability`.

    Returns:
        One row a ticket: the columns `mask`, `percent` (k as a share of the training), `seed`,
        `lost to dense` (to the copies of the dense network from the same iteration in the same
        study), `barrier`, and `round barrier` (NaN for those pruned at once).
    """
    same = once["network"].isin(rounds["network"]) & once["k"].isin(rounds["k"])
    once = once[same & once["kind"].isin(["dense", "ticket"])]
    parts = []
    for name, table in (("at once", once), ("in rounds", rounds)):
        dense = table[table["density"] == 1].set_index(["k", "seed"])["test_accuracy"]
        tickets = table[table["density"] < 1]
        of = dense.loc[pd.MultiIndex.from_frame(tickets[["k", "seed"]])].to_numpy()
        columns = {
            "mask": f"{name}, " + tickets["density"].map("{:.0%}".format),
            "percent": (100 * tickets["share"]).round(1),
            "seed": tickets["seed"],
            "lost to dense": 100 * (of - tickets["test_accuracy"]),
            "barrier": 100 * tickets["barrier"],
            "round barrier": 100 * tickets.get("round_barrier", float("nan")),
        }
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


def matching_and_connected(tickets: pd.DataFrame) -> pd.DataFrame:
    """How often there is no barrier to the round before, where a ticket matches and where not.

    Args:
        tickets: what `rounds_and_at_once` returns.

    Returns:
        A row for tickets that match the dense network, and one for those that do not, by the
        bounds of the study: how many there are (`pairs`), how many have no barrier to the round
        before (`no barrier`), and the ends of the exact 95 % interval of that share in percent, as
        if pairs of one network were independent.
    """
    pairs = tickets.dropna(subset="round barrier")
    matches = pairs["lost to dense"] <= 100 * MATCHING
    connected = pairs["round barrier"] <= 100 * BARRIER
    rows = []
    for name, group in (("matches", matches), ("does not match", ~matches)):
        pairs, free = int(group.sum()), int((group & connected).sum())
        ends = binomtest(free, pairs).proportion_ci() if pairs else (0.0, 1.0)
        rows.append([name, pairs, free, *(round(100 * end, 1) for end in ends)])
    return pd.DataFrame(rows, columns=["ticket", "pairs", "no barrier", "low", "high"])
