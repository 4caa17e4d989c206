"""What channel surgery costs and what it buys, against Torch-Pruning, in one run.

    python benchmarks/surgery.py

Three tables: the seconds that planning and cutting take; the speed of the cut networks, as a
factor and as a share of the ideal one (MACs before / MACs after); and what rounding the widths
to a multiple of 8 or 16 does to it. All contenders of a row of measurements take turns, so that
what else the machine does falls on all of them alike; the tables give median and quartiles of the
rounds. MACs are those of `count_macs`, for one image.
"""

import argparse
import functools
import itertools
import os
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from prunelab.sparsity import count_macs, latency
from prunelab.studies.zoo import (
    FAMILIES,
    build,
    count_parameters,
    cut_with_prunelab,
    cut_with_torch_pruning,
    require_torch_pruning,
    within_limits,
)

WHOLE = "whole"
TOOLS = {"prunelab": cut_with_prunelab, "torch-pruning": cut_with_torch_pruning}
ROUNDED_MODELS, ROUNDED_RATIOS, ROUND_TO = ("resnet18", "mobilenet_v2"), (0.3, 0.45), (1, 8, 16)


def take_turns(contenders: dict[str, Callable[[], float]], rounds: int) -> dict[str, np.ndarray]:
    """First quartile, median and third quartile over the rounds; a first round is not counted."""
    measured = {name: [] for name in contenders}
    for _ in range(rounds + 1):
        for name, measure in contenders.items():
            measured[name].append(measure())
    return {name: np.quantile(values[1:], [0.25, 0.5, 0.75]) for name, values in measured.items()}


def cutting(model: str, tools: dict[str, Callable], ratio: float, rounds: int) -> list[dict]:
    """Seconds to plan and cut, for every tool, and the sizes before and after."""
    network, x = build(model, seed=0)
    failed = {tool: why for tool, cut in tools.items() if (why := problem(model, tool, cut))}

    def seconds(cut: Callable) -> float:
        start = time.perf_counter()
        cut(network, x, ratio)
        return time.perf_counter() - start

    able = {tool: cut for tool, cut in tools.items() if tool not in failed}
    measured = take_turns({tool: lambda c=cut: seconds(c) for tool, cut in able.items()}, rounds)
    return [
        {"model": model, "tool": tool}
        | (
            {"fails": failed[tool]}
            if tool in failed
            else spread(measured[tool], "s") | sizes(network, cut(network, x, ratio), x)
        )
        for tool, cut in tools.items()
    ]


@functools.cache
def problem(model: str, tool: str, cut: Callable) -> str:
    """Why a foreign tool fails on this network, found out in a process that can be stopped."""
    return "" if tool == "prunelab" else within_limits(model, 1, cut)[0]["problem"]


def speed(
    networks: dict[str, nn.Module],
    x: Tensor,
    batches: list[int],
    threads: list[int],
    rounds: int,
    seconds: float,
) -> list[dict]:
    """Milliseconds of a forward pass of each network, and its speed relative to the whole one."""
    size = {name: sizes(networks[WHOLE], network, x) for name, network in networks.items()}
    rows = []
    for batch, count in itertools.product(batches, threads):
        images = x.expand(batch, *x.shape[1:]).contiguous()
        timed = {
            name: functools.partial(milliseconds, network, images, count, seconds)
            for name, network in networks.items()
        }
        measured = take_turns(timed, rounds)
        for name in networks:
            faster, ideal = measured[WHOLE][1] / measured[name][1], 1 / size[name]["MACs left"]
            rows.append(
                {"batch": batch, "threads": count, "network": name}
                | size[name]
                | spread(measured[name], "ms")
                | {"faster": faster, "ideal": ideal, "share": faster / ideal}
            )
    return rows


def milliseconds(network: nn.Module, images: Tensor, threads: int, seconds: float) -> float:
    return 1000 * latency(network, images, threads=threads, min_seconds=seconds).median


def cuts(model: str, tools: dict[str, Callable], ratios: list[float]) -> tuple[dict, Tensor]:
    """The whole network and what the tools make of it; without those that fail."""
    network, x = build(model, seed=0)
    able = {tool: cut for tool, cut in tools.items() if not problem(model, tool, cut)}
    small = {
        f"{tool} −{ratio:.0%}": cut(network, x, ratio)
        for tool, cut in able.items()
        for ratio in ratios
    }
    return {WHOLE: network, **small}, x


def rounded(model: str, ratios: list[float]) -> tuple[dict, Tensor]:
    """The whole network, and cuts of it whose widths are multiples of 1, 8 and 16."""
    network, x = build(model, seed=0)
    small = {
        f"−{ratio:.0%}, round_to={multiple}": cut_with_prunelab(
            network, x, ratio, round_to=multiple
        )
        for ratio in ratios
        for multiple in ROUND_TO
    }
    return {WHOLE: network, **small}, x


def sizes(whole: nn.Module, network: nn.Module, x: Tensor) -> dict[str, float]:
    """Millions of parameters and MACs, and the share of the whole network's."""
    parameters, macs = count_parameters(network), count_macs(network, x)
    return {
        "M params": parameters / 1e6,
        "params left": parameters / count_parameters(whole),
        "M MACs": macs / 1e6,
        "MACs left": macs / count_macs(whole, x),
    }


def spread(quartiles: np.ndarray, unit: str) -> dict[str, float]:
    return dict(zip(("q25", unit, "q75"), quartiles, strict=True))


def show(title: str, rows: list[dict]) -> None:
    table = pd.DataFrame(rows).round(3).astype(object)
    print(f"\n{title}\n{table.where(table.notna(), '').to_string(index=False)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--models", nargs="+", default=["resnet18", "mobilenet_v2"], choices=FAMILIES, metavar="M"
    )
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 32], help="images at a time")
    parser.add_argument("--ratios", nargs="+", type=float, default=[0.25, 0.5, 0.75])
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each")
    parser.add_argument("--seconds", type=float, default=0.2, help="least time a measurement")
    arguments = parser.parse_args()
    require_torch_pruning()
    torch.set_num_threads(1)
    cores = sorted({1, os.cpu_count()})
    options = {"rounds": arguments.rounds, "seconds": arguments.seconds}

    rows = [row for model in arguments.models for row in cutting(model, TOOLS, 0.5, rounds=5)]
    show("Planning and cutting half of the channels", rows)
    for model in arguments.models:
        networks, x = cuts(model, TOOLS, arguments.ratios)
        show(f"Speed of {model}", speed(networks, x, arguments.batches, cores, **options))
    for model in [model for model in ROUNDED_MODELS if model in arguments.models]:
        networks, x = rounded(model, ROUNDED_RATIOS)
        show(f"Widths of {model} rounded", speed(networks, x, arguments.batches, [1], **options))


if __name__ == "__main__":
    main()
