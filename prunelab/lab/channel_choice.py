"""What the studies `channel_criteria` say of how channels should be chosen, as tables (12).

The comparisons are those after the retraining, network by network, in points of test accuracy.
"""

from collections.abc import Iterator
from typing import NamedTuple

import pandas as pd

from prunelab.intervals import choose, paired_difference, written
from prunelab.lab.claims import p_value, verdict
from prunelab.lab.protocol import POINTS

NORMS = ("l1", "l2")
CHANCE, NEW_WEIGHTS = "random", "new weights"
SCOPES = ("uniform", "global")
CELL = ["network", "left", "criterion", "scope"]
SETTING = ["network", "left"]
COLUMNS = ["notebook", "against", "claim", "arm", *SETTING, "kept", "setting", "quantity"]
COLUMNS += ["claimed", "mean", "low", "high", "n", "p", "verdict", "effect", "parameters"]


class Claim(NamedTuple):
    """A claim that one criterion, in one scope, is some points ahead of another."""

    words: str
    better: tuple[str, str]
    """A criterion and a scope."""
    worse: tuple[str, str]

    @property
    def arm(self) -> str:
        """What the row is named by."""
        (criterion, scope), (other, other_scope) = self.better, self.worse
        if criterion == other:
            return f"{criterion}, {scope} over {other_scope}"
        if scope != other_scope:
            return f"{criterion}, {scope} over {other}, {other_scope}"
        return f"{criterion} over {other}, {scope}"


def _beats(words: str, criterion: str, other: str) -> Iterator[Claim]:
    return (Claim(words, (criterion, scope), (other, scope)) for scope in SCOPES)


CLAIMS: dict[str, tuple[Claim, ...]] = {
    "lots": (
        *(c for norm in NORMS for c in _beats("norms beat chance", norm, CHANCE)),
        *_beats("scales of BatchNorm beat chance", "bn_scale", CHANCE),
        *_beats("scores from gradients beat chance", "Taylor", CHANCE),
        *_beats("scores from gradients beat chance", "Fisher", CHANCE),
    ),
    "scores": (
        *_beats("Taylor beats norms", "Taylor", "l1"),
        *_beats("Fisher beats norms", "Fisher", "l1"),
        *_beats("Fisher beats Taylor", "Fisher", "Taylor"),
        *_beats("L2 is better than L1", "l2", "l1"),
    ),
    "one ranking": tuple(
        Claim("a global choice is better", (criterion, "global"), (criterion, "uniform"))
        for criterion in ("l1", "l2", "bn_scale", "Taylor", "Fisher", CHANCE)
    ),
    "relative": tuple(
        Claim(words, (f"{score}, relative", "global"), (other, scope))
        for score in ("Taylor", "Fisher")
        for words, other, scope in (
            ("scores divided by a layer's mean are better", score, "global"),
            ("a global choice is better", score, "uniform"),
            (f"{score} beats norms", "l1", "global"),
        )
    ),
    "new weights": tuple(
        Claim("kept weights beat new ones", (criterion, "uniform"), (NEW_WEIGHTS, "uniform"))
        for criterion in ("l1", CHANCE)
    ),
}
"""By what is compared. Fixed before a study was recorded, as `data/PROTOCOL.md` asks."""


def retrained(study: pd.DataFrame) -> pd.DataFrame:
    """The comparisons after retraining, with test accuracy in `points`.

    Args:
        study: the table of `channel_criteria`, or of several of those that share its columns.
    """
    rows = study[(study["role"] == "comparison") & (study["stage"] == "retrained")]
    return rows.assign(points=100 * rows["test_accuracy"])


def channel_claims(study: pd.DataFrame) -> pd.DataFrame:
    """What is said of criteria and scopes, in each network and at each share, and the verdicts.

    Args:
        study: as for `retrained`. Claims about criteria that a network has not are left out, and
            seeds that only one of two criteria has.

    Returns:
        A row a claim and setting, with the columns of `lab.claims.claims` (points by which what is
        claimed to be better is ahead), and `against` (a key of `CLAIMS`), `arm`, `network`, `left`
        (`kept` in words), the `effect` in words, and `parameters`: those of the better over those
        of the worse, 1 where both have as many.
    """
    rows = retrained(study)
    rows = rows.assign(arm=rows["criterion"] + "|" + rows["scope"])
    parts, order = [], rows[SETTING].drop_duplicates()
    for against, claim in ((name, claim) for name, of in CLAIMS.items() for claim in of):
        two = ["|".join(claim.better), "|".join(claim.worse)]
        both = rows[rows["arm"].isin(two)]
        both = both[both.groupby([*SETTING, "seed"])["arm"].transform("nunique") == 2]
        if both.empty:
            continue
        lead = paired_difference(both, SETTING, "points", "arm", *two)
        sizes = both.pivot_table("parameters", SETTING, "arm")
        lead = lead.merge((sizes[two[0]] / sizes[two[1]]).rename("parameters").reset_index())
        words = {"against": against, "claim": claim.words, "arm": claim.arm}
        parts.append(order.merge(lead, on=SETTING).assign(**words))
    table = pd.concat(parts, ignore_index=True)
    effects = list(table.itertuples())
    table["verdict"] = [verdict(row.low, row.high, "above", 0.0, POINTS) for row in effects]
    table["p"] = [p_value(row, 0.0, is_ratio=False) for row in effects]
    percent = table["left"].map(lambda left: f"{100 * left:g} %")
    words = {"notebook": "12", "quantity": "points", "claimed": "above 0"}
    words["setting"] = table["network"] + ", " + table["arm"] + ", " + percent
    words["kept"] = table["network"] + ", " + percent
    return table.assign(**words, effect=written(table))[COLUMNS]


def second_layer(rows: pd.DataFrame) -> pd.Series:
    """Units of the second hidden layer of each `lenet300`, from its `parameters` and `macs`.

    These two differ by the biases, one a unit, so that of a + b hidden units is known; and
    a · (784 + b) + 10 b is the number of multiplications.
    """
    hidden = rows["parameters"] - rows["macs"] - 10
    half = (784 - 10 + hidden) / 2
    return hidden - (half - (half**2 - rows["macs"] + 10 * hidden) ** 0.5)


def rates_at_an_edge(study: pd.DataFrame) -> pd.DataFrame:
    """Chosen learning rates that lie at the end of their grid; no row where all lie inside.

    Args:
        study: as for `retrained`.
    """
    chosen = choose(study[study["role"] == "choice"], CELL, "rate")
    return chosen[chosen["edge"] != ""]
