"""What assignment A3 brings along: your network, filled layers, and a clock that pretends."""

import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import partial
from unittest.mock import patch

import torch
from handout import trained
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from prunelab.data import Data

WIDTH = 24
"""Channels of the sum in your network."""


class Block(nn.Module):
    """Two convolutions, and a way around them: relu(bn2(conv2(relu(bn1(conv1(x))))) + around)."""

    def __init__(self, width: int, stride: int = 1):
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut: nn.Module = nn.Identity()
        self.shortcut_bn: nn.Module = nn.Identity()
        if stride > 1:
            self.shortcut = nn.Conv2d(width, width, 1, stride, bias=False)
            self.shortcut_bn = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        inside = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(inside)) + self.shortcut_bn(self.shortcut(x)))


class ResidualNet(nn.Module):
    """A stem, residual blocks, and a linear layer that reads the flattened maps.

    Args:
        width: channels of the stem, inside of the blocks, and of their sum.
        blocks: how many. The first one halves the maps: its shortcut needs a convolution.
        size: height and width of an image, a multiple of 4.
    """

    def __init__(self, width: int = WIDTH, blocks: int = 2, size: int = 28):
        super().__init__()
        self.stem = nn.Conv2d(1, width, 4, stride=2, padding=1, bias=False)
        self.stem_bn = nn.BatchNorm2d(width)
        self.block1 = Block(width, stride=2)
        for number in range(2, blocks + 1):
            self.add_module(f"block{number}", Block(width))
        self.fc = nn.Linear(width * (size // 4) ** 2, 10)
        self.blocks = blocks

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(self.stem_bn(self.stem(images)))
        for number in range(1, self.blocks + 1):
            x = self.get_submodule(f"block{number}")(x)
        return self.fc(x.flatten(1))


def trained_network(data: Data, seed: int, steps: int = 120) -> nn.Module:
    """Your network: its depth, its first weights and the order of its images come from the seed."""
    return trained(partial(ResidualNet, blocks=2 + seed % 2), data, seed, steps, learning_rate=5e-3)


def filled(module: nn.Module, seed: int) -> nn.Module:
    """The same module with random numbers everywhere, BatchNorm statistics included."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(0, 0.5, generator=generator)
        for layer in module.modules():
            if isinstance(layer, _BatchNorm):
                layer.get_buffer("running_mean").normal_(generator=generator)
                layer.get_buffer("running_var").uniform_(0.5, 2, generator=generator)
    return module.eval()


def check_names(what: str, answer: dict, names: Collection) -> None:
    """Is the answer a dictionary with just these names? Says what is missing, and what is more."""
    kind = type(answer).__name__
    assert isinstance(answer, dict), f"{what} should be a dictionary; it is a {kind}"
    missing = [name for name in names if name not in answer]
    more = [name for name in answer if name not in names]
    assert not missing, f"{what}: these names are missing: {missing}; yours: {list(answer)}"
    assert not more, f"{what}: these names are too many: {more}; wanted: {list(names)}"


class Pretender(nn.Module):
    """Takes pretended time for each pass, and notes how it was called.

    Args:
        seconds: what each pass takes on the clock of `pretended_time`; the last one repeats.
    """

    def __init__(self, seconds: list[float]):
        super().__init__()
        self.seconds = seconds
        self.passes: list[dict] = []

    def forward(self, x: Tensor) -> Tensor:
        Pretender.now += self.seconds[min(len(self.passes), len(self.seconds) - 1)]
        self.passes.append(
            {
                "training": self.training,
                "gradients": torch.is_grad_enabled(),
                "threads": torch.get_num_threads(),
            }
        )
        return x

    now = 0.0


@contextmanager
def pretended_time() -> Iterator[None]:
    """Inside, `time.perf_counter()` reads the pretended clock, which only passes move on."""
    with patch.object(time, "perf_counter", lambda: Pretender.now):
        yield
