"""Which norm should choose the filters to prune (notebook 10)."""

import copy

from prunelab.batchnorm import recalibrate_bn
from prunelab.data import load_data
from prunelab.filters import apply_filter_pruning
from prunelab.finetuning import get_finetune_optimizer
from prunelab.masks import get_masks
from prunelab.studies.dense import dense_network
from prunelab.studies.shared import networks, retrain
from prunelab.training import evaluate

RATIOS = (0.1, 0.3, 0.5)
CRITERIA = ("l1", "l2", "random")
STEPS = 215
LEARNING_RATE = 0.01


def grid(seeds: int) -> list[dict]:
    return [
        {**start, "ratio": ratio, "criterion": criterion}
        for start in networks("dense", seeds)
        if start["network"] == "small_convnet"
        for ratio in RATIOS
        for criterion in CRITERIA
    ]


def measure(
    network: str, learning_rate: float, seed: int, ratio: float, criterion: str
) -> list[dict]:
    data = load_data()
    dense = dense_network(network, learning_rate, seed)
    by_l1 = apply_filter_pruning(copy.deepcopy(dense), ratio)
    model = apply_filter_pruning(dense, ratio, criterion=criterion, seed=seed)
    setting = {"network": network, "seed": seed, "ratio": ratio, "criterion": criterion}
    setting["filters"] = sum(len(mask) for mask in get_masks(model).values())
    setting["kept_otherwise_than_l1"] = kept_in_one_only(model, by_l1)

    accuracy = {"pruned": evaluate(model, data.test).accuracy}
    recalibrated = recalibrate_bn(copy.deepcopy(model), data.train.x[:12800])
    accuracy["recalibrated"] = evaluate(recalibrated, data.test).accuracy
    retrain(model, data, get_finetune_optimizer(model, STEPS, lr=LEARNING_RATE), STEPS, seed)
    accuracy["fine-tuned"] = evaluate(model, data.test).accuracy
    return [{**setting, "stage": stage, "accuracy": a} for stage, a in accuracy.items()]


def kept_in_one_only(a, b) -> int:
    """How many filters `a` keeps and `b` does not."""
    kept = [{n: m.flatten(1).any(1) for n, m in get_masks(model).items()} for model in (a, b)]
    return sum(int((kept[0][name] & ~kept[1][name]).sum()) for name in kept[0])
