"""What the study `mnist1d` says: does a ticket's mask know which inputs are neighbors (14)?"""

from collections.abc import Iterable

import pandas as pd

from prunelab.data import Split
from prunelab.intervals import paired_ratio, written
from prunelab.lab.claims import verdict
from prunelab.lab.protocol import TIMES
from prunelab.lab.tickets import compared
from prunelab.studies.mnist1d import MATTERS, ORDERS

CONTROL = "random mask, as drawn"
CLAIMS = {
    "the mask helps new weights": ("reinit, as drawn", CONTROL),
    "it beats the dense network": ("reinit, as drawn", "dense, as drawn"),
    "it helps on mirrored curves": ("reinit, mirrored", CONTROL),
    "shuffling costs more": ("reinit, mirrored", "reinit, shuffled"),
}
"""What Greydanus & Kobak say of new weights under a ticket's mask: a difference above zero."""
NEIGHBORS = "it keeps neighbors"


def examples(split: Split, digits: Iterable[int], count: int = 3) -> pd.DataFrame:
    """The first curves of some digits, a row a point, as `figures.intervals_against` draws them.

    Args:
        split: of `mnist_1d`.
        digits: which.
        count: curves of each.

    Returns:
        The columns `digit` (a name), `curve`, `point` and `height`.
    """
    parts = []
    for digit in digits:
        for i, curve in enumerate(split.x[split.y == digit][:count].flatten(1).tolist()):
            part = pd.DataFrame({"point": range(len(curve)), "height": curve})
            parts.append(part.assign(digit=f"a {digit}", curve=f"example {i + 1}"))
    return pd.concat(parts, ignore_index=True)


def arms(study: pd.DataFrame) -> pd.DataFrame:
    """The compared runs with the columns `arm` and `points`; the dense ones at every density."""
    runs = study[study["role"] == "comparison"]
    runs = runs.assign(arm=runs["kind"] + ", " + runs["inputs"], points=100 * runs["test_accuracy"])
    pruned, dense = runs[runs["round"] > 0], runs[runs["round"] == 0]
    return pd.concat([pruned, *(dense.assign(density=kept) for kept in pruned["density"].unique())])


def leads_of_masks(study: pd.DataFrame) -> pd.DataFrame:
    """Points by which a ticket's mask is ahead of a random one, on each kind of inputs.

    Returns:
        What `compared` gives, with `source`: whether first or new weights are under the mask.
    """
    parts = []
    for kind, source in (("ticket", "first weights"), ("reinit", "new weights")):
        pairs = {inputs: (f"{kind}, {inputs}", CONTROL) for inputs in ORDERS}
        parts.append(compared(arms(study), "points", "arm", pairs).assign(source=source))
    table = pd.concat(parts)
    return table.sort_values("density", ascending=False, kind="stable", ignore_index=True)


def mask_claims(study: pd.DataFrame) -> pd.DataFrame:
    """The authors' claims about new weights under a ticket's mask, beside our networks.

    Returns:
        One row a claim and density: `claim`, `kept`, `effect` (a text), `verdict`, and `mean`,
        `low`, `high`: points of test accuracy, or how many times as many neighbors are kept.
    """
    runs = arms(study)
    points = compared(runs, "points", "arm", CLAIMS).assign(matters=MATTERS, bound=0.0)
    points["effect"] = written(points)
    two = ("arm", "ticket, as drawn", CONTROL)
    times = paired_ratio(runs, ["density"], "neighbors", *two)
    times = times.assign(name=NEIGHBORS, matters=TIMES, bound=1.0)
    times = times.sort_values("density", ascending=False)
    times["effect"] = written(times, "times", ".2f")
    table = pd.concat([points, times], ignore_index=True)
    table["verdict"] = [
        verdict(row.low, row.high, "above", row.bound, row.matters) for row in table.itertuples()
    ]
    table = table.assign(claim=table["name"], kept=table["density"].map("{:.1%}".format))
    return table[["claim", "kept", "effect", "verdict", "mean", "low", "high"]]
