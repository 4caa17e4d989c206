"""What the recorded studies measured of each claim: one function a notebook, or a part of one.

Each takes a study's table and returns one row a setting: `setting` in words, the `mean` and the
ends `low` and `high` of its 95 % interval, over seeds and paired by seed where two are compared.
"""

import pandas as pd
from scipy import stats

from prunelab.intervals import choose, mean_interval, paired_difference, paired_ratio
from prunelab.lab import l1_or_l2, playbook
from prunelab.studies import recovery_speed, structured
from prunelab.studies.shared import best_learning_rates

NUMBERS = ["mean", "low", "high"]
REWOUND = ("method", "rewind to start", "LR rewinding")


def lost_to_pruning(study: pd.DataFrame, sparsity: float = 0.3) -> pd.DataFrame:
    """Notebook 01: accuracy of dense networks minus that with `sparsity` of the weights gone."""
    magnitude = study[(study["criterion"] == "l1") & (study["scope"] == "global")]
    return _points(magnitude, ["network"], "accuracy", "sparsity", 0.0, sparsity)


def lost_at_first(study: pd.DataFrame) -> pd.DataFrame:
    """Notebook 01: the same with 10, 20, 30 and 40 % gone; the network is the `source`."""
    shares = (0.1, 0.2, 0.3, 0.4)
    lost = pd.concat(lost_to_pruning(study, share).assign(share=share) for share in shares)
    lost = lost.sort_values(["network", "share"], ignore_index=True)
    return _of_share(lost, lost["share"]).assign(source=lost["network"])


def rule_over(study: pd.DataFrame, rule: str, other: str) -> pd.DataFrame:
    """Notebook 01: accuracy after pruning by one rule (of `with_rules`) minus that by another."""
    rows = study[study["rule"].isin([rule, other]) & study["sparsity"].isin([0.3, 0.5, 0.7, 0.9])]
    gain = _points(rows, ["network", "sparsity"], "accuracy", "rule", rule, other)
    return _of_share(gain, gain["sparsity"])


def time_without_teacher(study: pd.DataFrame) -> pd.DataFrame:
    """Notebook 02: seconds to recover from labels, over those with a teacher, where all arrive."""
    rows, by = recovery_speed.tuned(study), ["network", "amount"]
    rows = rows[rows.groupby([*by, "pruned"])["reached"].transform("all")]
    return _named(paired_ratio(rows, by, "seconds", "loss", "labels", "distillation"), by)


def rewound(study: pd.DataFrame, value: str) -> pd.DataFrame:
    """Notebook 03: `value` of rewinding to the start minus that of LR rewinding."""
    return _points(_pruned(study, value), ["network", "sparsity"], value, *REWOUND)


def barrier_over(study: pd.DataFrame) -> pd.DataFrame:
    """Notebook 03: barrier of rewinding to the start minus that of LR rewinding, in points.

    No ratio, for a barrier that was measured may be zero, or less.
    """
    return _points(_pruned(study, "barrier"), ["network", "sparsity"], "barrier", *REWOUND)


def trained_longer(study: pd.DataFrame, original: pd.DataFrame) -> pd.DataFrame:
    """Notebook 03: the dense network trained on for as long, minus what it was before.

    Args:
        study: the table of `rewinding`.
        original: that of `trajectories`, where the dense networks come from; its seeds are
            compared.
    """
    at_best = original["learning_rate"] == original["network"].map(best_learning_rates(original))
    before = original[at_best & (original["split"] == "test")]
    before = before.assign(method="before", test_accuracy=before["accuracy"])
    dense = study[(study["density"] == 1) & study["seed"].isin(before["seed"])]
    both, by = pd.concat([before, dense]), ["network"]
    rows = [
        _points(both, by, "test_accuracy", "method", way, "before").assign(way=way)
        for way in dense["method"].unique()
    ]
    rows = pd.concat(rows, ignore_index=True)
    return rows.assign(setting=rows["network"] + ", " + rows["way"])


def best_rate_over_tenth(study: pd.DataFrame) -> pd.DataFrame:
    """Notebook 04: accuracy at the chosen rate of a cosine minus that at a tenth of the dense."""
    cosine, by = study[study["schedule"] == "cosine"], ["network", "sparsity", "steps"]
    best = cosine.merge(_best_rates(cosine, by))
    tenth = cosine[cosine["rate"] == 0.1]
    both = pd.concat([best.assign(at="best"), tenth.assign(at="tenth")])
    return _points(both, by, "test_accuracy", "at", "best", "tenth")


def speed_of_cut(study: pd.DataFrame) -> pd.DataFrame:
    """Notebook 05: time before over time after the cut, a geometric mean over networks."""
    ours = study[study["tool"] == "prunelab"]
    times = ours.melt(["model", "seed"], ["latency_before", "latency_after"], "moment", "latency")
    networks = times.groupby(["model", "moment"])["latency"].agg(stats.gmean).reset_index()
    networks = networks.rename(columns={"model": "seed"})  # what is sampled here is the network
    networks["networks"] = f"{ours['model'].nunique()} networks of torchvision"
    two = ("moment", "latency_before", "latency_after")
    return _named(paired_ratio(networks, ["networks"], "latency", *two), ["networks"])


def zeros_after_a_step(study: pd.DataFrame) -> pd.DataFrame:
    """Notebook 06: sparsity in percent, one step after zeros were made permanent."""
    early = study[study["order"] == "permanent, then fine-tune"]
    return _shares(early[early["steps"] == 1], ["network"], "sparsity")


