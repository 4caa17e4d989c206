"""The page: facts as JSON, a style sheet and a program, all in one file."""

import json
from itertools import product
from pathlib import Path

import pandas as pd

from prunelab.explorer.advice import advice, missing
from prunelab.explorer.measured import RATES, Numbers, recorded
from prunelab.explorer.names import FAMILIES, NETWORKS, OWN, PRUNED, WAYS, share
from prunelab.figures.style import COLORS, THEMES, minus
from prunelab.intervals import written
from prunelab.lab.claims import SAID
from prunelab.lab.playbook import CELL, STUDIES, UNTRAINED
from prunelab.lab.protocol import POINTS
from prunelab.lab.results import load_record
from prunelab.lab.store import write_whole
from prunelab.studies.recovery import ORIGINALS

HERE = Path(__file__).parent
VERDICTS = {
    "ahead": SAID["holds"],
    "behind": SAID["does not hold"],
    "no difference that matters": SAID["no difference that matters"],
    "cannot be told": SAID["cannot be told"],
}


def facts(numbers: Numbers) -> dict:
    """All that the page shows, as plain values."""
    densities = sorted(numbers.cells["density"].unique(), reverse=True)
    budgets = sorted(numbers.cells["budget"].unique())
    known = {tuple(cell) for cell in numbers.cells.itertuples(index=False)}
    offered = list(product(NETWORKS, PRUNED, densities, budgets))
    cells = {key(cell): _cell(numbers, cell) for cell in offered if cell in known}
    return {
        "choices": {
            "network": [_choice(name, f"{name}: {words}") for name, words in NETWORKS.items()],
            "pruned": [_choice(name, words) for name, words in PRUNED.items()],
            "density": [_choice(f"{d:g}", share(d), d) for d in densities],
            "budget": [_choice(f"{b:g}", share(b), b) for b in budgets],
        },
        "families": {name: family._asdict() for name, family in FAMILIES.items()},
        "ways": _ways(numbers),
        "cells": cells,
        "missing": {key(cell): missing(numbers, cell) for cell in offered if cell not in known},
        "dense": {network: _dense(numbers, network) for network in NETWORKS},
        "matters": POINTS,
        "verdicts": VERDICTS,
        "studies": [_study(name) for name in (*STUDIES, RATES)],
    }


def key(cell: tuple) -> str:
    """A cell's name in JSON and in the page's address."""
    network, pruned, density, budget = cell
    return f"{network}|{pruned}|{density:g}|{budget:g}"


def _choice(name: str, words: str, number: float | None = None) -> dict:
    return {"name": name, "words": words} | ({} if number is None else {"number": float(number)})


def _ways(numbers: Numbers) -> list[dict]:
    """Every way that is recorded, one with a rate of its own after the way itself."""
    there = set(numbers.ways["method"])
    ways = []
    for name, way in WAYS.items():
        plain = way._asdict() | {"name": name, "hollow": False}
        plain["start"] = way.family != "untrained"
        own = {"name": name + OWN, "hollow": True, "start": False}
        own["about"] = "the same, at a rate that was chosen for it"
        ways += [entry for entry in (plain, plain | own) if entry["name"] in there]
    return ways


def _cell(numbers: Numbers, cell: tuple) -> dict:
    """What is shown for one choice."""
    accuracy = _rows(numbers.accuracy, cell).set_index("method")
    texts = _texts(accuracy, "%", ".1f")
    against = {
        name: _rows(table, cell).set_index("method") for name, table in _references(numbers).items()
    }
    ways = {
        way: {
            **_interval(accuracy.loc[way], texts[way]),
            "rate": _rate(numbers, cell, way),
            "untrained": way in UNTRAINED,
            "against": {
                name: _difference(table, way)
                for name, table in against.items()
                if way in table.index
            },
        }
        for way in accuracy.index
    }
    long = numbers.dense_as_long.set_index(["network", "budget"]).loc[(cell[0], cell[3])]
    return {
        "ways": ways,
        "over": {
            "simple": against["simple"]["over"].iloc[0],
            "best": against["best"]["over"].iloc[0],
            "dense": f"the dense network, trained as long ({long['method']})",
        },
        "advice": advice(numbers, cell),
        "left": _left(numbers, cell),
    }


def _references(numbers: Numbers) -> dict[str, pd.DataFrame]:
    """The three things that a way can be compared with."""
    return {"simple": numbers.over_simple, "dense": numbers.lost, "best": numbers.over_best}


