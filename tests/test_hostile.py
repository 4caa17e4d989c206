"""Hostile arguments: one line in our words that names the argument, and nothing is changed."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm
from torch.optim.lr_scheduler import ConstantLR

from prunelab import models
from prunelab.batchnorm import recalibrate_bn
from prunelab.data import Data, Split
from prunelab.distillation import distill, kd_loss
from prunelab.filters import apply_filter_pruning, weight_penalty
from prunelab.finetuning import get_finetune_optimizer, learning_rate_rewinding, one_cycle
from prunelab.gradual import gradual_pruning, sparsity_schedule
from prunelab.lottery import prune_round, random_masks, supermask
from prunelab.masks import get_masks, make_pruning_permanent, set_mask
from prunelab.models import pretrained
from prunelab.pruning import apply_global_pruning
from prunelab.rewinding import error_barrier, reinitialize, snapshot, weight_rewinding
from prunelab.sparsity import (
    CSRLinear,
    binary_entropy,
    bytes_on_disk,
    check_sparsity,
    count_macs,
    latency,
    total_sparsity,
)
from prunelab.surgery import (
    channel_groups,
    load_network,
    prune_channels,
    prune_network,
    save_network,
)
from prunelab.training import evaluate, fit
from tests.helpers import left_as_it_was

KEPT = ("conv1", "conv2", "conv3", "fc")
IMAGES = torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))
SPLIT = Split(IMAGES, torch.arange(8) % 10)
DATA = Data("images", SPLIT, SPLIT, SPLIT, tuple("0123456789"))
RATES = {"conv1": 0.5, "conv2": 0.5, "conv3": 0.5, "fc": 0.5}
quiet_fit = partial(fit, data=DATA, steps=1, batch_size=4, progress=False, device="cpu")


def net(width: int = 2) -> nn.Module:
    return models.small_convnet(width=width, seed=0)


def settled(model: nn.Module, x=IMAGES) -> nn.Module:
    """After a pass without gradients, as computed weights cannot be copied before."""
    with torch.no_grad():
        model(x)
    return model


def changed(change) -> nn.Module:
    """A network whose convolutions and linear layers are changed by a function."""
    model = net()
    for name in KEPT:
        setattr(model, name, change(getattr(model, name)))
    return settled(model)


def with_nan(value: float = torch.nan) -> nn.Module:
    model = net()
    with torch.no_grad():
        model.conv2.weight[0, 0, 0, 0] = value
    return model


def half_pruned(seed: int = 0) -> nn.Module:
    model = models.small_convnet(width=2, seed=seed)
    return apply_global_pruning(model, sparsity=0.5, scope="layerwise")


class Tied(nn.Module):
    """An output layer that shares its weight with an embedding."""

    def __init__(self):
        super().__init__()
        self.embedding, self.middle = nn.Embedding(5, 4), nn.Linear(4, 4)
        self.head = nn.Linear(4, 5)
        self.head.weight = self.embedding.weight

    def forward(self, x):
        return self.head(self.middle(self.embedding(x)))


def tied_by(way) -> nn.Module:
    """The same, tied in other ways than by one parameter."""
    model = Tied()
    model.head.weight = nn.Parameter(way(model.embedding.weight.data))
    return model


def tied_and_masked() -> nn.Module:
    model = Tied()
    prune.l1_unstructured(model.head, "weight", 0.5)
    return settled(model, torch.arange(5))


def masks(**changes) -> dict:
    return {name: torch.ones_like(getattr(net(), name).weight) for name in KEPT} | changes


half = torch.full((10, 8), 0.5)
wrong = torch.ones(10, 8)
wrong[0, 0] = torch.nan
NUMBERS = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 0])
STATE = {"a.weight": NUMBERS}
prune_some = partial(apply_global_pruning, amount=0.5)
quiet_gradual = partial(gradual_pruning, data=DATA, schedule=[0.5], steps_per_round=1, batch_size=4)

CASES = [  # a model, a call on it, words of the error
    # shared and computed weights
    (Tied, prune_some, "'head' shares its weight with 'embedding'.*exclude"),
    *[
        (lambda way=way: tied_by(way), prune_some, "'head' shares its weight with 'embedding'")
        for way in (lambda weight: weight, lambda weight: weight.view(-1).view(5, 4))
    ],
    (
        lambda: tied_by(lambda weight: weight),
        lambda m: prune_round(m, {"middle": 0.1, "head": 0.1}),
        "'head' shares",
    ),
    (Tied, lambda m: prune_round(m, {"middle": 0.1, "head": 0.1}), "'head' shares its weight"),
    (Tied, lambda m: weight_rewinding(m, snapshot(m), {"head": torch.ones(5, 4)}), "'head' shares"),
    (tied_and_masked, make_pruning_permanent, "'head' shares its weight with 'embedding'"),
    (lambda: changed(weight_norm), prune_some, "'conv1' computes its weight.*exclude"),
    (lambda: changed(parametrizations.weight_norm), prune_some, "'conv1' computes its weight"),
    (lambda: changed(spectral_norm), prune_some, "'conv1' computes its weight"),
    (lambda: changed(weight_norm), lambda m: apply_filter_pruning(m, 0.5), "'conv1' computes"),
    (lambda: changed(weight_norm), lambda m: prune_round(m, RATES), "'conv1' computes"),
    (lambda: changed(weight_norm), lambda m: set_mask(m.fc, torch.ones(10, 8)), "layer compute"),
    (net, lambda m: prune_some(m, seed=2**63), "seed=9223372036854775808 must"),
    (net, lambda m: apply_filter_pruning(m, 0.5, seed=-1), "seed=-1 must"),
    (net, lambda m: reinitialize(m, -1), "seed=-1 must"),
    # masks
    *[
        (net, lambda m, mask=mask: weight_rewinding(m, snapshot(m), masks(fc=mask)), words)
        for mask, words in [
            (half, r"mask_dict\['fc'\].*0 or 1"),
            (wrong, r"mask_dict\['fc'\].*0 or 1"),
            (-torch.ones(10, 8), r"mask_dict\['fc'\].*0 or 1"),
            (torch.ones(1, 8), r"mask_dict\['fc'\] \(1, 8\) .*\(10, 8\)"),
            (torch.ones(8), r"mask_dict\['fc'\] \(8,\) .*\(10, 8\)"),
            (np.ones((10, 8)), r"mask_dict\['fc'\] must be a tensor"),
            (None, r"mask_dict\['fc'\] must be a tensor"),
        ]
    ],
    (net, lambda m: weight_rewinding(m, snapshot(m), masks(fc9=half)), "mask_dict has 'fc9'"),
    (net, lambda m: weight_rewinding(m, snapshot(m), [half]), "mask_dict must be a dictionary"),
    (net, lambda m: set_mask(m.fc, half), "mask .*0 or 1"),
    (net, lambda m: set_mask(m.fc, torch.ones(8)), r"mask \(8,\) .*\(10, 8\)"),
    (lambda: prune_some(net()), lambda m: set_mask(m.fc, torch.ones(1, 8)), r"mask \(1, 8\)"),
    (net, lambda m: set_mask(m.fc, [[1]]), "mask must be a tensor"),
    (net, lambda m: set_mask(m.bn1, torch.ones(2)), "layer .*BatchNorm2d"),
    # states
    (net, lambda m: weight_rewinding(m, None), "initial_state_dict must be a dictionary"),
    (net, lambda m: weight_rewinding(m, dict.fromkeys(m.state_dict(), 1.0)), "initial_state_dict"),
    (net, lambda m: prune_round(m, RATES | {"fc": 2.0}), r"rates\['fc'\]=2.0"),
    (net, lambda m: prune_round(m, None), "rates must be a dictionary"),
    # training
    *[
        (net, lambda m, device=device: quiet_fit(m, device=device), "device=.*cpu")
        for device in ("gpu", "", "meta", "cuda:99", "mps:9", 2.5, [])
    ],
    *[
        (lambda: prune_some(net()), lambda m, loss=loss: quiet_fit(m, loss=loss), words)
        for loss, words in [
            ("mse", "loss='mse' must be a function"),
            (lambda outputs: outputs.sum(), "loss failed"),
            (lambda outputs, labels: outputs, "loss .*one number"),
            (lambda outputs, labels: 1.0, "loss .*one number"),
            (lambda outputs, labels: outputs.sum().detach(), "loss .*gradient"),
            (nn.functional.mse_loss, "loss failed"),
        ]
    ],
    (net, lambda m: quiet_fit(m, optimizer="adam"), "optimizer='adam' must be"),
    (net, lambda m: quiet_fit(m, scheduler="cosine"), "scheduler='cosine' must be"),
    (net, lambda m: quiet_fit(m, data=None), "data must be"),
    (net, lambda m: quiet_fit(m, data=SPLIT), "data must be"),
    (net, lambda m: quiet_fit(m, eval_splits=None), "eval_splits=None"),
    (net, lambda m: quiet_fit(m, seed=-1), "seed=-1"),
    (net, lambda m: quiet_fit(m, steps=True), "steps=True"),
    (lambda: nn.Sequential(nn.Flatten(), nn.Linear(9, 10)), quiet_fit, "does not run"),
    (net, lambda m: quiet_gradual(m, device="gpu"), "device='gpu'"),
    (net, lambda m: quiet_gradual(m, schedule=None), r"schedule=\[None\]"),
    (net, lambda m: quiet_gradual(m, loss="mse"), "loss='mse'"),
    (net, lambda m: evaluate(m, None), "split must be"),
    (net, lambda m: evaluate(m, DATA), "split must be"),
    (net, lambda m: evaluate(m, Split(IMAGES, LABELS)), r"split\.y \(4,\) must .* 8 images"),
    (net, lambda m: evaluate(m, SPLIT, batch_size=0), "batch_size=0"),
    (net, lambda m: recalibrate_bn(m, IMAGES[:, 0, 0]), "does not run on x"),
    (net, lambda m: recalibrate_bn(m, IMAGES, batch_size="3"), "batch_size='3'"),
    (net, lambda m: latency(m, None), "x must be a tensor"),
    (net, lambda m: latency(m, IMAGES, threads=0), "threads=0"),
    (net, lambda m: latency(m, IMAGES, min_seconds=0), "min_seconds=0 must be greater"),
    (net, lambda m: latency(m, NUMBERS), r"does not run on x=\(4, 3\)"),
    (net, lambda m: get_finetune_optimizer(m, 1, lr="0.1"), "lr='0.1'"),
    (net, lambda m: get_finetune_optimizer(m, 1, lr=torch.inf), "lr=inf"),
    (net, lambda m: get_finetune_optimizer(m, 1, lr=True), "lr=True"),
    (net, lambda m: learning_rate_rewinding(m, 1, milestones=None), "milestones=None"),
    (net, lambda m: error_barrier(m, m, SPLIT, points="9"), "points='9'"),
    # distillation
    (net, lambda m: kd_loss(NUMBERS[:0], NUMBERS[:0], LABELS[:0]), "outputs .*empty"),
    (net, lambda m: kd_loss(NUMBERS, NUMBERS, LABELS, T=1e30), "T=1e\\+30"),
    (net, lambda m: kd_loss(NUMBERS, NUMBERS, LABELS, T="3"), "T='3'"),
    (net, lambda m: kd_loss(NUMBERS, NUMBERS, LABELS, alpha=None), "alpha=None"),
    (net, lambda m: kd_loss(None, NUMBERS, LABELS), "outputs must be a tensor"),
    (net, lambda m: kd_loss(NUMBERS, NUMBERS, LABELS.float()), "labels .*int64"),
    (net, lambda m: kd_loss(NUMBERS, NUMBERS, LABELS + 1), "labels .*from 0 to 2"),
    # tickets
    (net, lambda m: random_masks([half], 0), "masks must be a dictionary"),
    (net, lambda m: random_masks({"fc": None}, 0), r"masks\['fc'\] must be a tensor"),
    *[
        (net, lambda m, given=given: supermask(*given), words)
        for given, words in [
            ((None, STATE, {}), "^initial must be a dictionary"),
            ((STATE, None, {}), "^trained must be a dictionary"),
            ((STATE, STATE, None), "^keep must be a dictionary"),
            ((STATE, STATE, {"b": 1}), "^keep has 'b'"),
            ((STATE, STATE, {}, "small"), "^criterion='small' is unknown"),
            ((STATE, {"a.weight": NUMBERS[:1]}, {"a": 1}), "^keep has 'a'"),
            ((STATE, STATE, {"a": 1.5}), r"^keep\['a'\]=1\.5 must be"),
        ]
    ],
    # surgery
    (with_nan, lambda m: prune_network(m, 0.5, IMAGES), "'conv2.weight' .*NaN"),
    (with_nan, lambda m: prune_network(m, 0.5, IMAGES, "random"), "'conv2.weight' .*NaN"),
    (with_nan, lambda m: prune_network(m, 0.5, IMAGES, "bn_scale"), "'conv2.weight' .*NaN"),
    (net, lambda m: prune_channels(m, "conv1", [0], None), "example_inputs is missing"),
    (net, lambda m: pretrained(None), "name=None"),
    (net, lambda m: pretrained([]), r"name=\[\]"),
]


def calls(make: Callable, function: Callable, rows: list) -> list:
    """A call with each of these options, and the words of its error."""
    return [(make, partial(function, **options), words) for options, words in rows]


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.1)


def two_convolutions() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 3, 1), nn.Conv2d(3, 1, 1))


def sharing_convolutions() -> nn.Module:
    model = nn.Sequential(nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 1))
    model[1].weight = model[0].weight
    return model


def without_statistics() -> nn.Module:
    model = net()
    model.bn2 = nn.BatchNorm2d(4, track_running_stats=False)
    return model


def no_statistics() -> dict:
    return {name: t for name, t in snapshot(net()).items() if "running" not in name}


def score_loss(model, **changed):
    return kd_loss(**{"outputs": NUMBERS, "teacher_outputs": TEACHER, "labels": LABELS} | changed)


def scheduled(model, **options):
    return sparsity_schedule(**{"kind": "step", "final": 0.9, "rounds": 5} | options)


def barrier_to(make: Callable, points: int = 1) -> Callable:
    return lambda m: error_barrier(m, make(), SPLIT, points)


nan, inf = float("nan"), float("inf")
TEACHER = NUMBERS.flip(0)
HALF = {"sparsity": 0.5}
prune_filters = partial(apply_filter_pruning, ratio=0.5)
FIT = [
    ({"steps": None}, "give one of steps and epochs, not steps=None and epochs=None"),
    ({"epochs": 1}, "give one of steps and epochs, not steps=1 and epochs=1"),
    ({"steps": 0}, "steps=0 must be a whole number of at least 1"),
    ({"steps": 1.5}, "steps=1.5 must be a whole number"),
    ({"steps": None, "epochs": -1}, "epochs=-1 must be"),
    ({"eval_every": 0}, "eval_every=0 must be"),
    ({"batch_size": 0}, "batch_size=0 must be from 1 to the 8 training images"),
    ({"batch_size": 9}, "batch_size=9 must be from 1 to the 8 training images"),
    ({"eval_splits": ("valid", "dev")}, r"eval_splits=\('valid', 'dev'\) must be a tuple"),
    ({"eval_splits": "valid"}, "eval_splits='valid' must be a tuple"),
    ({"optimizer": sgd(net())}, "optimizer holds none of the model's parameters"),
    ({"scheduler": ConstantLR(sgd(net()))}, "scheduler belongs to another optimizer"),
]
GLOBAL = [
    (HALF | {"exclude": KEPT}, "no convolution or linear layer is left"),
    ({"amount": -0.1}, "amount=-0.1 must be a fraction"),
    ({"amount": 1.0}, "amount=1.0 must be a fraction"),
    ({"amount": 50}, "amount=50 must be a fraction.*write 0.5 for 50 %"),
    ({"amount": 1}, "amount=1 must be a fraction"),
    ({"amount": nan}, "amount=nan must be a fraction"),
    ({"amount": "0.5"}, "amount='0.5' must be a fraction"),
    ({"sparsity": 1.5}, "sparsity=1.5 must be a fraction"),
    ({"amount": 0.1, "sparsity": 0.1}, "give one of amount and sparsity"),
    ({}, "give one of amount and sparsity, not amount=None"),
    (HALF | {"criterion": "l3"}, 'criterion=\'l3\'.*"l1", "l2", "lamp" or "r'),
    (HALF | {"scope": "all"}, 'scope=\'all\'.*"global" or "layerwise"'),
    (HALF | {"exclude": "fc9"}, "exclude='fc9' is no layer.*conv1, conv2, conv3, fc"),
    (HALF | {"exclude": ""}, "exclude='' is no layer"),
]
FILTERS = [
    ({"ratio": 1.0}, "ratio=1.0 must be a fraction"),
    ({"ratio": 1}, "ratio=1 must be a fraction"),
    ({"ratio": 50}, "ratio=50 must be a fraction.*write 0.5 for 50 %"),
    ({"ratio": -0.1}, "ratio=-0.1 must be a fraction"),
    ({"ratio": nan}, "ratio=nan must be a fraction"),
    ({"ratio": None}, "ratio=None must be a fraction"),
    ({"criterion": "lamp"}, 'criterion=\'lamp\'.*choose "l1", "l2" or "random"'),
    ({"exclude": "conv9"}, "exclude='conv9' is no layer"),
    ({"exclude": KEPT[:3]}, "no layer to prune: no convolution is left"),
]
GRADUAL = [
    ({"schedule": []}, r"schedule=\[\] must be"),
    ({"schedule": [0.5, 0.5]}, "must be sparsities that increase"),
    ({"schedule": [0.6, 0.3]}, "must be sparsities that increase"),
    ({"schedule": [0.1] * 5}, "must be sparsities that increase"),
    ({"schedule": [-0.1, 0.5]}, "from 0 to below 1"),
    ({"schedule": [0.5, 1.0]}, "from 0 to below 1"),
    ({"schedule": [10, 20, 30]}, "from 0 to below 1"),
    ({"schedule": [0.1, nan, 0.5]}, "must be sparsities that increase"),
    ({"schedule": [nan]}, "must be sparsities"),
    ({"schedule": [0.1, 0.5]}, r"sparsity=0\.1 is less than the 0\.[12]"),
    ({"steps_per_round": 0}, "steps_per_round=0 must be a whole number"),
    ({"steps_per_round": 2.0}, r"steps_per_round=2\.0 must be a whole number"),
    ({"criterion": "l3"}, "criterion='l3' is unknown"),
    ({"exclude": "fc9"}, "exclude='fc9' is no layer"),
]
SCHEDULE = [
    ({"kind": "linear"}, "kind='linear' is unknown"),
    ({"final": 1.0}, "final=1.0 must be"),
    ({"final": 50}, "final=50 must be"),
    ({"final": nan}, "final=nan must be"),
    ({"initial": 0.9}, "initial=0.9 and final=0.9"),
    ({"initial": -0.1}, "initial=-0.1"),
    ({"rounds": 0}, "rounds=0 must be a whole number"),
    ({"rounds": 2.0}, "rounds=2.0 must be a whole number"),
]
SCORES = [
    ({"T": 0}, "T=0 must be greater than 0"),
    ({"T": -1.0}, "T=-1.0 must be greater than 0"),
    ({"T": nan}, "T=nan must be"),
    ({"T": inf}, "T=inf must be"),
    ({"T": 1e6 + 0.5}, r"T=1000000\.5 must be"),
    ({"alpha": 1.1}, r"alpha=1\.1 must be from 0"),
    ({"alpha": -0.1}, r"alpha=-0\.1 must be from 0"),
    ({"alpha": nan}, "alpha=nan must be"),
    ({"teacher_outputs": TEACHER[:, :2]}, r"outputs \(4, 3\) and teacher_outputs \(4, 2\)"),
    ({"teacher_outputs": TEACHER[:1]}, r"outputs \(4, 3\) and teacher_outputs \(1, 3\)"),
    ({"outputs": TEACHER[0], "teacher_outputs": TEACHER[0]}, "one shape"),
    ({"outputs": NUMBERS.long()}, r"^outputs is torch\.int64"),
    ({"labels": LABELS[:3]}, r"labels \(3,\) must have one class for each of the 4 images"),
    ({"labels": TEACHER.softmax(1)}, r"labels \(4, 3\) must"),
    ({"outputs": NUMBERS.softmax(1)}, "^outputs are probabilities"),
    ({"outputs": NUMBERS.softmax(1).mul(500).round() / 500}, "^outputs are probabilities"),
    ({"teacher_outputs": torch.eye(3)[LABELS]}, "teacher_outputs are probabilities"),
]
REWOUND = [
    ({"milestones": (0.75, 0.5)}, "must increase"),
    ({"milestones": (0.5, 0.5)}, "must increase"),
    ({"milestones": (0.5, 1.0)}, "between 0 and 1"),
    ({"milestones": (0.0, 0.5)}, "between 0 and 1"),
    ({"milestones": (50, 75)}, "between 0 and 1"),
    ({"milestones": ("0.5",)}, "between 0 and 1"),
    ({"original_steps": 10.5}, r"^original_steps=10\.5 must be a whole number"),
    ({"original_steps": 9}, "steps=10 must be at most original_steps=9"),
]
STEPS = [
    ({"steps": 0}, "steps=0 must be a whole number of at least 1"),
    ({"steps": 1.5}, r"steps=1\.5 must be"),
    ({"lr": 0}, "lr=0 must be greater than 0"),
    ({"lr": nan}, "lr=nan must be greater than 0"),
    ({"momentum": -0.1}, r"^momentum=-0\.1 must be at least 0$"),
    ({"weight_decay": -1.0}, r"^weight_decay=-1\.0 must be at least 0$"),
]
OPTIONS = [
    *calls(net, quiet_fit, FIT),
    (lambda: net().requires_grad_(False), quiet_fit, "every requires_grad is False"),
    (net, lambda m: evaluate(m, SPLIT[:0]), "split is empty; load_data"),
    *calls(net, apply_global_pruning, GLOBAL),
    (half_pruned, lambda m: apply_global_pruning(m, sparsity=0.4), "0.4 is less than the 0.5"),
    (half_pruned, partial(prune_some, amount=2), "amount=2 must be a fraction"),
    (
        half_pruned,
        lambda m: apply_global_pruning(m, sparsity=0.4, scope="layerwise"),
        "never brings a weight back",
    ),
    *[
        (make, call, "layer 'conv2' has a weight that is NaN or infinite")
        for make in (with_nan, lambda: with_nan(inf))
        for call in (prune_some, prune_filters)
    ],
    (lambda: nn.Sequential(nn.BatchNorm1d(3)), prune_some, "model has no layer to prune"),
    (
        lambda: nn.Sequential(nn.Linear(3, 3)),
        prune_filters,
        "model has no layer to prune: no convolution",
    ),
    (sharing_convolutions, prune_filters, "layer '0' shares its weight with '1'"),
    (sharing_convolutions, prune_some, "layer '0' shares its weight with '1'"),
    *calls(net, prune_filters, FILTERS),
    (
        two_convolutions,
        partial(prune_filters, ratio=0.6),
        "ratio=0.6 would mask 1 of the 1 filters of layer '1', of which 0 are masked already",
    ),
    (
        lambda: prune_filters(net()),
        partial(prune_filters, ratio=0.2),
        "of which 1 are masked already",
    ),
    *calls(lambda: apply_global_pruning(net(), sparsity=0.2), quiet_gradual, GRADUAL),
    *calls(net, scheduled, SCHEDULE),
    *[
        (make, partial(recalibrate_bn, x=x, batch_size=size), words)
        for make, x, size, words in [
            (net, IMAGES[:0], 2, "at least 2 images"),
            (net, IMAGES[:1], 2, "at least 2 images"),
            (net, torch.tensor(2.0), 2, "at least 2 images"),
            (net, [IMAGES, IMAGES], 2, r"such as data\.train\.x"),
            (net, IMAGES, 1, "batch_size=1 must be"),
            (without_statistics, IMAGES, 2, "'bn2' has no running"),
            (net, IMAGES.expand(-1, 3, -1, -1), 2, r"on x=\(8, 3, 8, 8\).*channels"),
            (net, IMAGES.byte(), 2, "type"),
        ]
    ],
    *calls(net, score_loss, SCORES),
    *calls(net, distill, [({"T": 0}, "T=0 must be"), ({"alpha": 2}, "alpha=2 must be")]),
    *calls(net, partial(get_finetune_optimizer, steps=10), STEPS),
    *calls(net, partial(learning_rate_rewinding, steps=10), STEPS + REWOUND),
    *calls(net, partial(one_cycle, steps=10), STEPS),
    (net, lambda m: weight_rewinding(m, snapshot(models.lenet300())), r"bn1\.bias.*fc1\.weight"),
    (
        net,
        lambda m: weight_rewinding(m, snapshot(net(3))),
        r"another architecture: .*conv2.weight \(6, 3, 3, 3\) instead of \(4, 2, 3, 3\)",
    ),
    (net, lambda m: weight_rewinding(m, no_statistics()), "architecture: bn1.running_mean"),
    (net, lambda m: weight_rewinding(m, {}), "another architecture"),
    (lambda: make_pruning_permanent(half_pruned()), partial(reinitialize, seed=1), "but no mask"),
    (
        lambda: nn.Sequential(nn.Linear(2, 2), nn.ParameterList([torch.ones(1)])),
        partial(reinitialize, seed=1),
        "module '1' has parameters but no",
    ),
    (net, barrier_to(models.lenet300), "a and b are of different architectures"),
    (net, barrier_to(lambda: net(3)), "of different architectures"),
    (net, barrier_to(half_pruned), "or one of them has no masks"),
    (half_pruned, barrier_to(net), "or one of them has no masks"),
    (half_pruned, barrier_to(lambda: prune_some(half_pruned())), "a and b have different masks"),
    (half_pruned, barrier_to(lambda: half_pruned(seed=1)), "have different masks"),
    (net, barrier_to(net, points=0), "points=0 must be a whole number"),
    (net, barrier_to(net, points=-1), "points=-1 must be a whole number"),
    (lambda: nn.Linear(4, 4), partial(count_macs, x=torch.ones(2, 3)), r"on x=\(2, 3\): mat1 and"),
    (
        lambda: nn.Sequential(nn.Linear(4, 4), nn.GRU(4, 4)),
        partial(count_macs, x=torch.ones(2, 3, 4)),
        "recurrent layers can't be counted: 1",  # rather than counted as nothing
    ),
    *[
        (net, lambda m, density=density: binary_entropy(density), f"density={density} must be from")
        for density in (-0.1, 1.1, nan)
    ],
]


@pytest.mark.parametrize(("build", "call", "words"), CASES + OPTIONS)
def test_refused_in_one_line_before_anything_is_changed(build, call, words):
    model = build()
    with left_as_it_was(model), pytest.raises((ValueError, TypeError), match=words) as caught:
        call(model)
    assert "\n" not in str(caught.value)


BAD_MODELS = {
    "none": None,
    "name": "resnet20",
    "list": [nn.Linear(2, 2)],
    "lazy": nn.Sequential(nn.LazyLinear(3)),
    "meta": nn.Sequential(nn.Linear(3, 2, device="meta")),
    "float8": nn.Sequential(nn.Linear(4, 4).to(torch.float8_e4m3fn)),
}
OF_A_MODEL = {
    "amount": prune_some,
    "filters": lambda m: apply_filter_pruning(m, 0.5),
    "round": lambda m: prune_round(m, {"0": 0.5}),
    "permanent": make_pruning_permanent,
    "masks": get_masks,
    "penalty": lambda m: weight_penalty(m, "l1"),
    "sparsity": check_sparsity,
    "total": total_sparsity,
    "bytes": bytes_on_disk,
    "latency": lambda m: latency(m, IMAGES),
    "macs": lambda m: count_macs(m, IMAGES),
    "csr": CSRLinear,
    "fit": quiet_fit,
    "evaluate": lambda m: evaluate(m, SPLIT),
    "distill": distill,
    "recalibrate": lambda m: recalibrate_bn(m, IMAGES),
    "snapshot": snapshot,
    "rewind": lambda m: weight_rewinding(m, {}),
    "reinitialize": lambda m: reinitialize(m, 0),
    "barrier": lambda m: error_barrier(m, m, SPLIT),
    "finetune": lambda m: get_finetune_optimizer(m, 1),
    "gradual": quiet_gradual,
    "network": lambda m: prune_network(m, 0.5, IMAGES),
    "channels": lambda m: prune_channels(m, "0", [0], IMAGES),
    "groups": lambda m: channel_groups(m, IMAGES),
    "save": lambda m: save_network(m, "nowhere.pt"),
    "load": lambda m: load_network(m, "nowhere.pt"),
}


NAMED = {"csr": "linear", "distill": "teacher", "barrier": "a", "save": "small", "load": "original"}
SURGERY = {"network", "channels", "groups", "load"}  # works on the device "meta"


@pytest.mark.parametrize(
    ("call", "kind"),
    [(c, k) for c in OF_A_MODEL for k in BAD_MODELS if not (k == "meta" and c in SURGERY)],
)
def test_what_is_no_usable_model_is_refused_by_name(call, kind):
    named = f"^{NAMED.get(call, 'model')} (must be|cannot be used|was not cut)"
    with pytest.raises((ValueError, TypeError), match=named) as caught:
        OF_A_MODEL[call](BAD_MODELS[kind])
    assert "\n" not in str(caught.value)
