"""Claims beside what the recorded studies say: the guide's (notebook 00) and of tickets (11).

Every number and every verdict is computed from `data/results`. A claim is about one number; it
holds where the 95 % interval lies on the claimed side of a bound, does not hold where it lies on
the other side, and cannot be told where the interval includes the bound.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from prunelab.data import DATA_DIR
from prunelab.intervals import mean_interval, paired_difference
from prunelab.lab.results import load_results
from prunelab.studies import recovery_speed, regularization, structured, structured_cost


class Claim(NamedTuple):
    """A claim about a number: where it is treated, in words, and what would make it true."""

    notebook: str
    claim: str
    quantity: str
    bound: float
    above: bool = True


CLAIMS = {
    "01": Claim("01", "30 % of the weights cost next to nothing", "points lost", 1.0, above=False),
    "02": Claim("02", "a teacher makes recovery twice as fast", "time without / with", 2.0),
    "03": Claim("03", "rewinding recovers best", "points over LR rewinding", 0.0),
    "03 stable": Claim(
        "03", "rewinding is the most stable", "barrier over LR rewinding", 0.0, above=False
    ),
    "04": Claim("04", "a tenth of the rate is right", "points lost to the best rate", 0.2, False),
    "05": Claim("05", "a cut network is faster at once", "time before / after", 1.0),
    "06": Claim("06", "`remove` makes zeros permanent", "sparsity after one step, %", 80.0),
    "08": Claim("08", "five steps beat one", "points over one-shot, equal cost", 0.0),
    "09": Claim("09", "recalibrate after pruning", "points gained, untrained", 0.0),
    "09 late": Claim("09", "recalibrate after pruning", "points gained, fine-tuned", 0.2),
    "12 drop": Claim("12", "filters cost more than weights", "points more, not retrained", 0.0),
    "12 weights": Claim("12", "90 % sparsity is recoverable", "points lost", 1.0, above=False),
    "12 tuning": Claim(
        "12", "half the filters need careful tuning", "points over fine-tuning", 1.0
    ),
    "12 rewind": Claim("12", "weights want rewinding", "points over LR rewinding", 0.0),
    "12 teacher": Claim("12", "filters want a teacher", "points over LR rewinding", 0.0),
    "12 speed": Claim("12", "filters make it faster at once", "time dense / cut", 1.0),
    "10": Claim("10", "an L1 penalty is better", "points over L2, not retrained", 0.0),
    "10 late": Claim("10", "an L1 penalty is better", "points over L2, retrained", 0.0),
}


def claims() -> pd.DataFrame:
    """One row a claim and setting: what was measured, its interval, and the verdict.

    Returns:
        The columns `notebook`, `claim`, `setting`, `quantity`, `claimed`, `mean`, `low`,
        `high`, `verdict`.

    Raises:
        FileNotFoundError: a study that is not recorded.
    """
    rows = []
    for key, effects in _effects():
        claim = CLAIMS[key]
        for row in effects.itertuples():
            rows.append(
                {
                    "notebook": claim.notebook,
                    "claim": claim.claim,
                    "setting": row.setting,
                    "quantity": claim.quantity,
                    "claimed": f"{'above' if claim.above else 'below'} {claim.bound:g}",
                    "mean": row.mean,
                    "low": row.low,
                    "high": row.high,
                    "verdict": verdict(claim, row.low, row.high),
                }
            )
    return pd.DataFrame(rows)


def verdict(claim: Claim, low: float, high: float) -> str:
    """What an interval says of a claim."""
    if not low < high or low <= claim.bound <= high:
        return "cannot be told"
    return "holds" if (low > claim.bound) == claim.above else "does not hold"


def ticket_claims(table: pd.DataFrame) -> pd.DataFrame:
    """What Frankle & Carbin (2019) say of LeNet-300-100 on MNIST, beside our own trials.

    Two runs of a trial are compared at their early stops. Of the iterations it is the ratio (the
    second's to the first's, so 2 is twice as early; a mean of logarithms), of test accuracy the
    difference in points.

    Args:
        table: the study `lottery_tickets`.

    Returns:
        The columns `claim`, `quantity` ("early stop" or "test accuracy"), `published`, `mean`,
        `low`, `high`, and `agrees`: "yes" where the 95 % interval lies on the claimed side of no
        effect, "no" where it lies on the other, else "cannot be told".
    """
    published = pd.read_csv(DATA_DIR / "published" / "frankle2019_lenet300.csv")
    runs = table[(table["moment"] == "early stop") & (table["replicate"] == 0)]
    values = {
        "early stop": -np.log(runs["iteration"]),
        "test accuracy": 100 * runs["test_accuracy"],
    }
    runs = runs.assign(run=runs["kind"] + runs["round"].astype(str), all="", **values)
    rows = []
    for said in published.itertuples():
        two = (f"{said.kind}{said.round}", f"{said.against}{said.against_round}")
        (effect,) = paired_difference(runs, ["all"], said.quantity, "run", *two).itertuples()
        claim = Claim("11", said.claim, said.quantity, 0.0, said.above)
        row = {"claim": said.claim, "quantity": said.quantity, "published": said.published}
        row |= {"mean": effect.mean, "low": effect.low, "high": effect.high}
        rows.append(row | {"agrees": AGREES[verdict(claim, effect.low, effect.high)]})
    ours = pd.DataFrame(rows)
    ratios = ours["quantity"] == "early stop"
    ours.loc[ratios, ["mean", "low", "high"]] = np.exp(ours.loc[ratios, ["mean", "low", "high"]])
    return ours


AGREES = {"holds": "yes", "does not hold": "no", "cannot be told": "cannot be told"}


def _effects() -> Iterator[tuple[str, pd.DataFrame]]:
    one_shot = load_results("one_shot").query("criterion == 'l1' and scope == 'global'")
    one_shot = one_shot[one_shot["sparsity"].isin([0.0, 0.3])].rename(columns={"sparsity": "s"})
    yield "01", _difference(one_shot, ["network"], "accuracy", "s", 0.0, 0.3)

    speed = recovery_speed.tuned(load_results("recovery_speed"))
    by = ["network", "amount"]
    speed = speed[speed.groupby([*by, "pruned"])["reached"].transform("all")]
    speed = speed.assign(log=np.log(speed["seconds"]) / 100)
    ratio = _difference(speed, by, "log", "loss", "labels", "distillation")
    yield "02", ratio.assign(**np.exp(ratio[["mean", "low", "high"]]))

    rewinding = load_results("rewinding")
    pruned, by = rewinding[rewinding["density"] < 1], ["network", "sparsity"]
    pruned = pruned.assign(sparsity=(1 - pruned["density"]).round(6))
    two = ("method", "rewind to start", "LR rewinding")
    yield "03", _difference(pruned, by, "test_accuracy", *two)
    yield "03 stable", _difference(pruned[pruned["barrier"].notna()], by, "barrier", *two)

    rates = load_results("learning_rates").query("schedule == 'cosine'")
    by = ["network", "sparsity", "steps"]
    mean = rates.groupby([*by, "rate"])["valid_accuracy"].mean().reset_index()
    best = mean.loc[mean.groupby(by)["valid_accuracy"].idxmax(), [*by, "rate"]]
    chosen = rates.merge(best, on=[*by, "rate"]).assign(which="best")
    both = pd.concat([chosen, rates[rates["rate"] == 0.1].assign(which="tenth")])
    yield "04", _difference(both, by, "test_accuracy", "which", "best", "tenth")

    permanence = load_results("permanence").query("steps == 1")
    permanence = permanence[permanence["order"] == "permanent, then fine-tune"]
    yield "06", _percent(mean_interval(permanence, ["network"], "sparsity"), ["network"])

    gradual = load_results("gradual").query("budgets == 1")
    by = ["network", "sparsity", "method"]
    mean = gradual.groupby([*by, "rate"])["valid_accuracy"].mean().reset_index()
    best = mean.loc[mean.groupby(by)["valid_accuracy"].idxmax(), [*by, "rate"]]
    gradual = gradual.merge(best, on=[*by, "rate"])
    two = ("method", "five steps", "one-shot")
    yield "08", _difference(gradual, by[:2], "test_accuracy", *two)

    statistics = load_results("bn_recalibration")
    two = ("statistics", "recalibrated now", "stale at the start")
    for key, steps in (("09", 0), ("09 late", 860)):
        rows = statistics[statistics["steps"] == steps]
        yield key, _difference(rows, ["network", "pruned", "amount"], "accuracy", *two)

    penalties = regularization.tuned(load_results("regularization"))
    penalties = penalties[penalties["sparsity"] > 0]
    for key, own in (("10", False), ("10 late", True)):
        rows = penalties[penalties["retraining"] == (penalties["penalty"] if own else "before")]
        yield (
            key,
            _difference(rows, ["network", "sparsity"], "test_accuracy", "penalty", "l1", "l2"),
        )

    yield "05", _speed_of_the_zoo()
    yield from _structured_effects()


def _speed_of_the_zoo() -> pd.DataFrame:
    zoo = load_results("zoo").query("tool == 'prunelab'")
    log = np.log(zoo["latency_before"] / zoo["latency_after"]) / 100
    zoo = zoo.assign(log=log, networks=f"{zoo['model'].nunique()} networks of torchvision")
    of_seed = zoo.groupby(["networks", "seed"])["log"].mean().reset_index()
    speed = _percent(mean_interval(of_seed, ["networks"], "log"), ["networks"])
    return speed.assign(**np.exp(speed[["mean", "low", "high"]]))


def _structured_effects() -> Iterator[tuple[str, pd.DataFrame]]:
    study, by = load_results("structured"), ["network", "ratio"]
    filters = study[study["pruned"] == structured.FILTERS]
    weights = study[study["pruned"] == structured.EQUAL_PARAMETERS]
    before = pd.concat([filters, weights]).query("method == 'before'")
    two = ("pruned", structured.EQUAL_PARAMETERS, structured.FILTERS)
    yield "12 drop", _difference(before, by, "test_accuracy", *two)

    sparsest = weights[(weights["ratio"] == 0.75) & (weights["network"] == "half_convnet")]
    lost = sparsest[sparsest["method"] == "LR rewinding"]
    lost = lost.assign(lost=lost["test_dense"] - lost["test_accuracy"])
    yield "12 weights", _percent(mean_interval(lost, by, "lost"), by)

    two = ("method", "LR rewinding", "fine-tune")
    yield "12 tuning", _difference(filters[filters["ratio"] == 0.5], by, "test_accuracy", *two)
    two = ("method", "rewind to late", "LR rewinding")
    yield "12 rewind", _difference(weights, by, "test_accuracy", *two)
    two = ("method", "distillation", "LR rewinding")
    yield "12 teacher", _difference(filters, by, "test_accuracy", *two)

    price = structured_cost.relative_to_dense(load_results("structured_cost"))
    price, by = price[price["variant"] == "filters"], ["network", "ratio", "batch"]
    yield "12 speed", _percent(mean_interval(price.assign(s=price["speedup"] / 100), by, "s"), by)


def _difference(table: pd.DataFrame, by: list[str], value: str, *two) -> pd.DataFrame:
    return _percent(paired_difference(table, by, value, *two), by)


def _percent(effects: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    settings = [", ".join(f"{value}" for value in row) for row in effects[by].to_numpy()]
    return effects.assign(setting=settings, **100 * effects[["mean", "low", "high"]])
