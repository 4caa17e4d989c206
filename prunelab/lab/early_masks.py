"""What the studies `before_training` say of masks found before training, as tables (16)."""

from typing import NamedTuple
from zlib import crc32

import pandas as pd

from prunelab.intervals import choose, paired_difference, written
from prunelab.lab.claims import SAID, Painted, p_value, verdict
from prunelab.lab.protocol import POINTS

EARLY = ("SNIP", "GraSP", "SynFlow")
AFTER, HALF = "magnitude after training", "magnitude after half of it"
RANDOM, ERK = "random, layerwise", "random, ERK"
GRADUAL, MOVING = "gradual pruning", ("SET", "RigL")
CHECKS = {
    "shuffled within layers": "shuffling a mask costs accuracy",
    "new weights": "new weights cost accuracy",
    "scores inverted": "inverting the scores costs accuracy",
}


COLUMNS = ["notebook", "claim", "setting", "quantity", "claimed", "mean", "low", "high", "n"]
COLUMNS += ["p", "verdict", "mask", "kept", "network", "effect"]


class Claim(NamedTuple):
    """A claim about the points between two arms, a method and what was changed of it each."""

    words: str
    mask: str
    """What the row is named by."""
    better: tuple[str, str]
    worse: tuple[str, str]
    side: str = "above"
    bound: float = 0.0
    matters: float | None = POINTS


def _plain(words: str, mask: str, better: str, worse: str, *rest) -> Claim:
    return Claim(words, mask, (better, "none"), (worse, "none"), *rest)


CLAIMS = (
    *(_plain("scores beat a random mask", m, m, RANDOM) for m in EARLY),
    *(_plain("scores beat lots drawn by ERK", m, m, ERK) for m in EARLY),
    *(_plain("magnitude after training beats scores", m, AFTER, m) for m in EARLY),
    *(_plain("magnitude after half of it beats scores", m, HALF, m) for m in EARLY),
    *(
        Claim(words, m, (m, "none"), (m, check))
        for check, words in CHECKS.items()
        for m in (*EARLY, AFTER)
    ),
    *(_plain("a moving mask is better than a fixed one", m, m, ERK) for m in MOVING),
    _plain("gradients choose better than chance", "RigL over SET", "RigL", "SET"),
    *(_plain("gradual pruning beats scores", m, GRADUAL, m) for m in EARLY),
    *(_plain("gradual pruning beats a moving mask", m, GRADUAL, m) for m in MOVING),
    _plain(
        "RigL loses little to magnitude after training",
        *("RigL", AFTER, "RigL", "below", POINTS, None),
    ),
)
"""Fixed before the study was recorded, as `data/PROTOCOL.md` asks."""


def compared(study: pd.DataFrame) -> pd.DataFrame:
    """The comparisons of the study, with test accuracy in `points` and densities in words.

    Args:
        study: the table of `before_training`.

    Returns:
        Its rows without the choices of rates, sparsest last; `kept` is a text such as "5 %".
    """
    rows = study[study["role"] == "comparison"]
    rows = rows.sort_values("density", ascending=False, kind="stable")
    kept = [f"{100 * density:g} %" for density in rows["density"]]
    return rows.assign(points=100 * rows["test_accuracy"], kept=kept)


def lead(study: pd.DataFrame, first: tuple[str, str], second: tuple[str, str]) -> pd.DataFrame:
    """Points by which the first is ahead of the second, a method and a check each, by density.

    Args:
        study: the table of `before_training`.
        first, second: such as `("SNIP", "none")`.

    Returns:
        What `paired_difference` gives, by `density` and `kept`, the densest first.
    """
    rows = compared(study)
    arm = rows["method"] + "|" + rows["check"]
    two = ("|".join(first), "|".join(second))
    return paired_difference(rows.assign(arm=arm), ["density", "kept"], "points", "arm", *two)[::-1]


