"""Accuracy right after one-shot pruning, before any retraining (notebook 01)."""

import copy
import warnings

import pandas as pd

from prunelab.data import load_data
from prunelab.pruning import LayerCollapse, apply_global_pruning
from prunelab.studies.dense import dense_network
from prunelab.studies.shared import networks
from prunelab.training import evaluate

SPARSITIES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
RULES = (
    ("l1", "global"),
    ("l1", "layerwise"),
    ("lamp", "global"),
    ("random", "global"),
    ("random", "layerwise"),
)


def grid(seeds: int) -> list[dict]:
    return networks("dense", seeds)


def measure(network: str, learning_rate: float, seed: int) -> list[dict]:
    data = load_data()
    dense = dense_network(network, learning_rate, seed)
    rows = []
    for criterion, scope in RULES:
        for sparsity in SPARSITIES:
            pruned = copy.deepcopy(dense)
            with warnings.catch_warnings():  # an emptied layer is a result here
                warnings.simplefilter("ignore", LayerCollapse)
                apply_global_pruning(
                    pruned, sparsity=sparsity, criterion=criterion, scope=scope, seed=seed
                )
            rows.append(
                {
                    "network": network,
                    "seed": seed,
                    "criterion": criterion,
                    "scope": scope,
                    "sparsity": sparsity,
                    **evaluate(pruned, data.test)._asdict(),
                }
            )
    return rows


def with_rules(table: pd.DataFrame) -> pd.DataFrame:
    """The table with a column `rule`: criterion and scope in words."""
    names = {"l1": "magnitude", "lamp": "LAMP", "random": "random"}
    return table.assign(rule=table["criterion"].map(names) + ", " + table["scope"])