def _rows(table: pd.DataFrame, cell: tuple) -> pd.DataFrame:
    return table[(table[CELL] == list(cell)).all(axis=1)]


def _texts(effects: pd.DataFrame, unit: str, form: str) -> pd.Series:
    return written(effects, unit=unit, form=form).map(minus)


def _interval(row: pd.Series, text: str) -> dict:
    numbers = {end: round(float(row[end]), 4) for end in ("mean", "low", "high")}
    return numbers | {"n": int(row["n"]), "text": text}


def _difference(table: pd.DataFrame, way: str) -> dict:
    text = _texts(table.loc[[way]], "points", "+.2f").item()
    return _interval(table.loc[way], text) | {"verdict": table.loc[way, "verdict"]}


def _rate(numbers: Numbers, cell: tuple, way: str) -> str:
    if way in UNTRAINED:
        return "not retrained"
    if (*cell, way) not in numbers.chosen_rates.index:
        return "that of the dense training"
    rate = numbers.chosen_rates[(*cell, way)]
    times = round(rate / numbers.dense_rate[cell[0]], 1)
    return f"{rate:g}, chosen ({times:g} × the dense training's)"


def _left(numbers: Numbers, cell: tuple) -> str:
    """What is left of the network, with units."""
    here, dense = numbers.sizes.loc[cell[:3]], numbers.sizes.loc[(cell[0], "nothing", 1.0)]
    steps = round(cell[3] * ORIGINALS[cell[0]].steps)
    return (
        f"{here['weights']:,.0f} of {dense['weights']:,.0f} weights are left; the smallest file "
        f"has {here['bytes'] / 1000:,.0f} kB instead of {dense['bytes'] / 1000:,.0f} kB. Retrained "
        f"for {steps:,} steps of {ORIGINALS[cell[0]].batch_size} images."
    )


def _dense(numbers: Numbers, network: str) -> dict:
    """The dense network as it was (budget 0), and trained as long, by budget."""
    before = numbers.dense_before[numbers.dense_before["network"] == network]
    long = numbers.dense_as_long[numbers.dense_as_long["network"] == network]
    rows = [before.assign(budget=0.0, method="as it was trained"), long]
    table = pd.concat(rows, ignore_index=True).sort_values("budget", ignore_index=True)
    texts = _texts(table, "%", ".1f")
    return {
        f"{row['budget']:g}": _interval(row, texts[i])
        | {"way": row["method"], "rate": _dense_rate(numbers, network, row)}
        for i, row in table.iterrows()
    }


def _dense_rate(numbers: Numbers, network: str, row: pd.Series) -> str:
    if row["budget"] == 0:
        return f"{numbers.dense_rate[network]:g}, chosen"
    return _rate(numbers, (network, "nothing", 1.0, row["budget"]), row["method"])


def _study(name: str) -> str:
    record = load_record(name) or {}
    return (
        f"{name}: {record['rows']:,} rows, {record['seeds']} seeds, recorded on {record['date']} "
        f"from commit {record['commit'][:10]}."
    )


def page(content: dict) -> str:
    """The whole page, of what `facts` returns."""
    data = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    parts = {
        "/* style */": _themes() + (HERE / "page.css").read_text("utf-8"),
        "/* facts */": data.replace("</", "<\\/"),
        "/* program */": (HERE / "page.js").read_text("utf-8"),
    }
    whole = (HERE / "page.html").read_text("utf-8")
    for mark, part in parts.items():
        before, _, after = whole.partition(mark)
        whole = before + part + after
    return whole


def _themes() -> str:
    """The figures' colors as variables of the style sheet."""
    named = [
        f"  --{name}: {FAMILIES[name].color};"
        for name in FAMILIES
        if FAMILIES[name].color in COLORS
    ]
    named += [f"  --sure: {COLORS[2]};", f"  --unsure: {COLORS[4]};"]
    light, dark = (
        [f"  --{name}: {color};" for name, color in THEMES[theme]._asdict().items()]
        for theme in ("light", "dark")
    )
    inside = "\n".join(dark)
    return (
        f":root {{\n{chr(10).join(named + light)}\n}}\n"
        f"@media (prefers-color-scheme: dark) {{\n:root {{\n{inside}\n}}\n}}\n"
    )


def write(folder: Path) -> Path:
    """Write the page into a folder, which is made where there is none.

    Raises:
        CannotKeep: no room to write, or no right to.
    """
    path = folder / "index.html"
    write_whole(path, page(facts(recorded())).encode())
    return path
