"""Claims beside what the recorded studies say: the guide's, and those of lottery tickets (11).

Every number and every verdict is computed from `data/results`. A claim is about one number. Its
95 % interval decides: within the smallest effect that matters of the bound, there is no difference
that matters; else on the claimed side of the bound the claim holds, on the other side it does not
hold; and where the interval includes the bound it cannot be told. `data/PROTOCOL.md` says more.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple
from zlib import crc32

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler
from scipy import stats

from prunelab.data import DATA_DIR
from prunelab.intervals import written
from prunelab.lab import effects
from prunelab.lab.playbook import recovery
from prunelab.lab.protocol import POINTS, TIMES
from prunelab.lab.results import with_more


class Claim(NamedTuple):
    """A claim about a number: where it is treated, in words, and what would make it true."""

    notebook: str
    words: str
    quantity: str
    side: str
    """Of the bound, on which the number is claimed to lie: "above" or "below"."""
    bound: float
    study: str
    """A study's name, or "recovery" for all of those that recover."""
    measure: Callable[[pd.DataFrame], pd.DataFrame]
    """From the study's table to one effect a setting."""
    matters: float | None = None
    """The smallest effect that matters, fixed before: from the bound, in the number's unit; or a
    factor (above 1) where the number is a ratio. None where the bound itself is that effect."""

    @property
    def is_ratio(self) -> bool:
        return self.matters is not None and self.matters > 1


# fmt: off
CLAIMS = (
    Claim("01", "30 % of the weights cost next to nothing", "points lost", "below", 1.0,
          "one_shot", effects.lost_to_pruning),
    Claim("02", "a teacher makes recovery twice as fast", "time without / with", "above", 2.0,
          "recovery_speed", effects.time_without_teacher, TIMES),
    Claim("03", "rewinding recovers best", "points over LR rewinding", "above", 0.0,
          "rewinding", partial(effects.rewound, value="test_accuracy"), POINTS),
    Claim("03", "rewinding is the most stable", "barrier over LR rewinding, points", "below", 0.0,
          "rewinding", effects.barrier_over, POINTS),
    Claim("04", "a tenth of the rate is right", "points lost to the best rate", "below", 0.2,
          "learning_rates", effects.best_rate_over_tenth),
    Claim("05", "a cut network is faster at once", "time before / after", "above", 1.0,
          "zoo", effects.speed_of_cut, TIMES),
    Claim("06", "permanent zeros outlast training", "sparsity after one step, %", "above", 80.0,
          "permanence", effects.zeros_after_a_step),
    Claim("08", "five steps beat one", "points over one-shot, equal cost", "above", 0.0,
          "gradual", effects.steps_over_one_shot, POINTS),
    Claim("09", "recalibrate after pruning", "points gained, untrained", "above", 0.0,
          "bn_recalibration", partial(effects.recalibrated, steps=0), POINTS),
    Claim("09", "recalibrate after pruning", "points gained, fine-tuned", "above", 0.2,
          "bn_recalibration", partial(effects.recalibrated, steps=860)),
    Claim("10", "an L1 penalty is better", "points over L2, not retrained", "above", 0.0,
          "regularization", partial(effects.l1_over_l2, steps=0), POINTS),
    Claim("10", "an L1 penalty is better", "points over L2, 1 epoch retrained", "above", 0.0,
          "regularization", partial(effects.l1_over_l2, steps=430), POINTS),
    Claim("10", "an L1 penalty is better", "points over L2, 5 epochs retrained", "above", 0.0,
          "regularization", partial(effects.l1_over_l2, steps=2150), POINTS),
    Claim("12", "filters cost more than weights", "points more, not retrained", "above", 0.0,
          "structured", effects.weights_over_filters, POINTS),
    Claim("12", "filters make it faster at once", "time dense / cut", "above", 1.0,
          "structured_cost", effects.speed_without_filters, TIMES),
    Claim("13", "90 % sparsity is recoverable", "points lost", "below", 1.0,
          "recovery", effects.lost_to_dense_as_long),
    Claim("13", "half the filters need careful tuning", "points over the last rate", "above", 1.0,
          "recovery", effects.careful_tuning),
    Claim("13", "weights want rewinding", "points over a cosine", "above", 0.0, "recovery",
          partial(effects.lead, way="rewinding to early", pruned="weights"), POINTS),
    Claim("13", "weights want rewinding", "points over LR rewinding", "above", 0.0, "recovery",
          partial(effects.lead, way="rewinding to early", over="LR rewinding", pruned="weights"),
          POINTS),
    Claim("13", "weights want rewinding", "points over a cosine, own rate", "above", 0.0,
          "recovery_rates", effects.rewound_at_own_rate, POINTS),
    Claim("13", "filters want a teacher", "points over a cosine", "above", 0.0, "recovery",
          partial(effects.lead, way="distillation", pruned="filters"), POINTS),
    Claim("13", "pruning bit by bit costs less", "points over a cosine", "above", 0.0, "recovery",
          partial(effects.lead, way="gradual", pruned="weights"), POINTS),
)
# fmt: on


