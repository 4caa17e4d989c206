"""More networks wherever five could not tell which of two is better (notebooks 04, 08, 12, 13).

Nothing is chosen anew: every learning rate and every teacher's share is the one that validation
images have chosen in the recorded studies. The networks are those after the recorded ones.
"""

import pandas as pd

from prunelab.data import load_data
from prunelab.intervals import choose
from prunelab.lab.results import load_results
from prunelab.studies import gradual, learning_rates, structured
from prunelab.studies.recovery import AS_LONG, best, recovered, size
from prunelab.studies.shared import accuracies, networks

CELL = ["pruned", "density", "budget"]
ALONE = ("cosine",)
"""A claim about this way beside the dense network that was trained as long."""
TEACHER = ("cosine", "distillation")
RECOVERY = {
    "recovery_resnet20_filters": {
        ("filters", 0.5, 1.0): TEACHER,
        ("filters", 0.5, 0.25): TEACHER,
    },
    "recovery_resnet20_weights": {
        ("weights", 0.05, 1.0): (*TEACHER, "gradual"),
        ("weights", 0.05, 0.25): TEACHER,
    },
    "recovery_convnet": {
        ("filters", 0.5, 1.0): TEACHER,
        ("weights", 0.05, 1.0): TEACHER,
        ("weights", 0.05, 0.25): TEACHER,
    },
    "recovery_lenet300": {
        ("filters", 0.5, 1.0): (*TEACHER, "last rate"),
        ("filters", 0.2, 1.0): TEACHER,
        ("weights", 0.2, 1.0): TEACHER,
        ("weights", 0.2, 0.25): TEACHER,
        ("weights", 0.05, 1.0): ALONE,
        ("nothing", 1.0, 1.0): tuple(way for way, budgets in AS_LONG.items() if 1.0 in budgets),
    },
    "recovery_lenet300_densities": {("weights", 0.1, 1.0): ALONE},
}
"""Of each study of recovery: what is pruned, density and budget; and the ways to compare."""
RATES = {"network": "half_convnet", "sparsity": 0.8, "steps": 215, "schedule": "cosine"}
STEPS = {"network": "lenet300", "sparsity": 0.97, "budgets": 1}
FILTERS = {"network": "half_convnet", "ratio": 0.75, "method": "before"}


def grid(seeds: int) -> list[dict]:
    """Way after way, each on all networks, so that no two processes train the same dense one."""
    comparisons = {study: cells(load_results(study), ways) for study, ways in RECOVERY.items()}
    comparisons |= other_comparisons()
    return [
        {"study": study, **comparison, "seed": seed}
        for study, compared in comparisons.items()
        for comparison in compared
        for seed in following(load_results(study), seeds)
    ]


def cells(recorded: pd.DataFrame, wanted: dict) -> list[dict]:
    """What of a study of recovery is to be compared, with the settings that were chosen for it."""
    training = recorded[(recorded["role"] == "choice") & (recorded["method"] == "training")]
    dense_at = best(training.to_dict("records"), "rate")
    compared = recorded[recorded["role"] == "comparison"].assign(dense_at=dense_at)
    columns = ["network", *CELL, "method", "rate", "alpha", "dense_at"]
    settings = compared[columns].drop_duplicates().astype(object)
    settings = settings.where(settings.notna(), None).set_index([*CELL, "method"], drop=False)
    return [settings.loc[(*cell, way)].to_dict() for cell, ways in wanted.items() for way in ways]


def other_comparisons() -> dict[str, list[dict]]:
    """A tenth of the rate or the best; five steps or one; filters or weights."""
    dense_at = {start["network"]: start["learning_rate"] for start in networks("trajectories", 1)}

    def of(setting: dict, **more) -> dict:
        return setting | {"learning_rate": dense_at[setting["network"]]} | more

    return {
        "learning_rates": [
            of(RATES, rate=rate) for rate in (chosen_rate("learning_rates", **RATES), 0.1)
        ],
        "gradual": [
            of(STEPS, method=way, rate=chosen_rate("gradual", **STEPS, method=way))
            for way in ("five steps", "one-shot")
        ],
        "structured": [
            of(FILTERS, pruned=what) for what in (structured.FILTERS, structured.EQUAL_PARAMETERS)
        ],
    }


def chosen_rate(study: str, **setting) -> float:
    rows = load_results(study)
    here = rows[(rows[list(setting)] == list(setting.values())).all(axis=1)]
    return choose(here, ["network"], "rate")["rate"].item()


def following(recorded: pd.DataFrame, seeds: int) -> range:
    """The seeds after those that are recorded."""
    if "role" in recorded:
        recorded = recorded[recorded["role"] == "comparison"]
    first = int(recorded["seed"].max()) + 1
    return range(first, first + seeds)


def measure(study: str, **setting) -> list[dict]:
    """The row of one network, as the study that could not tell has measured it."""
    return [{"study": study} | MEASURED.get(study, brought_back)(**setting)]


def brought_back(dense_at: float, **setting) -> dict:
    model = recovered(**setting, dense_at=dense_at)
    row = {**setting, "role": "comparison", **size(model)}
    return row | accuracies(model, load_data())


def pruned_only(**setting) -> dict:
    (row,) = structured.measure(**setting)
    return row


MEASURED = {
    "learning_rates": learning_rates.retrained,
    "gradual": gradual.retrained,
    "structured": pruned_only,
}
"""What measures a row of those studies that are not of recovery."""
