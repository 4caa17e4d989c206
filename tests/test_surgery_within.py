"""A part is cut inside of a network that can't be followed as a whole."""

import pytest
import torch
import torchvision
from torch import Tensor, nn

from prunelab.data import Split
from prunelab.surgery import (
    CannotCut,
    channel_groups,
    channel_sensitivity,
    load_network,
    prune_channels,
    prune_network,
    save_network,
)
from prunelab.training import evaluate
from tests.helpers import left_as_it_was
from tests.surgery_oracle import TOLERANCE, assert_exact, randomize, reference

FEW = {"rpn_pre_nms_top_n_test": 50, "rpn_post_nms_top_n_test": 20}
FEW |= {"box_score_thresh": 0.0, "box_detections_per_img": 10}


def body() -> nn.Sequential:
    layers = [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 6, 3)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


class Asks(nn.Module):
    """Looks at the values of what its body returns."""

    def __init__(self):
        super().__init__()
        self.body, self.head, self.never = body(), nn.Linear(6, 4), nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        features = self.body(x)
        return self.head(features if features.sum() > 1e9 else -features)


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = body()

    def forward(self, x: Tensor, *, scale: Tensor) -> Tensor:
        return self.body(x) * scale


class ByName(Asks):
    def __init__(self):
        super().__init__()
        self.body = Scaled()

    def forward(self, x: Tensor) -> Tensor:
        features = self.body(x, scale=torch.full((1,), 2.0, dtype=x.dtype))
        return self.head(features if features.sum() > 1e9 else -features)


class Tied(Asks):
    def __init__(self):
        super().__init__()
        self.never.weight = self.body[0].weight


class ReadsInside(Asks):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + self.body[0].bias.view(2, 4).sum(dim=0)


@pytest.fixture
def x() -> Tensor:
    return torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)).double()


@pytest.mark.parametrize("network", [Asks, ByName])
def test_a_part_is_cut_and_the_whole_computes_what_it_should(network, x):
    model = randomize(network())
    with pytest.raises(CannotCut, match="values of a tensor"):
        prune_network(model, 0.5, x)
    with left_as_it_was(model):
        small = prune_network(model, 0.5, x, within="body")
    assert {name.split(".")[0] for name in small.kept_channels} == {"body"}
    assert sum(p.numel() for p in small.body.parameters()) < 0.6 * sum(
        p.numel() for p in model.body.parameters()
    )
    assert_exact(model, small, x)


def test_a_detector_finds_the_boxes_of_its_masked_twin(tmp_path):
    build = torchvision.models.detection.fasterrcnn_mobilenet_v3_large_320_fpn
    model = randomize(build(weights=None, weights_backbone=None, **FEW)).eval()
    images = ([torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0)).double()],)
    small = prune_network(model, 0.5, images, within="backbone")
    assert sum(p.numel() for p in small.backbone.parameters()) < 0.4 * sum(
        p.numel() for p in model.backbone.parameters()
    )
    with torch.no_grad():
        (found,), (expected,), (before,) = (
            network.eval()(*images) for network in (small, reference(model, small), model)
        )
    assert len(expected["boxes"]) == 10
    assert torch.equal(found["labels"], expected["labels"])
    for name in ("boxes", "scores"):
        assert found[name].sub(expected[name]).abs().max() < TOLERANCE
        assert found[name].sub(before[name]).abs().max() > 0.01
    save_network(small, tmp_path / "small.pt")
    again = load_network(model, tmp_path / "small.pt")
    with torch.no_grad():
        assert torch.equal(again.eval()(*images)[0]["boxes"], found["boxes"])


def test_given_channels_of_a_part_are_cut(x):
    model = randomize(Asks())
    with left_as_it_was(model):
        small = prune_channels(model, "0", [1, 5], x, within="body")
    assert small.body[0].out_channels == 6
    assert_exact(model, small, x)
    with pytest.raises(CannotCut, match="may not go"):
        prune_channels(model, "3", [0], x, within="body")


def test_the_sensitivity_of_a_part(x):
    model = randomize(Asks()).eval()
    images = torch.randn(40, 3, 8, 8, generator=torch.Generator().manual_seed(1)).double()
    with torch.no_grad():
        split = Split(images, model(images).argmax(1))
    table = channel_sensitivity(model, split, x, ratios=(0, 0.75), within="body")
    assert table["layers"].unique().tolist() == ["0"]
    whole, cut = table["accuracy"]
    small = prune_network(model, 0.75, x, within="body")
    assert whole == 1 > cut == evaluate(small, split).accuracy


def test_the_groups_of_a_part(x):
    groups = channel_groups(Asks().double(), x, within="body")
    assert set(groups.loc[groups["stays"] == "", "layer"]) == {"0", "1", "3"}
    assert (groups.loc[groups["layer"] == "3", "role"] == "reads").any()


def test_a_part_may_be_cut_again_and_the_file_knows_both(x, tmp_path):
    model = randomize(Asks())
    once = prune_network(model, 0.25, x, within="body")
    twice = prune_network(once, 0.5, x, within="body")
    assert twice.body[0].out_channels == 3
    assert_exact(model, twice, x)
    save_network(twice, tmp_path / "twice.pt")
    assert load_network(model, tmp_path / "twice.pt").body[0].out_channels == 3


def test_a_part_that_was_cut_before_it_came_into_the_model(x):
    model = randomize(Asks())
    model.body = prune_network(model.body, 0.25, x)
    small = prune_network(model, 0.5, x, within="body")
    assert small.body[0].out_channels == 3
    assert model.body[0].out_channels == 6
    assert_exact(model, small, x)


@pytest.mark.parametrize(
    ("network", "within", "says"),
    [
        (Asks, "boddy", "within='boddy' is no module"),
        (Asks, "never", "never called"),
        (Tied, "body", "shares its weights with 'never.weight'"),
        (ReadsInside, "body", "the rest of the model no longer runs once 'body' is cut"),
    ],
)
def test_what_cannot_be_is_said(network, within, says, x):
    model = network().double()
    if network is Tied:
        model.never.forward = lambda x: x
    with left_as_it_was(model), pytest.raises(CannotCut, match=says):
        prune_network(model, 0.5, x, within=within)


def test_an_example_that_the_model_cannot_take(x):
    with pytest.raises(CannotCut, match="the model can't run on these example_inputs"):
        prune_network(Asks().double(), 0.5, x[:, :2], within="body")


def test_a_part_is_named(x):
    with pytest.raises(TypeError, match="within must be the name of a module, not list"):
        prune_network(Asks().double(), 0.5, x, within=["body"])
