"""What the open project brings along: a plan that is kept, and measurements made after it."""

import hashlib
import json
import time
from collections.abc import Callable, Collection, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from prunelab.intervals import choose, paired_difference, paired_ratio
from prunelab.lab.claims import verdict

PLAN, RESULTS = Path("plan.json"), Path("results.json")
FIELDS = {
    "question": str,
    "compared": tuple,
    "controls": tuple,
    "unit": str,
    "better": str,
    "scale": str,
    "side": str,
    "bound": float,
    "matters": float,
    "seeds": tuple,
    "more_seeds": tuple,
    "tuning_seeds": tuple,
    "rates": dict,
    "budget": dict,
    "why_unequal": str,
    "prediction": float,
    "minutes": float,
}
NAMES = {str: "text", float: "number", tuple: "list", dict: "dictionary"}
COLUMNS = ("role", "arm", "seed", "rate", "value", "seconds", "time")
CHOICES = {
    "better": ("higher", "lower"),
    "scale": ("difference", "ratio"),
    "side": ("above", "below"),
}


def preregister(plan: dict) -> None:
    """Write a plan down, once, with its time and its hash. An incomplete one is refused.

    Raises:
        ValueError: what the plan lacks, or that another one was committed before.
    """
    _must_be_none(_in_fields(plan))
    _must_be_none(_in_plan(plan))
    if not PLAN.exists():
        entry = {"time": now(), "hash": hash_of(plan), "plan": as_json(plan)}
        PLAN.write_text(json.dumps(entry, indent=1, ensure_ascii=False), "utf-8")
    committed = json.loads(PLAN.read_text("utf-8"))
    if committed["hash"] != hash_of(plan):
        changed = [name for name in plan if as_json(plan[name]) != committed["plan"].get(name)]
        raise ValueError(
            f"another plan was committed on {committed['time']}; these differ: {changed}. Put the "
            "first one back, and say in part C what you would do otherwise. Only if nothing has "
            f"been measured yet may you delete {PLAN}."
        )
    print("committed on", committed["time"], "as", committed["hash"])


def _in_fields(plan: dict) -> Iterator[str]:
    """What is wrong with single fields."""
    if not isinstance(plan, dict):
        yield f"plan must be a dictionary; it is a {type(plan).__name__}"
    missing = [name for name in FIELDS if name not in plan]
    more = [name for name in plan if name not in FIELDS]
    if missing or more:
        yield f"fields of the plan are missing: {missing}, or too many: {more}"
    for name, kind in FIELDS.items():
        kinds = (int, float) if kind is float else (list, tuple) if kind is tuple else kind
        if not isinstance(plan[name], kinds) or isinstance(plan[name], bool):
            yield f"'{name}' must be a {NAMES[kind]}; it is {plan[name]!r}"
        if "…" in str(plan[name]):
            yield f"'{name}' still has a '…' to fill in"
        if name in CHOICES and plan[name] not in CHOICES[name]:
            yield f"'{name}' must be one of {CHOICES[name]}; it is {plan[name]!r}"


def _in_plan(plan: dict) -> Iterator[str]:
    """What does not keep the protocol."""
    arms, tuning = arms_of(plan), plan["tuning_seeds"]
    if len(plan["question"].split()) < 6 or not plan["question"].endswith("?"):
        yield "'question' must be one sentence with a question mark"
    if len(plan["compared"]) != 2:
        yield "'compared' must hold two names: the first minus the second"
    if not plan["controls"]:
        yield "'controls' is empty: what would show that a lead has another reason?"
    if len(set(arms)) < len(arms):
        yield f"a name stands twice in 'compared' and 'controls': {arms}"
    least = 1 if plan["scale"] == "ratio" else 0
    if plan["matters"] <= least:
        yield f"'matters' must be above {least}: below which effect would nobody choose by it?"
    for name in ("seeds", "more_seeds"):
        if len(set(plan[name])) < 5:
            yield f"'{name}' must hold five numbers at least, all different"
    together = [*plan["seeds"], *plan["more_seeds"], *tuning]
    if len(set(together)) < len(together):
        yield "some seeds stand twice: what chooses is not compared, and more seeds are new ones"
    for arm, grid in plan["rates"].items():
        if arm not in arms:
            yield f"'rates' has {arm!r}, which is none of {arms}"
        if len(set(grid)) < 3:
            yield f"'rates' of {arm!r} must hold three at least, so that the best can lie inside"
    if plan["rates"] and len(set(tuning)) < 2:
        yield "'tuning_seeds' must hold two at least, to choose rates on"
    if set(plan["budget"]) != set(arms):
        yield f"'budget' must have the names {arms}"
    if len(set(plan["budget"].values())) > 1 and len(plan["why_unequal"].split()) < 5:
        yield f"'budget' is not equal, {plan['budget']}: 'why_unequal' must say why, in a sentence"