def steps_over_one_shot(study: pd.DataFrame) -> pd.DataFrame:
    """Notebook 08: five steps minus one-shot, on one budget, each at its chosen rate."""
    rows, by = study[study["budgets"] == 1], ["network", "sparsity"]
    rows = rows.merge(_best_rates(rows, [*by, "method"]))
    return _points(rows, by, "test_accuracy", "method", "five steps", "one-shot")


def recalibrated(study: pd.DataFrame, steps: int) -> pd.DataFrame:
    """Notebook 09: BatchNorm recalibrated after `steps` of training minus left as they were."""
    rows = study[study["steps"] == steps]
    two = ("statistics", "recalibrated now", "stale at the start")
    return _points(rows, ["network", "pruned", "amount"], "accuracy", *two)


def l1_over_l2(study: pd.DataFrame, steps: int) -> pd.DataFrame:
    """Notebook 10: an L1 penalty minus an L2 penalty, after `steps` of retraining with it."""
    rows = l1_or_l2.compared(study[(study["sparsity"] > 0) & study["steps"].isin([0, steps])])
    rows = rows[rows["steps"] == steps]
    return _points(rows, ["network", "sparsity"], "test_accuracy", "method", "L1", "L2")


def weights_over_filters(study: pd.DataFrame) -> pd.DataFrame:
    """Notebook 12: weights minus filters at equal parameters, before retraining."""
    before = study[study["method"] == "before"]
    two = ("pruned", structured.EQUAL_PARAMETERS, structured.FILTERS)
    return _points(before, ["network", "ratio"], "test_accuracy", *two)


def lost_to_dense_as_long(study: pd.DataFrame) -> pd.DataFrame:
    """Notebook 13: dense trained as long minus a cosine, where 90 % of the weights or more go."""
    points = playbook.against_dense(playbook.comparisons(study))
    rows = points[(points["method"] == "cosine") & (points["budget"] == 1)]
    rows = rows[rows["pruned"].str.startswith("weights") & (rows["density"] <= 0.1)]
    lost = {"mean": -rows["mean"], "low": -rows["high"], "high": -rows["low"]}
    return _named(rows.assign(**lost), playbook.CELL[:3])


def careful_tuning(study: pd.DataFrame) -> pd.DataFrame:
    """Notebook 13: a cosine from its chosen rate minus the last rate, half of the weights cut."""
    half = study[(study["pruned"] == "filters") & (study["density"] == 0.5)]
    return lead(half, "cosine", "filters", over="last rate")


def lead(study: pd.DataFrame, way: str, pruned: str, over: str = "cosine") -> pd.DataFrame:
    """Notebook 13: a way back minus another one with the same budget, where both were tried."""
    rows = study[(study["role"] == "comparison") & study["method"].isin([way, over])]
    rows = rows[rows["pruned"].str.startswith(pruned)]
    both = rows.groupby([*playbook.CELL, "seed"])["method"].transform("nunique") == 2
    return _points(rows[both], playbook.CELL, "test_accuracy", "method", way, over)


def rewound_at_own_rate(study: pd.DataFrame) -> pd.DataFrame:
    """Notebook 13: weights rewound to early, with a rate chosen for it, minus a cosine."""
    both = pd.concat([study, playbook.recovery().query("method == 'cosine'")])
    return lead(both, "rewinding to early", "weights")


def speed_without_filters(study: pd.DataFrame) -> pd.DataFrame:
    """Notebook 12: time of the dense network over that of the one without filters."""
    by = ["network", "ratio", "batch"]
    return _named(paired_ratio(study, by, "median", "variant", "dense", structured.FILTERS), by)


def ticket(runs: pd.DataFrame, quantity: str, one: str, other: str) -> pd.DataFrame:
    """Notebook 11: how many times sooner `one` stops, or its lead in points of test accuracy."""
    runs = runs.assign(all="")
    if quantity == "early stop":
        return paired_ratio(runs, ["all"], "iteration", "run", other, one)
    return _points(runs, ["all"], "test_accuracy", "run", one, other)


def _best_rates(rows: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """The rate that is best on those networks that were given all of them."""
    tried = rows.groupby([*by, "seed"])["rate"].transform("nunique")
    return choose(rows[tried == rows.groupby(by)["rate"].transform("nunique")], by, "rate")


def _pruned(study: pd.DataFrame, value: str) -> pd.DataFrame:
    rows = study[(study["density"] < 1) & study[value].notna()]
    return rows.assign(sparsity=(1 - rows["density"]).round(6))


def _points(table: pd.DataFrame, by: list[str], value: str, *two) -> pd.DataFrame:
    effects = paired_difference(table, by, value, *two)
    return _named(effects.assign(**100 * effects[NUMBERS]), by)


def _shares(table: pd.DataFrame, by: list[str], value: str) -> pd.DataFrame:
    effects = mean_interval(table, by, value)
    return _named(effects.assign(**100 * effects[NUMBERS]), by)


def _of_share(effects: pd.DataFrame, share: pd.Series) -> pd.DataFrame:
    return effects.assign(setting=effects["network"] + share.map(", {:.0%} pruned".format))


def _named(effects: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    settings = [", ".join(f"{value}" for value in row) for row in effects[by].to_numpy()]
    return effects.assign(setting=settings)
