"""The playbook's advice for one choice, in words, and the evidence that it rests on."""

from prunelab.explorer.measured import Numbers
from prunelab.explorer.names import WAYS, cell_in_words, listed, share
from prunelab.figures.style import minus
from prunelab.intervals import written
from prunelab.lab.claims import counted
from prunelab.lab.playbook import CELL, CONTROLS, UNTRAINED
from prunelab.lab.protocol import POINTS

NO_WAYS = ("control", "untrained")
FEW = "No advice: too few ways were tried"


def advice(numbers: Numbers, cell: tuple) -> dict:
    """What to do in a recorded cell.

    Returns:
        `title`: the way, or that there is no advice; `sure`: as good as the best in every network
        of at least two; `overall` and `here`: sentences on all networks, and on this one;
        `evidence`: what the sentences rest on; `spoken`: all that matters in two sentences.
    """
    decided = numbers.decisions
    row = decided[(decided[CELL[1:]] == list(cell[1:])).all(axis=1)]
    tried = bool(len(row)) and cell[0] in numbers.networks_decided[cell[1:]]
    if tried:
        title, overall = row.iloc[0]["do"], _overall(numbers, cell, row.iloc[0])
        sure = bool(row.iloc[0]["as_good"] == row.iloc[0]["networks"] > 1)
    else:
        title, overall, sure = FEW, [_few(numbers, cell)], False
    said = f"Advice: {title}." if tried else f"{title}."
    return {
        "title": title,
        "sure": sure,
        "advised": tried,
        "overall": overall,
        "here": _here(numbers, cell),
        "evidence": _evidence(numbers, cell),
        "spoken": f"{cell_in_words(*cell)}. {said} {overall[0]}",
    }


def _overall(numbers: Numbers, cell: tuple, row) -> list[str]:
    """The card of the decision chart, in sentences."""
    networks = list(numbers.networks_decided[cell[1:]])
    if row["networks"] == 1:
        sentences = [f"Only {networks[0]} was tried here, and validation images prefer this way."]
    else:
        sentences = [
            f"It is shown to be as good as the best way in {row['as_good']} of the "
            f"{row['networks']} networks that were tried here ({listed(networks)})."
        ]
        others = [_not_as_good(numbers, (each, *cell[1:]), row["do"]) for each in networks]
        sentences += filter(None, others)
    ends = list(dict.fromkeys(minus(f"{row[end]:.1f}") for end in ("least", "most")))
    sentences.append(
        f"It loses {' to '.join(ends)} points of accuracy against the dense network that was "
        "trained for as many more steps."
    )
    where = "in every network" if row["networks"] > 1 else "here"
    others = f"Also shown to be as good {where}: {listed(list(row['also']))}."
    sentences.append(others if row["also"] else f"No other way is shown to be as good {where}.")
    return sentences


def _not_as_good(numbers: Numbers, cell: tuple, way: str) -> str:
    """What is known where a way is not shown to be as good as the best; else nothing."""
    behind = numbers.behind.set_index([*CELL, "method"]).loc[(*cell, way)]
    if behind["as_good"]:
        return ""
    over = numbers.over_best
    difference = over[(over[[*CELL, "method"]] == [*cell, way]).all(axis=1)]
    words, points = difference["verdict"].item(), minus(written(difference).item())
    return f"In {cell[0]}: {words}, {points} against {behind['best']}, the best way there."


def _few(numbers: Numbers, cell: tuple) -> str:
    rows = numbers.accuracy[(numbers.accuracy[CELL] == list(cell)).all(axis=1)]
    ways = [way for way in rows["method"] if way not in (*UNTRAINED, *CONTROLS)]
    return f"Only {listed(ways)} were tried here: you see which is better, not what is best."


