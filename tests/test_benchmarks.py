"""The benchmarks measure what they say, shown at a tiny size; no time is tested."""

import copy
import importlib.util
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
import torch
from joblib import parallel_config

from prunelab.models import lenet300, small_convnet
from prunelab.training import evaluate

FOLDER = Path(__file__).parents[1] / "benchmarks"
WIDTHS = (16, 32, 64)


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"benchmark_of_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def surgery(monkeypatch):
    module = load("surgery")
    image = torch.ones(1, 1, 28, 28)
    monkeypatch.setattr(module, "build", lambda model, seed: (small_convnet(seed=seed), image))
    return module


def parameters(*widths: int) -> int:
    """Of the small network: convolutions with their BatchNorm, and the linear layer."""
    pairs = zip((1, *widths), widths, strict=False)
    return sum(9 * a * b + 2 * b for a, b in pairs) + 10 * widths[-1] + 10


def test_speed_has_a_row_for_each_network_batch_and_number_of_threads(surgery):
    networks, x = surgery.cuts("", {"prunelab": surgery.cut_with_prunelab}, [0.5])
    table = pd.DataFrame(surgery.speed(networks, x, [1, 2], [1], rounds=1, seconds=0.001))
    assert table["network"].tolist() == ["whole", "prunelab −50%"] * 2
    assert table["batch"].tolist() == [1, 1, 2, 2]
    sizes = [parameters(*WIDTHS), parameters(8, 16, 32)] * 2
    assert (1e6 * table["M params"]).round().tolist() == sizes
    np.testing.assert_allclose(table["ideal"] * table["MACs left"], 1)
    np.testing.assert_allclose(table["share"] * table["ideal"], table["faster"])
    assert table["faster"].iloc[0] == 1


def test_widths_are_rounded(surgery):
    networks, _ = surgery.rounded("", [0.3])
    layers = ("conv1", "conv2", "conv3")
    widths = {n: [m.get_submodule(a).out_channels for a in layers] for n, m in networks.items()}
    assert widths == {
        "whole": [16, 32, 64],
        "−30%, round_to=1": [11, 22, 45],
        "−30%, round_to=8": [8, 24, 48],
        "−30%, round_to=16": [16, 16, 48],
    }


def test_tool_that_fails_is_told_in_the_table(surgery, monkeypatch):
    failed = [{"problem": "takes more than 60 s"}]
    monkeypatch.setattr(surgery, "within_limits", lambda model, seeds, cut: failed)
    tools = {"prunelab": surgery.cut_with_prunelab, "other": None}
    ours, other = surgery.cutting("", tools, 0.5, rounds=1)
    assert other == {"model": "", "tool": "other", "fails": "takes more than 60 s"}
    assert 0 < ours["q25"] <= ours["s"] <= ours["q75"]
    assert ours["params left"] == parameters(8, 16, 32) / parameters(*WIDTHS)
    assert list(surgery.cuts("", tools, [0.5])[0]) == ["whole", "prunelab −50%"]


def test_first_round_is_a_warm_up(surgery):
    values = iter([100.0, 1.0, 2.0, 3.0])
    assert surgery.take_turns({"a": lambda: next(values)}, rounds=3)["a"].tolist() == [1.5, 2, 2.5]


@pytest.fixture
def lottery(monkeypatch):
    module = load("lottery")
    monkeypatch.setattr(module, "EVALUATE_EVERY", 2)
    monkeypatch.setattr(module, "peak", lambda: 100.0)
    return module


@pytest.fixture
def few_images(data):
    return replace(data, train=data.train[:300], valid=data.valid[:100], test=data.test[:100])


def test_bare_loop_and_fit_masked_do_the_same(lottery, few_images):
    network = lottery.tickets(few_images, [2], iterations=5)[2]
    bare, fast = copy.deepcopy(network), copy.deepcopy(network)
    lottery.LOOPS["bare loop with validation and test"](bare, few_images, 20)
    lottery.LOOPS["fit_masked with validation and test"](fast, few_images, 20)
    torch.testing.assert_close(fast.state_dict(), bare.state_dict(), atol=2e-5, rtol=0)
    plainly = lottery.evaluate_plainly(bare, few_images.valid)
    assert plainly == pytest.approx(evaluate(bare, few_images.valid))


