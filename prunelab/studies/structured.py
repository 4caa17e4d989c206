"""Filters or single weights: what is lost, and what brings it back (notebook 12).

A network without half its filters is set beside one that has as many parameters, and one that
needs as many multiplications, but lost single weights. All are retrained for as long as the dense
network was trained, but for the steps that rewinding skips.
"""

import copy
import warnings

from scipy.optimize import bisect
from torch import Tensor, nn

from prunelab.batchnorm import recalibrate_bn
from prunelab.data import load_data
from prunelab.distillation import distill
from prunelab.pruning import LayerCollapse, apply_global_pruning
from prunelab.rewinding import reinitialize, weight_rewinding
from prunelab.studies.rewinding import schedule
from prunelab.studies.shared import SPLITS, cost, networks, of_kept_channels, retrain
from prunelab.studies.trajectories import STEPS, dense_network, moment, weights_on_the_way
from prunelab.surgery import prune_network
from prunelab.training import evaluate

RATIOS = (0.5, 0.75)
FILTERS, EQUAL_PARAMETERS, EQUAL_MACS = (
    "filters",
    "weights, equal parameters",
    "weights, equal MACs",
)
METHODS = ("before", "fine-tune", "LR rewinding", "rewind to late", "distillation", "scratch")
PRUNED = {
    "lenet300": {FILTERS: METHODS, EQUAL_PARAMETERS: METHODS},
    "half_convnet": {
        FILTERS: (*METHODS, "recalibrated"),
        EQUAL_PARAMETERS: (*METHODS, "recalibrated"),
        EQUAL_MACS: ("before", "recalibrated", "fine-tune", "LR rewinding"),
    },
}
"""In a network of linear layers a weight is one multiplication: equal MACs are equal parameters."""
TEMPERATURE, ALPHA = 4.0, 0.0
"""What notebook 02 found best on validation."""


def grid(seeds: int) -> list[dict]:
    return [
        {**start, "pruned": pruned, "ratio": ratio, "method": method}
        for start in networks("trajectories", seeds)
        for ratio in RATIOS
        for pruned, methods in PRUNED[start["network"]].items()
        for method in methods
    ]


def measure(
    network: str, learning_rate: float, seed: int, pruned: str, ratio: float, method: str
) -> list[dict]:
    data = load_data()
    dense = dense_network(network, learning_rate, seed)
    model = without(dense, pruned, ratio, data.train.x[:1])
    row = {"network": network, "seed": seed, "pruned": pruned, "ratio": ratio, "method": method}
    row |= cost(model, data.train.x[:1])
    if method == "recalibrated":
        recalibrate_bn(model, data.train.x[:5000])
    elif method != "before":
        recover(model, dense, data, network, learning_rate, seed, method)
    for split in SPLITS:
        row[f"{split}_accuracy"] = evaluate(model, getattr(data, split)).accuracy
        row[f"{split}_dense"] = evaluate(dense, getattr(data, split)).accuracy
    return [row]


def without(dense: nn.Module, pruned: str, ratio: float, x: Tensor) -> nn.Module:
    """The network without a share of its filters, or with single weights masked to match it."""
    small = prune_network(dense, ratio, x)
    if pruned == FILTERS:
        return small
    key = "parameters" if pruned == EQUAL_PARAMETERS else "macs"
    wanted = cost(small, x)[key]

    def excess(sparsity: float) -> float:
        with warnings.catch_warnings():  # the search looks beyond what is wanted
            warnings.simplefilter("ignore", LayerCollapse)
            return (
                cost(apply_global_pruning(copy.deepcopy(dense), sparsity=sparsity), x)[key] - wanted
            )

    return apply_global_pruning(copy.deepcopy(dense), sparsity=bisect(excess, 0, 0.999, xtol=1e-5))


def recover(model, dense, data, network: str, learning_rate: float, seed: int, method: str) -> None:
    """Train in place; every method but fine-tuning repeats the dense network's learning rates."""
    steps = STEPS[network]
    if method == "rewind to late":
        state = weights_on_the_way(network, learning_rate, seed)["late"]
        weight_rewinding(model, of_kept_channels(state, model))
        steps -= moment(network, "late")
    elif method == "scratch":
        reinitialize(model, seed=1000 + seed)
    pair = schedule(model, method, learning_rate, steps, STEPS[network])
    loss = distill(dense, TEMPERATURE, ALPHA) if method == "distillation" else None
    retrain(model, data, pair, steps, seed=1000 + seed, loss=loss)
