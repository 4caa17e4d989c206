"""Which criterion should choose channels, once everything is trained again (notebook 12).

Channels are cut for real, BatchNorm is recalibrated, and what is left is trained for a quarter of
the dense training's steps, along its schedule squeezed (LR rewinding's). Amounts are shares of the
parameters that are left, not ratios: at one ratio a global choice leaves another number of them
than a uniform one. With the scope "uniform" all criteria leave networks of one shape. With
"global" shapes differ, and parameters are as many but for one unit of channels, which cannot be
divided; parameters and multiplications that are left stand in every row.

Criteria are those of `prune_network`, with the comparison between groups that it makes: norms are
relative to their group's mean in a global choice, all other scores are taken as they are
(`channel_criteria_relative` divides them too). "Taylor" are `snip_scores` and "Fisher"
`fisher_scores` of the trained network on 1,000 training images. "random" is the control of all of
them, a network cut to the uniform shape and trained from new weights that of the shape, and the
dense network trained for as many more steps that of the training. A network without BatchNorm has
no "bn_scale".

Rates of retraining are chosen on validation images of two networks that are not among those
compared, for each share, criterion and scope, from a grid that is widened until its best lies
inside.

Two rules were fixed beforehand. A share is kept if the network of seed 100, cut to it by "l1",
"uniform", and retrained at the dense training's rate, still has 90 % of the dense network's
validation accuracy. And a study with five networks takes at most three hours of one core: the
residual network, whose steps are dear, keeps the middle share only. It has a study of its own,
`channel_criteria_resnet20`, as has the convolutional network, `channel_criteria_convnet`.
"""

import copy
from functools import partial

import pandas as pd
from torch import Tensor, nn

from prunelab.batchnorm import recalibrate_bn
from prunelab.data import load_data
from prunelab.early import snip_scores
from prunelab.engines.fisher import fisher_scores
from prunelab.finetuning import learning_rate_rewinding
from prunelab.intervals import choose
from prunelab.lab.cache import remember
from prunelab.rewinding import State, reinitialize
from prunelab.studies import recovery
from prunelab.studies.before_training import images
from prunelab.studies.shared import accuracies, cost, retrain, widened, with_weights
from prunelab.surgery import prune_network
from prunelab.training import evaluate

LEFT = {"lenet300": (0.5, 0.25, 0.1), "convnet": (0.5, 0.25, 0.1), "resnet20": (0.25,)}
"""Shares of the parameters that are left."""
NAMED = ("l1", "l2", "bn_scale", "random")
SCORED = {"Taylor": snip_scores, "Fisher": fisher_scores}
CRITERIA = (*NAMED, *SCORED)
RELATIVE = {f"{name}, relative": name for name in SCORED}
"""Criteria that are taken relative to their group's mean as well."""
SCOPES = ("uniform", "global")
NOTHING = {"left": 1.0, "criterion": "none", "scope": "none"}
NEW_WEIGHTS = "new weights"
BUDGET = 0.25
"""Steps of retraining, as a share of the dense training's."""
FIRST_RATES = (0.03, 0.3)


def grid(seeds: int) -> list[dict]:
    return points("lenet300", seeds)


def points(network: str, seeds: int) -> list[dict]:
    """All choices first."""
    cells = [{"network": network, **NOTHING}]
    for left in LEFT[network]:
        cut_by = [(criterion, scope) for scope in SCOPES for criterion in CRITERIA]
        cells += [
            {"network": network, "left": left, "criterion": criterion, "scope": scope}
            for criterion, scope in [(NEW_WEIGHTS, "uniform"), *cut_by]
            if not (criterion == "bn_scale" and network == "lenet300")
        ]
    return [{**cell, "seed": seed} for seed in (None, *range(seeds)) for cell in cells]


def measure(network: str, left: float, criterion: str, scope: str, seed: int | None) -> list[dict]:
    """The rows of a choice (seed None), without test images; or a row a stage of a comparison."""
    cell = {"network": network, "left": left, "criterion": criterion, "scope": scope}
    tries = remember(tried, **cell)
    if seed is None:
        return tries
    data, rate = load_data(), choose(pd.DataFrame(tries), ["network"], "rate")["rate"].item()
    model = smaller(**cell, seed=seed)
    row = {**cell, "role": "comparison", "seed": seed, **cost(model, data.train.x[:1])}
    rows = []
    if criterion != NEW_WEIGHTS:
        rows.append({**row, "stage": "cut", **accuracies(model, data)})
        if has_batch_norm(model):
            recalibrated = recalibrate_bn(copy.deepcopy(model), data.train.x[:5000])
            rows.append({**row, "stage": "recalibrated", **accuracies(recalibrated, data)})
    retrained(model, network, rate, seed)
    return [*rows, {**row, "stage": "retrained", "rate": rate, **accuracies(model, data)}]


def tried(network: str, left: float, criterion: str, scope: str) -> list[dict]:
    cell = {"network": network, "left": left, "criterion": criterion, "scope": scope}
    return widened(partial(attempts, cell), recovery.RATES, *FIRST_RATES)


def attempts(cell: dict, rate: float) -> list[dict]:
    return [
        {**cell, "role": "choice", "seed": seed, "stage": "retrained", "rate": rate}
        | {"valid_accuracy": remember(attempt, **cell, seed=seed, rate=rate)}
        for seed in recovery.TUNING_SEEDS
    ]


def attempt(network: str, left: float, criterion: str, scope: str, seed: int, rate: float) -> float:
    model = smaller(network, left, criterion, scope, seed)
    retrained(model, network, rate, seed)
    return evaluate(model, load_data().valid).accuracy


def smaller(network: str, left: float, criterion: str, scope: str, seed: int) -> nn.Module:
    """A trained network without the channels that score lowest, or its shape with new weights."""
    dense = with_weights(recovery.ORIGINALS[network].build, trained(network, seed))
    if criterion == NOTHING["criterion"]:
        return dense
    by = "l1" if criterion == NEW_WEIGHTS else scored(criterion, dense, seed)
    how = {"criterion": by, "scope": scope, "seed": seed, "target": {"parameters": left}}
    how["relative"] = True if criterion in RELATIVE else None
    model = prune_network(dense, example_inputs=load_data().train.x[:1], **how)
    if criterion == NEW_WEIGHTS:
        reinitialize(model, seed=1000 + seed)
    return model


def trained(network: str, seed: int) -> State:
    """The dense network's weights, which the studies of recovery have trained too."""
    how = {"network": network, "seed": seed, "rate": recovery.dense_rate(network)}
    return remember(recovery.training, **how)["end"]


def scored(criterion: str, dense: nn.Module, seed: int) -> str | dict[str, Tensor]:
    """What `prune_network` is told."""
    if criterion in NAMED:
        return criterion
    return SCORED[RELATIVE.get(criterion, criterion)](dense, images(seed))


def retrained(model: nn.Module, network: str, rate: float, seed: int) -> None:
    """Recalibrate BatchNorm and train, in place."""
    original, data = recovery.ORIGINALS[network], load_data()
    steps = round(BUDGET * original.steps)
    if has_batch_norm(model):
        recalibrate_bn(model, data.train.x[:5000])
    pair = learning_rate_rewinding(model, steps, lr=rate)
    retrain(model, data, pair, steps, seed=1000 + seed, batch_size=original.batch_size)


def has_batch_norm(model: nn.Module) -> bool:
    return any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