def test_costs_have_a_row_for_each_density(lottery, few_images):
    networks = lottery.tickets(few_images, [0, 2], iterations=5)
    measured = {n: lottery.measure(m, few_images, 2, rounds=1) for n, m in networks.items()}
    table = lottery.costs(networks, measured)
    assert table["pruned"].tolist() == [0, 2]
    assert table["kept %"].tolist() == pytest.approx([100, 64.1], abs=0.1)
    assert table["inputs"].tolist() == [784, 784]


def test_ratios_are_taken_within_each_round(lottery):
    times = {name: [1.0, 3.0, 8.0] for name in lottery.LOOPS} | {"fit_masked": [1.0, 1.0, 4.0]}
    table = lottery.costs({0: lenet300(seed=0)}, {0: pd.DataFrame(times)})
    assert table[["faster", "q25", "q75"]].iloc[0].tolist() == [2, 1.5, 2.5]
    assert table[["naive %", "valid %", "valid+test %"]].iloc[0].tolist() == [0, 100, 100]


def test_operations_of_an_iteration_are_counted(lottery):
    forward, first = 2 * 60 * 266_200, 2 * 60 * 235_200
    assert lottery.flops(lenet300(seed=0)) == 3 * forward - first == 67_608_000
    times = pd.DataFrame({"bare loop": [2.0], "fit_masked": [1.0], "peak": [100.0]})
    shares = lottery.use_of_the_processor(lenet300(seed=0), times)["share of peak %"]
    assert shares.tolist() == pytest.approx([33.804, 67.608])


def test_two_processes_are_compared_with_one(lottery, few_images):
    with parallel_config(backend="threading"):
        row = lottery.two_processes(2, rounds=1, data=few_images).iloc[0]
    assert row["times"] == pytest.approx(2 * row["alone s"] / row["side by side s"])


def test_core_hours_are_trainings_times_iterations_times_the_mean(lottery):
    measured = {n: pd.DataFrame({name: [t] for name in lottery.LOOPS}) for n, t in ((0, 1), (7, 2))}
    table = lottery.core_hours(measured)
    assert table["figure"].tolist() == ["4"] * 3 + ["3"] * 3
    hours = [trainings * 50_000 * 1.5e-3 / 3600 for trainings in (965, 125)]
    assert table["core-hours"].tolist() == pytest.approx([hours[0]] * 3 + [hours[1]] * 3)


def test_masked_convolutions_are_compared_with_dense_ones(few_images):
    table = load("training").convolutions(few_images, steps=1, rounds=1)
    assert table["weights"].tolist() == ["dense", "masked", "masked by torch alone"]
    assert (table.drop(columns="weights") > 0).all(axis=None)
    for took, ratio in (("ms a step", "times dense"), ("ms an evaluation", "times dense ")):
        assert table[ratio].tolist() == pytest.approx((table[took] / table[took][0]).tolist())


def test_a_study_is_disturbed_until_there_were_enough_faults(monkeypatch, capsys):
    faults = load("faults")
    row = {"studies": 1, "faults": 3, "measured again": 2, "tables that differ": 0, "hangs": 0}
    monkeypatch.setattr(faults, "disturbed", lambda cause, expected=None: row | {"table": b""})
    monkeypatch.setattr("sys.argv", ["faults.py", "--kills", "10"])
    faults.main()
    table = capsys.readouterr().out.splitlines()
    assert table[1].split()[-5:] == ["2", "6", "4", "0", "0"]
    assert len(table) == 1 + len(faults.FAULTS)


def test_shipped_networks_are_compared_within_each_turn(monkeypatch):
    shipping = load("shipping")
    tiny = (partial(small_convnet, width=8, seed=0), (1, 28, 28))
    monkeypatch.setitem(shipping.NETWORKS, "tiny", tiny)
    table = shipping.speed("tiny", 0.4, [1, 2], rounds=1, seconds=0.001)
    assert table["widths"].tolist()[::4] == ["dense", "cut", "to 8", "to 16"] * 2
    assert table["form"].tolist() == list(shipping.FORMS) * 8
    dense = table[table["widths"] == "dense"]
    assert (dense["times dense"] == 1).all()
    for _, rows in table.groupby("images"):
        first = rows["ms"].iloc[0]
        np.testing.assert_allclose(rows["times torch"] * rows["ms"], first)
