"""Claims beside what the recorded studies say: the guide's, and those of lottery tickets (11).

Every number and every verdict is computed from `data/results`. A claim is about one number; it
holds where the 95 % interval lies on the claimed side of a bound, does not hold where it lies on
the other side, and cannot be told where the interval includes the bound.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import pandas as pd

from prunelab.data import DATA_DIR
from prunelab.intervals import written
from prunelab.lab import effects
from prunelab.lab.results import load_results
from prunelab.studies.structured import EQUAL_PARAMETERS, FILTERS


class Claim(NamedTuple):
    """A claim about a number: where it is treated, in words, and what would make it true."""

    notebook: str
    words: str
    quantity: str
    side: str
    """Of the bound, on which the number is claimed to lie: "above" or "below"."""
    bound: float
    study: str
    measure: Callable[[pd.DataFrame], pd.DataFrame]
    """From the study's table to one effect a setting."""


# fmt: off
CLAIMS = (
    Claim("01", "30 % of the weights cost next to nothing", "points lost", "below", 1.0,
          "one_shot", effects.lost_to_pruning),
    Claim("02", "a teacher makes recovery twice as fast", "time without / with", "above", 2.0,
          "recovery_speed", effects.time_without_teacher),
    Claim("03", "rewinding recovers best", "points over LR rewinding", "above", 0.0,
          "rewinding", partial(effects.rewound, value="test_accuracy")),
    Claim("03", "rewinding is the most stable", "barrier over LR rewinding", "below", 0.0,
          "rewinding", partial(effects.rewound, value="barrier")),
    Claim("04", "a tenth of the rate is right", "points lost to the best rate", "below", 0.2,
          "learning_rates", effects.best_rate_over_tenth),
    Claim("05", "a cut network is faster at once", "time before / after", "above", 1.0,
          "zoo", effects.speed_of_cut),
    Claim("06", "`remove` makes zeros permanent", "sparsity after one step, %", "above", 80.0,
          "permanence", effects.zeros_after_a_step),
    Claim("08", "five steps beat one", "points over one-shot, equal cost", "above", 0.0,
          "gradual", effects.steps_over_one_shot),
    Claim("09", "recalibrate after pruning", "points gained, untrained", "above", 0.0,
          "bn_recalibration", partial(effects.recalibrated, steps=0)),
    Claim("09", "recalibrate after pruning", "points gained, fine-tuned", "above", 0.2,
          "bn_recalibration", partial(effects.recalibrated, steps=860)),
    Claim("10", "an L1 penalty is better", "points over L2, not retrained", "above", 0.0,
          "regularization", partial(effects.l1_over_l2, retrained=False)),
    Claim("10", "an L1 penalty is better", "points over L2, retrained", "above", 0.0,
          "regularization", partial(effects.l1_over_l2, retrained=True)),
    Claim("12", "filters cost more than weights", "points more, not retrained", "above", 0.0,
          "structured", effects.weights_over_filters),
    Claim("12", "90 % sparsity is recoverable", "points lost", "below", 1.0,
          "structured", effects.lost_without_weights),
    Claim("12", "half the filters need careful tuning", "points over fine-tuning", "above", 1.0,
          "structured", effects.careful_tuning),
    Claim("12", "weights want rewinding", "points over LR rewinding", "above", 0.0,
          "structured", partial(effects.lead_of, way="rewind to late", pruned=EQUAL_PARAMETERS)),
    Claim("12", "filters want a teacher", "points over LR rewinding", "above", 0.0,
          "structured", partial(effects.lead_of, way="distillation", pruned=FILTERS)),
    Claim("12", "filters make it faster at once", "time dense / cut", "above", 1.0,
          "structured_cost", effects.speed_without_filters),
)
# fmt: on


def claims(notebook: str | None = None) -> pd.DataFrame:
    """One row a claim and setting: what was measured, its interval, and the verdict.

    Args:
        notebook: only the claims treated there, such as "08"; all of them if None.

    Returns:
        The columns `notebook`, `claim`, `setting`, `quantity`, `claimed`, `mean`, `low`,
        `high`, `verdict`.

    Raises:
        ValueError: a notebook without claims.
        FileNotFoundError: a study that is not recorded.
    """
    wanted = [claim for claim in CLAIMS if notebook in (None, claim.notebook)]
    if not wanted:
        known = sorted({claim.notebook for claim in CLAIMS})
        raise ValueError(f"notebook={notebook!r} has no claims; choose one of {known}")
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
            "verdict": verdict(effect.low, effect.high, claim.side, claim.bound),
        }
        for claim in wanted
        for effect in claim.measure(load_results(claim.study)).itertuples()
    ]
    return pd.DataFrame(rows)


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
    table = claims(notebook)
    effect = written(table, unit="", form=".2f")
    index = ["claim", "quantity", "claimed", "setting"]
    return table.assign(effect=effect).set_index(index)[["effect", "verdict"]]


def verdict(low: float, high: float, side: str, bound: float) -> str:
    """What an interval says of the claim that a number lies on one side of a bound."""
    if not low < high or low <= bound <= high:
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