def claims(notebook: str | None = None) -> pd.DataFrame:
    """One row a claim and setting: what was measured, its interval, and the verdict.

    Args:
        notebook: only the claims treated there, such as "08"; all of them if None.

    Returns:
        The columns `notebook`, `claim`, `setting`, `quantity`, `claimed`, `mean`, `low`, `high`,
        `n` (networks), `p` (two-sided, of a number at the bound) and `verdict`.

    Raises:
        ValueError: a notebook without claims.
        FileNotFoundError: a study that is not recorded.
    """
    wanted = [claim for claim in CLAIMS if notebook in (None, claim.notebook)]
    if not wanted:
        known = sorted({claim.notebook for claim in CLAIMS})
        raise ValueError(f"notebook={notebook!r} has no claims; choose one of {known}")
    return measured(wanted)


def measured(wanted: Sequence[Claim]) -> pd.DataFrame:
    """The rows of some claims, as `claims` returns them."""
    rows = [
        {
            "notebook": claim.notebook,
            "claim": claim.words,
            "setting": effect.setting,
            "quantity": claim.quantity,
            "claimed": f"{claim.side} {claim.bound:g}",
            "mean": effect.mean,
            "low": effect.low,
            "high": effect.high,
            "n": effect.n,
            "p": p_value(effect, claim.bound, claim.is_ratio),
            "verdict": verdict(effect.low, effect.high, claim.side, claim.bound, claim.matters),
        }
        for claim in wanted
        for effect in claim.measure(_table(claim.study)).itertuples()
    ]
    return pd.DataFrame(rows)


def _table(study: str) -> pd.DataFrame:
    return recovery(more=True) if study == "recovery" else with_more(study)


def p_value(effect, bound: float, is_ratio: bool) -> float:
    """How likely so extreme a mean is, or a more extreme one, if the number were the bound.

    Args:
        effect: `mean`, `low`, `high` of a 95 % t-interval over `n` values.
        bound: of the claim.
        is_ratio: whether the interval was made of logarithms.
    """
    scale = np.log if is_ratio else np.asarray
    mean, high, at = (scale(value) for value in (effect.mean, effect.high, bound))
    error = (high - mean) / stats.t.ppf(0.975, effect.n - 1)
    return float(2 * stats.t.sf(abs(mean - at) / error, effect.n - 1))


def counted(table: pd.DataFrame) -> pd.Series:
    """How far many verdicts can be trusted together.

    Of many intervals that hold nothing, one in twenty excludes the bound by chance. Holm's
    procedure keeps those verdicts that would all be right together, with a probability of 95 %.

    Args:
        table: what `claims` returns.

    Returns:
        `verdicts`: how many there are; `decided`: how many say "holds" or "does not hold";
        `expected false`: how many intervals would exclude their bound if none did in truth;
        `after Holm`: how many decided ones Holm's procedure keeps.

    Source: Holm (1979), *A simple sequentially rejective multiple test procedure*.
    """
    ordered = table.sort_values("p")
    steps = ordered["p"] > 0.05 / np.arange(len(table), 0, -1)
    kept = ordered[~steps.cummax()]
    decided = ["holds", "does not hold"]
    return pd.Series(
        {
            "verdicts": len(table),
            "decided": int(table["verdict"].isin(decided).sum()),
            "expected false": round(0.05 * len(table), 1),
            "after Holm": int(kept["verdict"].isin(decided).sum()),
        },
        dtype=object,
    )


def verdicts(notebook: str) -> pd.DataFrame:
    """The claims of one notebook as it prints them: each setting's effect and verdict.

    Args:
        notebook: where the claims are treated, such as "08".

    Returns:
        The columns `effect` (mean and 95 % interval as a text) and `verdict`; the index says of
        what: `claim`, `quantity`, `claimed` and `setting`.

    Raises:
        ValueError: a notebook without claims.
    """
    return effect_and_verdict(claims(notebook))


def effect_and_verdict(table: pd.DataFrame) -> pd.DataFrame:
    """What `claims` returns, as a notebook prints it."""
    effect = written(table, unit="", form=".2f")
    index = ["claim", "quantity", "claimed", "setting"]
    return table.assign(effect=effect).set_index(index)[["effect", "verdict"]]