def lost_to(study: pd.DataFrame, checks: tuple[str, ...]) -> pd.DataFrame:
    """Points that each method loses where one thing has been changed, for `differences`.

    Args:
        study: the table of `before_training`.
        checks: names in the column `check`; each is a `source`.
    """
    parts = [
        lead(study, (method, "none"), (method, check)).assign(mask=method, source=check)
        for method in (*EARLY, AFTER)
        for check in checks
    ]
    table = pd.concat(parts, ignore_index=True)
    return table.assign(setting=table["mask"] + ", " + table["kept"])


def early_claims(study: pd.DataFrame) -> pd.DataFrame:
    """What papers say of masks found before training, at each density, and the verdicts.

    Args:
        study: the table of `before_training`, or of one of those that share its columns. Claims
            about arms that it has left out are left out.

    Returns:
        A row a claim, mask and density, with the columns of `lab.claims.claims` (points by which
        what is claimed to be better is ahead), and `mask`, `kept`, `network`, and the `effect` in
        words.
    """
    parts = []
    there = set(zip(study["method"], study["check"], strict=True))
    for claim in (claim for claim in CLAIMS if {claim.better, claim.worse} <= there):
        rows = lead(study, claim.better, claim.worse).assign(claim=claim.words, mask=claim.mask)
        rows["claimed"] = f"{claim.side} {claim.bound:g}"
        about = (claim.side, claim.bound, claim.matters)
        rows["verdict"] = [verdict(row.low, row.high, *about) for row in rows.itertuples()]
        rows["p"] = [p_value(row, claim.bound, is_ratio=False) for row in rows.itertuples()]
        parts.append(rows)
    table = pd.concat(parts, ignore_index=True)
    (network,) = study["network"].unique()
    setting = f"{network}, " + table["mask"] + ", " + table["kept"]
    words = {"notebook": "16", "quantity": "points", "setting": setting, "network": network}
    return table.assign(**words, effect=written(table))[COLUMNS]


def verdict_grid(claims: pd.DataFrame, column: str = "kept", arm: str = "mask") -> Painted:
    """The verdicts beside their effects: a row a claim and arm.

    Args:
        claims: what `early_claims` or `channel_claims` returns, of one study or of several.
        column: "kept", a column a density with mean effects; or "network", with intervals.
        arm: the column that names a row within its claim.
    """
    claims = claims.assign(short=claims["mean"].map("{:+.2f}".format))
    effect = claims["short" if column == "kept" else "effect"].str.removesuffix(" points")
    said, rows = effect + " " + claims["verdict"], ["claim", arm]
    words, verdicts = (
        claims.assign(value=values)
        .pivot_table("value", rows, column, aggfunc="first", sort=False)
        .reindex(columns=claims[column].unique())
        for values in (said, claims["verdict"])
    )
    painted = {said: f"background-color: {color}" for said, color in SAID.items()}
    colors = verdicts.map(lambda each: painted.get(each, ""))
    mark = crc32(words.to_string().encode())  # colors are those of one table on a page
    style = words.fillna("").style.apply(lambda _: colors, axis=None).set_uuid(f"verdicts-{mark}")
    style.cell_ids = False  # half of a long table's bytes are names
    looks = {"td": "text-align: left", "th.row_heading": "text-align: left"}
    looks["th.col_heading"] = "white-space: nowrap"
    style.set_table_styles([{"selector": s, "props": p} for s, p in looks.items()])
    return Painted(style.to_html(), words.fillna("").to_string())


def rates_at_an_edge(study: pd.DataFrame) -> pd.DataFrame:
    """Chosen learning rates that lie at the end of their grid, so that a better may lie beyond.

    Args:
        study: the table of `before_training`.

    Returns:
        What `choose` gives of those, by method and density; no row where all lie inside.
    """
    choices = study[study["role"] == "choice"]
    chosen = choose(choices, ["method", "density"], "rate")
    return chosen[chosen["edge"] != ""]