def _here(numbers: Numbers, cell: tuple) -> list[str]:
    """What this network says alone: the best way, and how far all others are from it."""
    behind = numbers.behind[(numbers.behind[CELL] == list(cell)).all(axis=1)]
    best = behind["best"].iloc[0]
    accuracy = numbers.accuracy[(numbers.accuracy[[*CELL, "method"]] == [*cell, best]).all(axis=1)]
    percent = written(accuracy, unit="%", form=".1f").item()
    sentences = [f"In {cell[0]}, validation images prefer {best}: {percent} of the test images."]
    over = numbers.over_best[(numbers.over_best[CELL] == list(cell)).all(axis=1)]
    words = over.set_index("method")["verdict"]
    good = set(behind.loc[behind["as_good"], "method"])
    ways = [way for way in WAYS if way in words.index and WAYS[way].family not in NO_WAYS]
    groups = {
        f"Shown to be as good as {best} (not {POINTS:g} points behind)": [
            way for way in ways if way in good
        ],
        f"Behind {best}": [w for w in ways if words[w] == "behind" and w not in good],
        "Cannot be told": [w for w in ways if words[w] == "cannot be told" and w not in good],
    }
    return sentences + [f"{said}: {listed(group)}." for said, group in groups.items() if group]


def _evidence(numbers: Numbers, cell: tuple) -> list[str]:
    """Seeds, verdicts, the guide's claims about this cell, and how many verdicts there are."""
    here = numbers.ways[(numbers.ways[CELL] == list(cell)).all(axis=1)]
    tuned = numbers.study[numbers.study["role"] == "choice"]["seed"].unique()
    over = numbers.over_best[(numbers.over_best[CELL] == list(cell)).all(axis=1)]
    counts = over["verdict"].value_counts()
    seeds = sorted(here["seed"].unique())
    told = listed([f"{number} {words}" for words, number in counts.items()])
    lines = [
        f"{len(seeds)} networks, seeds {seeds[0]} to {seeds[-1]}, compared seed by seed. Learning "
        f"rates were chosen on validation images of {len(tuned)} more.",
        f"{len(over)} differences from the best way, controls and unretrained networks too: {told}."
        " Each is a verdict on a 95 % interval.",
    ]
    if "cannot be told" in counts:
        lines.append(
            f"“Cannot be told” means that {len(seeds)} networks are too few for this difference; "
            "ten were trained for the guide's claims alone."
        )
    return [*lines, *_claims(numbers, cell), _together(numbers)]


def _claims(numbers: Numbers, cell: tuple) -> list[str]:
    """What the guide claims of this cell, and the verdict on it."""
    table = numbers.all_claims[numbers.all_claims["notebook"] == "13"]
    whole = ", ".join(map(str, cell))
    without_budget = ", ".join(map(str, cell[:3]))  # of claims about the full budget only
    settings = [whole, without_budget] if cell[3] == 1 else [whole]
    table = table[table["setting"].isin(settings)]
    effects = [minus(effect) for effect in written(table, unit="", form=".2f")]
    return [
        f"The guide says “{row.claim}”. Measured on {row.n} networks: {row.quantity} {effect}; "
        f"claimed is {row.claimed}. Verdict: {row.verdict}."
        for row, effect in zip(table.itertuples(), effects, strict=True)
    ]


def _together(numbers: Numbers) -> str:
    count = counted(numbers.all_claims)
    return (
        f"All notebooks give {count['verdicts']} verdicts on the guide's claims. "
        f"{count['decided']} of them are decided, {count['expected false']:g} intervals "
        f"would miss by chance, and {count['after Holm']} survive Holm's procedure."
    )


def missing(numbers: Numbers, cell: tuple) -> str:
    """In a plain sentence that a choice was not recorded, and what was."""
    cells = numbers.cells
    same = cells[(cells["network"] == cell[0]) & (cells["pruned"] == cell[1])]
    here = f"Not recorded: {cell_in_words(*cell)}."
    if len(same):
        kept = listed([share(d) for d in sorted(same["density"].unique(), reverse=True)])
        return f"{here} Of {cell[0]} with {cell[1]} pruned there is: {kept} kept."
    kinds = listed(list(dict.fromkeys(cells.loc[cells["network"] == cell[0], "pruned"])))
    return f"{here} Of {cell[0]} there is: {kinds}."
