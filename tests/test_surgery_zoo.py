"""Every family of torchvision's classification networks is cut, and computes what it must.

The gate cuts the smallest member of each family, or one smaller still, and our own networks;
`make test-zoo` cuts all of torchvision's.
"""

import os
import warnings
from functools import partial

import pytest
import torch
import torchvision
from torch import nn
from torchvision.models import ConvNeXt, DenseNet, ResNet, SwinTransformer, VisionTransformer
from torchvision.models.convnext import CNBlockConfig
from torchvision.models.maxvit import MaxVit
from torchvision.models.resnet import Bottleneck
from torchvision.models.swin_transformer import PatchMergingV2, SwinTransformerBlockV2

from prunelab.models import NETWORKS
from prunelab.surgery import LeftAlone, prune_network
from tests.surgery_oracle import assert_exact, randomize

SMALLEST = {  # share of the parameters that cutting half of all that can be cut must go below
    "alexnet": 0.26,
    "vgg11": 0.26,
    "resnet18": 0.26,
    "googlenet": 0.26,
    "inception_v3": 0.26,
    "squeezenet1_1": 0.27,
    "mobilenet_v2": 0.28,
    "mobilenet_v3_small": 0.28,
    "mnasnet0_5": 0.30,
    "shufflenet_v2_x0_5": 0.54,
    "efficientnet_b0": 0.28,
    "efficientnet_v2_s": 0.27,
    "regnet_x_400mf": 0.26,
    "regnet_y_400mf": 0.27,
}
swin = partial(SwinTransformer, [4, 4], 48, [2, 2, 1, 1], [3, 6, 12, 24], num_classes=10)
block = CNBlockConfig
SMALLER = {  # the same layers in fewer and narrower blocks, and the share
    "resnext50_32x4d": (lambda: ResNet(Bottleneck, [2, 1, 1, 1], 10, False, 32, 4), 0.26),
    "wide_resnet50_2": (lambda: ResNet(Bottleneck, [1] * 4, 10, width_per_group=128), 0.26),
    "densenet121": (lambda: DenseNet(16, (3, 3, 3, 3), 32, num_classes=10), 0.27),
    "convnext_tiny": (lambda: ConvNeXt([block(96, 192, 2), block(192, None, 1)], 0.1), 0.42),
    "vit_b_32": (lambda: VisionTransformer(64, 32, 2, 12, 192, 768, num_classes=10), 0.36),
    "swin_t": (lambda: swin([7, 7]), 0.26),
    "swin_v2_t": (
        lambda: swin([8, 8], block=SwinTransformerBlockV2, downsample_layer=PatchMergingV2),
        0.26,
    ),
    "maxvit_t": (lambda: MaxVit((64, 64), 32, 2, [32, 64, 96], [1, 2, 1], 32, 0.0), 0.28),
}
OURS = {"lenet300": 0.5, "conv2": 0.3, "small_convnet": 0.3, "resnet20": 0.3}
CUTS_LESS = {"shufflenet": 0.7}
WHOLE_ZOO = torchvision.models.list_models(torchvision.models)
NAMES = WHOLE_ZOO if os.environ.get("WHOLE_ZOO") else [*SMALLEST, *SMALLER]


def build(name: str) -> nn.Module:
    """The network at the smallest input its shape allows; attention windows shrink with it."""
    options = {"num_classes": 10}
    if name == "maxvit_t":
        return MaxVit((64, 64), 64, 2, [64, 128, 256, 512], [2, 2, 5, 2], 32, 0.0, num_classes=10)
    if name in ("googlenet", "inception_v3"):
        options["init_weights"] = False  # its own initialization takes a minute
    if name.startswith("vit"):
        options["image_size"] = 2 * int(name.split("_")[2])
    model = torchvision.models.get_model(name, weights=None, **options)
    if name.startswith(("vgg", "alexnet")):  # the same layers, a hundred million weights less
        wide = [i for i, m in enumerate(model.classifier) if isinstance(m, nn.Linear)]
        features = model.classifier[wide[0]].in_features
        for i, (read, written) in zip(wide, ((features, 64), (64, 48), (48, 10)), strict=True):
            model.classifier[i] = nn.Linear(read, written)
    return model


def cut_and_check(model: nn.Module, share: float, x: torch.Tensor) -> None:
    randomize(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LeftAlone)
        small = prune_network(model, 0.5, x, criterion="random")
    before, after = (sum(p.numel() for p in m.parameters()) for m in (model, small))
    assert after < share * before, f"{after / before:.3f} of the parameters are left"
    assert_exact(model, small, x)


@pytest.mark.parametrize("name", NAMES)
def test_torchvision(name):
    usual = next((s for family, s in CUTS_LESS.items() if name.startswith(family)), 0.4)
    make, share = partial(build, name), SMALLEST.get(name, usual)
    if NAMES is not WHOLE_ZOO:
        make, share = SMALLER.get(name, (make, share))
    x = torch.randn(2, 3, *[299 if name == "inception_v3" else 64] * 2).double()
    cut_and_check(make(), share, x)


@pytest.mark.parametrize("name", OURS)
def test_our_networks(name):
    cut_and_check(NETWORKS[name](), OURS[name], torch.randn(2, 1, 28, 28).double())
