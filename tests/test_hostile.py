"""Hostile arguments: one line in our words that names the argument, and nothing is changed."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm

from prunelab import models
from prunelab.batchnorm import recalibrate_bn
from prunelab.data import Data, Split
from prunelab.distillation import distill, kd_loss
from prunelab.filters import apply_filter_pruning, weight_penalty
from prunelab.finetuning import get_finetune_optimizer, learning_rate_rewinding
from prunelab.gradual import gradual_pruning
from prunelab.lottery import prune_round, random_masks, supermask
from prunelab.masks import get_masks, make_pruning_permanent, set_mask
from prunelab.models import pretrained
from prunelab.pruning import apply_global_pruning
from prunelab.rewinding import error_barrier, reinitialize, snapshot, weight_rewinding
from prunelab.sparsity import (
    CSRLinear,
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


def with_nan() -> nn.Module:
    model = net()
    with torch.no_grad():
        model.conv2.weight[0, 0, 0, 0] = torch.nan
    return model


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


@pytest.mark.parametrize(("build", "call", "words"), CASES)
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
