"""The benchmark of channel surgery measures what it says, shown on a tiny network."""

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from prunelab.models import small_convnet

FILE = Path(__file__).parents[1] / "benchmarks" / "surgery.py"
WIDTHS = (16, 32, 64)


@pytest.fixture
def surgery(monkeypatch):
    spec = importlib.util.spec_from_file_location("benchmark_of_surgery", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    image = torch.ones(1, 1, 28, 28)
    monkeypatch.setattr(module, "build", lambda model, seed: (small_convnet(seed=seed), image))
    return module


def parameters(*widths: int) -> int:
    inputs = (1, *widths[:-1])
    convolutions = sum(9 * a * b + 2 * b for a, b in zip(inputs, widths, strict=True))
    return convolutions + 11 * widths[-1] - widths[-1] + 10


def test_speed_has_a_row_for_each_network_batch_and_number_of_threads(surgery):
    tools = {"prunelab": surgery.cut_with_prunelab}
    networks, x = surgery.cuts("", tools, [0.5])
    table = pd.DataFrame(surgery.speed(networks, x, [1, 2], [1], rounds=1, seconds=0.001))
    assert table["network"].tolist() == ["whole", "prunelab −50%"] * 2
    assert table["batch"].tolist() == [1, 1, 2, 2]
    assert (1e6 * table["M params"]).round().tolist() == [
        parameters(*WIDTHS),
        parameters(8, 16, 32),
    ] * 2
    np.testing.assert_allclose(table["ideal"] * table["MACs left"], 1)
    np.testing.assert_allclose(table["share"] * table["ideal"], table["faster"])
    assert table["faster"].iloc[0] == 1


def test_widths_are_rounded(surgery):
    networks, _ = surgery.rounded("", [0.3])
    widths = {name: [c.out_channels for c in convolutions(n)] for name, n in networks.items()}
    assert widths == {
        "whole": [16, 32, 64],
        "−30%, round_to=1": [11, 22, 45],
        "−30%, round_to=8": [8, 24, 48],
        "−30%, round_to=16": [16, 16, 48],
    }


def convolutions(network):
    return [layer for layer in network.modules() if isinstance(layer, torch.nn.Conv2d)]


def test_tool_that_fails_is_told_in_the_table(surgery, monkeypatch):
    monkeypatch.setattr(
        surgery, "within_limits", lambda model, seeds, cut: [{"problem": "takes more than 60 s"}]
    )
    tools = {"prunelab": surgery.cut_with_prunelab, "other": None}
    ours, other = surgery.cutting("", tools, 0.5, rounds=1)
    assert other == {"model": "", "tool": "other", "fails": "takes more than 60 s"}
    assert 0 < ours["q25"] <= ours["s"] <= ours["q75"]
    assert ours["params left"] == parameters(8, 16, 32) / parameters(*WIDTHS)
    assert list(surgery.cuts("", tools, [0.5])[0]) == ["whole", "prunelab −50%"]


def test_first_round_is_a_warm_up(surgery):
    values = iter([100.0, 1.0, 2.0, 3.0])
    assert surgery.take_turns({"a": lambda: next(values)}, rounds=3)["a"].tolist() == [1.5, 2, 2.5]
