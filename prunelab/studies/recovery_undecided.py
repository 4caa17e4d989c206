"""More networks wherever five could not tell which way back is better (notebook 13).

Nothing is chosen anew: every learning rate and every teacher's share is the one that validation
images have chosen in the recorded studies of recovery. The networks are those after the recorded.
"""

import pandas as pd

from prunelab.data import load_data
from prunelab.lab.results import load_results
from prunelab.studies.recovery import AS_LONG, best, recovered, size
from prunelab.studies.shared import accuracies

CELL = ["pruned", "density", "budget"]
ALONE = ("cosine",)
"""A claim about this way beside the dense network that was trained as long."""
TEACHER = ("cosine", "distillation")
UNDECIDED = {
    "recovery_resnet20_filters": {
        ("filters", 0.5, 1.0): TEACHER,
        ("filters", 0.5, 0.25): TEACHER,
    },
    "recovery_resnet20_weights": {("weights", 0.05, 1.0): ("cosine", "gradual")},
    "recovery_convnet": {("filters", 0.5, 1.0): TEACHER},
    "recovery_lenet300": {
        ("filters", 0.5, 1.0): (*TEACHER, "last rate"),
        ("filters", 0.2, 1.0): TEACHER,
        ("weights", 0.05, 1.0): ALONE,
        ("nothing", 1.0, 1.0): tuple(way for way, budgets in AS_LONG.items() if 1.0 in budgets),
    },
    "recovery_lenet300_densities": {("weights", 0.1, 1.0): ALONE},
}
"""Of each recorded study: what is pruned, the density and the budget, and the ways to compare."""


def grid(seeds: int) -> list[dict]:
    """Way after way, each on all networks, so that no two processes train the same dense one."""
    return [
        {**cell, "seed": seed}
        for study, wanted in UNDECIDED.items()
        for recorded in (load_results(study),)
        for cell in cells(recorded, wanted)
        for seed in following(recorded, seeds)
    ]


def cells(recorded: pd.DataFrame, wanted: dict) -> list[dict]:
    """What is to be compared, with the settings that were chosen for it."""
    training = recorded[(recorded["role"] == "choice") & (recorded["method"] == "training")]
    dense_at = best(training.to_dict("records"), "rate")
    compared = recorded[recorded["role"] == "comparison"].assign(dense_at=dense_at)
    columns = ["network", *CELL, "method", "rate", "alpha", "dense_at"]
    settings = compared[columns].drop_duplicates().astype(object)
    settings = settings.where(settings.notna(), None).set_index([*CELL, "method"], drop=False)
    return [settings.loc[(*cell, way)].to_dict() for cell, ways in wanted.items() for way in ways]


def following(recorded: pd.DataFrame, seeds: int) -> range:
    """The seeds after those that are recorded."""
    first = int(recorded.loc[recorded["role"] == "comparison", "seed"].max()) + 1
    return range(first, first + seeds)


def measure(dense_at: float, **setting) -> list[dict]:
    """The row of one network and way."""
    model = recovered(**setting, dense_at=dense_at)
    row = {**setting, "role": "comparison", **size(model)}
    return [row | accuracies(model, load_data())]
