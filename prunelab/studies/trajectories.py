"""Dense networks by SGD on a step schedule, with their weights on the way (notebooks 02-04, 08).

Rewinding needs the weights at iteration k, and a learning rate that falls in steps. So these
networks are trained for the studies of recovery: for fewer epochs than those of `dense`, since
each of them is retrained hundreds of times.
"""

from functools import partial

from torch import nn

from prunelab.data import load_data
from prunelab.finetuning import learning_rate_rewinding
from prunelab.lab.cache import remember
from prunelab.models import lenet300, small_convnet
from prunelab.rewinding import State, snapshot
from prunelab.studies.shared import retrain, split_rows, with_weights

BUILD = {"lenet300": lenet300, "half_convnet": partial(small_convnet, width=8)}
STEPS = {"lenet300": 2150, "half_convnet": 1720}  # 5 and 4 epochs of 430 steps
LEARNING_RATES = {"lenet300": (0.01, 0.03, 0.1), "half_convnet": (0.1, 0.3, 1.0)}
MOMENTS = {"start": 0.0, "early": 0.02, "late": 0.1, "end": 1.0}
"""Shares of the training after which the weights are kept."""


def grid(seeds: int) -> list[dict]:
    return [
        {"network": network, "learning_rate": learning_rate, "seed": seed}
        for network in BUILD
        for learning_rate in LEARNING_RATES[network]
        for seed in range(seeds)
    ]


def measure(network: str, learning_rate: float, seed: int) -> list[dict]:
    return remember(train, network=network, learning_rate=learning_rate, seed=seed)[0]


def moment(network: str, name: str) -> int:
    """The step of a moment of training."""
    return round(MOMENTS[name] * STEPS[network])


def train(network: str, learning_rate: float, seed: int) -> tuple[list[dict], dict[str, State]]:
    """Train from scratch; return the rows and the weights at every moment."""
    data = load_data()
    model = BUILD[network](seed=seed)
    pair = learning_rate_rewinding(model, STEPS[network], lr=learning_rate)
    states, reached = {"start": snapshot(model)}, 0
    for i, name in enumerate(list(MOMENTS)[1:]):
        retrain(model, data, pair, moment(network, name) - reached, seed=10 * seed + i)
        states[name], reached = snapshot(model), moment(network, name)
    setting = {"network": network, "learning_rate": learning_rate, "seed": seed}
    setting["steps"] = STEPS[network]
    return split_rows(model, data, setting), states


def weights_on_the_way(network: str, learning_rate: float, seed: int) -> dict[str, State]:
    """The weights at every moment of training, from the cache if it has been done here before."""
    return remember(train, network=network, learning_rate=learning_rate, seed=seed)[1]


def dense_network(network: str, learning_rate: float, seed: int) -> nn.Module:
    """The network at the end of its training."""
    return with_weights(BUILD[network], weights_on_the_way(network, learning_rate, seed)["end"])