SAID = {
    "holds": "rgba(0, 158, 115, 0.25)",
    "does not hold": "rgba(213, 94, 0, 0.25)",
    "no difference that matters": "rgba(0, 114, 178, 0.2)",
    "cannot be told": "rgba(128, 128, 128, 0.15)",
}
"""The color behind each verdict, pale enough for a light page and for a dark one."""
UNBROKEN = "\N{NO-BREAK SPACE}"
"""In headings, as JupyterLab shows no styles of a notebook that has not run here yet."""


@dataclass(frozen=True)
class Painted:
    """A table for a page, and as plain text for where there is none."""

    page: str
    text: str

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        return {"text/html": self.page, "text/plain": self.text}


def colored(table: pd.DataFrame) -> Painted:
    """A table with a color behind each verdict: a look at it says how many of which there are.

    Args:
        table: with the column `verdict`, such as `verdicts` returns.
    """
    paint = {verdict: f"background-color: {color}" for verdict, color in SAID.items()}
    numbers = list(table.select_dtypes("number"))
    in_one_line = f"td, th.col_heading, th.level{table.index.nlevels - 1}"  # others may wrap
    style = table.style.format("{:g}", subset=numbers).map(paint.get, subset=["verdict"])
    return _painted(style, {in_one_line: "white-space: nowrap"})


def counts(table: pd.DataFrame) -> Painted:
    """In how many settings each verdict was found: a row a claim, each headed by its notebook.

    Args:
        table: what `claims` returns.
    """
    claim = (table["notebook"] + " · " + table["claim"]).rename("claim")
    found = pd.crosstab(claim, table["verdict"]).reindex(columns=list(SAID), fill_value=0)
    style = found.style.format_index(lambda words: words.replace(" ", UNBROKEN), axis="columns")
    return _painted(style, {"th.row_heading": "font-weight: normal; text-align: left"})


def _painted(style: Styler, looks: dict[str, str]) -> Painted:
    own = f"{crc32(style.data.to_csv().encode()):08x}"  # so that two tables of a page differ
    style.cell_ids = False  # but for cells with a color: half of a long table's bytes are names
    style.set_uuid(own).set_table_styles(
        [{"selector": where, "props": props} for where, props in looks.items()]
    )
    return Painted(style.to_html(), style.data.to_string())


def verdict(low: float, high: float, side: str, bound: float, matters: float | None = None) -> str:
    """What an interval says of the claim that a number lies on one side of a bound.

    Args:
        low, high: of the interval.
        side: "above" or "below".
        bound: of the claim.
        matters: as in `Claim`.
    """
    if not low < high:
        return "cannot be told"
    if matters is not None:
        is_ratio = matters > 1
        nearest = bound / matters if is_ratio else bound - matters
        farthest = bound * matters if is_ratio else bound + matters
        if nearest <= low and high <= farthest:
            return "no difference that matters"
    if low <= bound <= high:
        return "cannot be told"
    return "holds" if (low > bound) == (side == "above") else "does not hold"


def ticket_claims(study: pd.DataFrame) -> pd.DataFrame:
    """What Frankle & Carbin (2019) say of LeNet-300-100 on MNIST, beside our own trials.

    The claims are those of `data/published/frankle2019_lenet300.csv`. Two runs of a trial are
    compared at their early stops. Of the iterations it is the ratio (the second's to the first's,
    so 2 is twice as early; a geometric mean), of test accuracy the difference in points.

    Args:
        study: the table of `lottery_tickets`.

    Returns:
        The columns `claim`, `quantity` ("early stop" or "test accuracy"), `published`, `mean`,
        `low`, `high`, and `agrees`: "yes" where the 95 % interval lies on the claimed side of no
        effect, "no" where it lies on the other, else "cannot be told".
    """
    runs = study[(study["moment"] == "early stop") & (study["replicate"] == 0)]
    runs = runs.assign(run=runs["kind"] + runs["round"].astype(str))
    said = pd.read_csv(DATA_DIR / "published" / "frankle2019_lenet300.csv")
    rows = []
    for claim in said.itertuples():
        two = (f"{claim.kind}{claim.round}", f"{claim.against}{claim.against_round}")
        (effect,) = effects.ticket(runs, claim.quantity, *two).itertuples()
        side, no_effect = "above" if claim.above else "below", NO_EFFECT[claim.quantity]
        row = {"claim": claim.claim, "quantity": claim.quantity, "published": claim.published}
        row |= {"mean": effect.mean, "low": effect.low, "high": effect.high}
        rows.append(row | {"agrees": AGREES[verdict(effect.low, effect.high, side, no_effect)]})
    return pd.DataFrame(rows)


AGREES = {"holds": "yes", "does not hold": "no", "cannot be told": "cannot be told"}
NO_EFFECT = {"early stop": 1.0, "test accuracy": 0.0}
