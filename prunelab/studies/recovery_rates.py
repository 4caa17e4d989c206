"""Going back, and the two controls, at rates that were chosen for them (notebook 13).

In the other studies of recovery, what repeats the dense training's schedule repeats its highest
rate, too. Here validation images choose it, as for a cosine: on two networks that are not among
those compared, from a grid that is widened until the best rate lies inside.
"""

from prunelab.data import load_data
from prunelab.lab.cache import remember
from prunelab.studies import recovery
from prunelab.studies.shared import accuracies

SETTINGS = {
    "lenet300": {"weights": (0.2, 0.05), "filters": (0.5, 0.2)},
    "convnet": {"weights": (0.05,), "filters": (0.5,)},
    "resnet20": {"weights": (0.05,), "filters": (0.5,)},
}
"""Densities by network and by what is pruned: those where nearly all ways are compared."""
WAYS = {
    "LR rewinding": recovery.BUDGETS,
    "rewinding to early": (1.0,),
    "scratch": recovery.BUDGETS,
    "random mask": recovery.BUDGETS,
}
WAYS_OF_RESNET20 = {"LR rewinding": recovery.BUDGETS}
"""Its steps are dear."""


def grid(seeds: int) -> list[dict]:
    cells = [
        {
            "network": network,
            "pruned": pruned,
            "density": density,
            "method": method,
            "budget": budget,
        }
        for network, densities in SETTINGS.items()
        for pruned, several in densities.items()
        for density in several
        for method, budgets in (WAYS_OF_RESNET20 if network == "resnet20" else WAYS).items()
        for budget in budgets
    ]
    return [{**cell, "seed": seed} for seed in (None, *range(seeds)) for cell in cells]


def measure(seed: int | None, **cell) -> list[dict]:
    """The rows of a choice (seed None), without test images; or the one row of a comparison."""
    tries = remember(tried, **cell)
    if seed is None:
        return tries
    how = {"rate": recovery.best(tries, "rate"), "alpha": None}
    model = recovery.recovered(**cell, seed=seed, **how)
    row = {**cell, "role": "comparison", "seed": seed, **how, **recovery.size(model)}
    return [row | accuracies(model, load_data())]


def tried(**cell) -> list[dict]:
    """The search for a rate begins with the dense training's."""
    usual = {"rate": recovery.dense_rate(cell["network"]), "alpha": None}
    return recovery.rates_tried(cell, usual)