def _must_be_none(problems: Iterator[str]) -> None:
    for words in problems:
        raise ValueError(words)


def measure_all(plan: dict, measure: Callable) -> pd.DataFrame:
    """Measure what the plan says, choices first. What stands in results.json is not made again.

    Args:
        plan: as it was committed.
        measure: `measure(arm, seed, rate, split)`, a number in the plan's unit. `rate` is None for
            an arm that has none to choose; `split` is "valid" where rates are chosen, and "test".

    Returns:
        A row for each measurement: `role` ("choice" or "comparison"), `arm`, `seed`, `rate`,
        `value`, `seconds` and `time`. If the first seeds cannot tell, `more_seeds` are measured.
    """
    rows = committed_rows(plan)
    for arm, grid in plan["rates"].items():
        for rate in grid:
            for seed in plan["tuning_seeds"]:
                _measured(plan, rows, measure, ("choice", arm, seed, rate))
    best = chosen(plan, pd.DataFrame(rows, columns=COLUMNS))
    for arm, (rate, edge) in best.items():
        end = f", at the {edge} end of its list: a better one may lie beyond it" if edge else ""
        print(f"{arm}: {rate} was chosen{end}")
    seeds: list = []
    for some in (plan["seeds"], plan["more_seeds"]):
        seeds += some
        for seed in some:
            for arm in arms_of(plan):
                rate = best.get(arm, (None, ""))[0]
                _measured(plan, rows, measure, ("comparison", arm, seed, rate))
        if said_of(plan, effect_of(plan, pd.DataFrame(rows), seeds)) != "cannot be told":
            break
    return pd.DataFrame(rows)


def _measured(plan: dict, rows: list[dict], measure: Callable, what: tuple) -> None:
    cell = dict(zip(("role", "arm", "seed", "rate"), what, strict=True))
    if any(all(row[name] == value for name, value in cell.items()) for row in rows):
        return
    started = time.perf_counter()
    split = "valid" if cell["role"] == "choice" else "test"
    value = float(measure(cell["arm"], cell["seed"], cell["rate"], split))
    seconds = round(time.perf_counter() - started, 2)
    rows.append({**cell, "value": value, "seconds": seconds, "time": now()})
    RESULTS.write_text(json.dumps({"plan": hash_of(plan), "rows": rows}, indent=1), "utf-8")


def committed_rows(plan: dict) -> list[dict]:
    """What has been measured under this plan.

    Raises:
        ValueError: the plan was not committed, or has changed since; or what was measured does
            not belong to it.
    """
    if not PLAN.exists():
        raise ValueError("there is no plan.json: commit the plan before anything is measured")
    committed = json.loads(PLAN.read_text("utf-8"))
    if not committed["hash"] == hash_of(committed["plan"]) == hash_of(plan):
        raise ValueError("this is not the plan that was committed: it has changed since")
    if not RESULTS.exists():
        return []
    found = json.loads(RESULTS.read_text("utf-8"))
    if found["plan"] != committed["hash"]:
        raise ValueError("results.json was measured under another plan")
    early = [row for row in found["rows"] if row["time"] < committed["time"]]
    if early:
        raise ValueError(f"{len(early)} measurements are older than the plan")
    return found["rows"]


