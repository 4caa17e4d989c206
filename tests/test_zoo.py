"""The study of the zoo: its oracle and its limits."""

import multiprocessing
import os
import sys
import time

import pytest
import torch
from torch import nn
from torchvision.models.convnext import LayerNorm2d

from prunelab.models import resnet20, small_convnet
from prunelab.studies import zoo
from prunelab.surgery import prune_network
from tests.helpers import left_as_it_was, random_state_left_alone
from tests.surgery_oracle import randomize

IMAGE = torch.randn(1, 1, 28, 28, generator=torch.Generator().manual_seed(0))


class Normalized(nn.Module):
    """Layer normalization over cut channels, in front and behind."""

    def __init__(self):
        super().__init__()
        self.stem, self.first = nn.Conv2d(1, 12, 4, stride=4), LayerNorm2d(12)
        self.wide, self.narrow = nn.Conv2d(12, 20, 1), nn.Conv2d(20, 12, 1)
        self.last, self.head = nn.LayerNorm(12), nn.Linear(12, 10)

    def forward(self, x):
        x = self.stem(x)
        x = x + self.narrow(self.wide(self.first(x)).relu())
        return self.head(self.last(x.mean((2, 3))))


def upsampling() -> nn.Module:
    wider = nn.ConvTranspose2d(8, 6, 2, stride=2)
    return nn.Sequential(nn.Conv2d(1, 8, 4, 4), wider, nn.BatchNorm2d(6), nn.Conv2d(6, 4, 3))


class Attending(nn.Module):
    """Patches as tokens, and an encoder layer with four heads."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(1, 16, 7, 7)
        self.encoder = nn.TransformerEncoderLayer(16, 4, 24, dropout=0.0, batch_first=True)
        self.head = nn.Linear(16, 4)

    def forward(self, x):
        return self.head(self.encoder(self.patches(x).flatten(2).mT).mean(1))


def build_small(name: str, seed: int):
    return randomize(small_convnet(), seed).float().eval(), IMAGE


def cut_wrongly(network, x, ratio):
    small = prune_network(network, ratio, x)
    small.conv1.weight.data = small.conv1.weight.data.flip(0)
    return small


def cut_for_inference_only(network, x, ratio):
    small = prune_network(network, ratio, x)
    small.register_forward_pre_hook(refuse_training)
    return small


def refuse_training(module, inputs):
    if module.training:
        raise RuntimeError("not for training")


def fail(network, x, ratio):
    raise ZeroDivisionError("no groups\nand more")


def run_out_of_memory(network, x, ratio):
    raise MemoryError


def die(network, x, ratio):
    os._exit(1)


def sleep(network, x, ratio):
    time.sleep(60)


@pytest.mark.parametrize("make", [small_convnet, resnet20, Normalized, upsampling, Attending])
def test_reference_agrees_with_a_cut_and_tells_when_channels_are_mixed_up(make):
    network = randomize(make()).float().eval()
    small = prune_network(network, 0.4, IMAGE, criterion="random")
    with left_as_it_was(network, small):
        compared = zoo.compare(network, small, IMAGE)
    assert compared["error"] < 1e-12
    assert compared["change"] > 0.01
    first = next(layer for layer in small.modules() if isinstance(layer, nn.Conv2d))
    first.weight.data = first.weight.data.roll(1, 0)
    assert zoo.compare(network, small, IMAGE)["error"] > 1e-3


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "convnext_tiny"])
def test_nothing_in_a_built_network_is_left_at_a_constant(name):
    network, _ = zoo.build(name, seed=0)
    assert [key for key, p in network.named_parameters() if p.min() == p.max()] == []


def test_built_network_follows_the_seed_and_leaves_the_global_one_alone():
    with random_state_left_alone():
        (a, x), (b, _), (c, y) = (zoo.build("squeezenet1_1", seed) for seed in (0, 0, 1))
    weights = [network.classifier[1].weight for network in (a, b, c)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert not torch.equal(x, y)


@pytest.mark.skipif(sys.platform == "win32", reason="no fork on this system")
@pytest.mark.parametrize(
    ("cut", "problem"),
    [
        (run_out_of_memory, "cut: MemoryError"),
        (sleep, "takes more than 1 s"),
        (die, "its process died"),
    ],
)
def test_what_cannot_be_cut_is_told_and_other_seeds_are_not_tried(monkeypatch, cut, problem):
    forked = multiprocessing.get_context("fork")  # which imports nothing
    monkeypatch.setattr(multiprocessing, "get_context", lambda kind: forked)
    monkeypatch.setattr(zoo, "build", build_small)
    monkeypatch.setattr(zoo, "MOST_SECONDS", 1 if cut is sleep else 60)
    results = zoo.within_limits("", 3, cut)
    not_tried = f"not tried, as seed 0: {problem}"
    assert [result["problem"] for result in results] == [problem, not_tried, not_tried]


@pytest.fixture
def try_cut(monkeypatch):
    monkeypatch.setattr(zoo, "build", build_small)
    return lambda cut: zoo.cut_and_try("", 0, cut)


def test_result_of_a_cut_is_whole(try_cut):
    result = try_cut(zoo.cut_with_prunelab)
    assert set(result) == set(zoo.RESULT)
    assert (result["works"], result["problem"]) == (True, "")
    assert result["error"] < 1e-12
    assert min(result[f"latency_{when}"] for when in ("before", "after")) > 0


def test_what_goes_wrong_is_told(try_cut):
    assert try_cut(cut_wrongly)["error"] > 1e-3
    assert try_cut(fail) == {"problem": "cut: ZeroDivisionError: no groups"}
    result = try_cut(cut_for_inference_only)
    assert result["problem"].startswith("training step: RuntimeError: not for")
    assert "works" not in result
    assert result["macs_after"] > 0


def test_missing_torch_pruning_names_the_remedy(monkeypatch):
    monkeypatch.setattr(zoo.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install --editable '\.\[benchmark\]'"):
        zoo.measure("alexnet", seeds=1)


def test_torch_pruning_cuts_a_copy():
    pytest.importorskip("torch_pruning")
    network, x = build_small("", 0)
    before = zoo.count_parameters(network)
    small = zoo.cut_with_torch_pruning(network, x, 0.5)
    assert zoo.count_parameters(small) < before == zoo.count_parameters(network)