def chosen(plan: dict, rows: pd.DataFrame) -> dict[str, tuple[float, str]]:
    """The rate with the best mean on validation images, and whether it lies at an end."""
    if not plan["rates"]:
        return {}
    tried = rows[rows["role"] == "choice"]
    best = choose(tried, ["arm"], "rate", "value", largest=plan["better"] == "higher")
    return {row.arm: (row.rate, row.edge) for row in best.itertuples()}


def effect_of(plan: dict, rows: pd.DataFrame, seeds: Collection) -> tuple[float, ...]:
    """Mean, low and high of what is compared, seed by seed, over these seeds."""
    compared = rows[(rows["role"] == "comparison") & rows["seed"].isin(seeds)].assign(all="")
    apart = paired_ratio if plan["scale"] == "ratio" else paired_difference
    found = apart(compared, ["all"], "value", "arm", *plan["compared"]).iloc[0]
    return float(found["mean"]), float(found["low"]), float(found["high"])


def said_of(plan: dict, effect: tuple[float, ...]) -> str:
    """The verdict on the claim that the effect lies on `side` of `bound`."""
    low, high, bound, matters = *effect[1:], plan["bound"], plan["matters"]
    if plan["scale"] == "difference":  # `verdict` takes what is above 1 for a factor
        low, high, bound, matters = (
            number / (2 * matters) for number in (low, high, bound, matters)
        )
    return verdict(low, high, plan["side"], bound, matters)


def check_results(plan: dict, effect: tuple, said: str) -> None:
    """Do the measurements, the interval and the verdict belong to the plan?"""
    _must_be_none(_in_results(plan, effect, said))


def _in_results(plan: dict, effect: tuple, said: str) -> Iterator[str]:
    rows = pd.DataFrame(committed_rows(plan), columns=COLUMNS)
    compared = rows[rows["role"] == "comparison"]
    seeds = list(plan["seeds"])
    missing = missing_of(plan, compared, seeds)
    if not missing and said_of(plan, effect_of(plan, compared, seeds)) == "cannot be told":
        seeds += plan["more_seeds"]
        missing = missing_of(plan, compared, seeds)
    if missing:
        yield f"{len(missing)} measurements of the plan are not there, such as {missing[0]}"
    if not isinstance(effect, tuple | list) or len(effect) != 3:
        yield f"'effect' must be mean, low and high; yours is {effect!r}"
    right = effect_of(plan, compared, seeds)
    if max(abs(a - b) for a, b in zip(effect, right, strict=True)) > 1e-3 * (right[2] - right[1]):
        yield f"'effect' is not that of your measurements, seed by seed; yours is {effect!r}"
    if said != said_of(plan, right):
        yield (
            f"{said!r} does not follow from your interval, the claimed side, the bound, and the "
            "smallest effect that matters"
        )


def missing_of(plan: dict, compared: pd.DataFrame, seeds: list) -> list[tuple]:
    """What has not been measured, as arm and seed."""
    found = set(zip(compared["arm"], compared["seed"], strict=True))
    return [(arm, seed) for seed in seeds for arm in arms_of(plan) if (arm, seed) not in found]


def once_more(plan: dict, measure: Callable, limit: float = 30.0) -> None:
    """Make the quickest measurement again, and print both. It proves nothing, but it is quick."""
    rows = [row for row in committed_rows(plan) if row["role"] == "comparison"]
    row = min(rows, key=lambda row: row["seconds"])
    if row["seconds"] > limit:
        print(f"the quickest measurement took {row['seconds']} s: it is not made again")
        return
    value = float(measure(row["arm"], row["seed"], row["rate"], "test"))
    print(f"{row['arm']}, seed {row['seed']}: {row['value']:.3f}; measured again {value:.3f}")


def arms_of(plan: dict) -> tuple[str, ...]:
    return (*plan["compared"], *plan["controls"])


def as_json(value):
    """As it comes back from a file: tuples are lists, keys are texts."""
    return json.loads(json.dumps(value))


def hash_of(plan: dict) -> str:
    text = json.dumps(as_json(plan), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
