"""What an iteration of a lottery-ticket training costs, against a bare loop, in one run.

    python benchmarks/lottery.py

LeNet-300-100 on Fashion-MNIST by the recipe of the study `lottery_tickets`: batches of 60, Adam,
20 % of the weights pruned a round after a short training. Four tables: the milliseconds of an
iteration at several densities, and what evaluation adds; the share of the processor's speed that
is used; what two processes do against one; and what the paper's figures would cost. All contenders
take turns, so that what else the machine does falls on all of them alike. Times are CPU time of
one thread, but for the two processes, whose wall time needs an idle machine.
"""

import argparse
import copy
import time
from collections.abc import Callable
from functools import partial

import pandas as pd
import torch
from joblib import Parallel, delayed
from torch import nn
from torch.nn import functional as F

from prunelab.data import Data, Split, load_data
from prunelab.engines.masked_mlp import MaskedMLP, fit_masked
from prunelab.lottery import prune_round
from prunelab.masks import get_masks, prunable_layers
from prunelab.models import lenet300
from prunelab.rewinding import snapshot, weight_rewinding
from prunelab.studies.tickets import (
    BATCH_SIZE,
    EVALUATE_EVERY,
    LEARNING_RATE,
    RATES,
    density_of,
)
from prunelab.training import evaluation_mode, shuffled_batches

FIGURES = {"4": (965, "with validation"), "3": (125, "with validation and test")}
"""Trainings behind a figure of Frankle & Carbin (2019), and how often evaluated they need to be."""
PAPER_ITERATIONS = 50_000


def bare_loop(model: nn.Module, data: Data, iterations: int, evaluated: bool = False) -> None:
    """What one would write without this package, with masks by `torch.nn.utils.prune`."""
    optimizer = torch.optim.Adam(model.parameters(), LEARNING_RATE, fused=True)
    x, y = data.train.x, data.train.y
    batches = shuffled_batches(len(y), BATCH_SIZE, seed=0)
    for iteration in range(iterations):
        if evaluated and iteration % EVALUATE_EVERY == 0:
            evaluate_plainly(model, data.valid)
            evaluate_plainly(model, data.test)
        index = next(batches)
        loss = F.cross_entropy(model(x[index]), y[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@torch.no_grad()
def evaluate_plainly(model: nn.Module, split: Split) -> tuple[float, float]:
    """Loss and accuracy in the batches of the training, a number fetched after each."""
    loss, correct = 0.0, 0
    with evaluation_mode(model):
        for x, y in zip(split.x.split(BATCH_SIZE), split.y.split(BATCH_SIZE), strict=True):
            outputs = model(x)
            loss += F.cross_entropy(outputs, y, reduction="sum").item()
            correct += (outputs.argmax(dim=1) == y).sum().item()
    return loss / len(split), correct / len(split)


def ours(model: nn.Module, data: Data, iterations: int, **options) -> None:
    fit_masked(model, data, steps=iterations, batch_size=BATCH_SIZE, lr=LEARNING_RATE, **options)


LOOPS: dict[str, Callable] = {
    "bare loop": bare_loop,
    "bare loop with validation and test": partial(bare_loop, evaluated=True),
    "fit_masked": partial(ours, eval_every=10**9),
    "fit_masked with validation": partial(ours, eval_every=EVALUATE_EVERY),
    "fit_masked with validation and test": partial(
        ours, eval_every=EVALUATE_EVERY, eval_splits=("valid", "test")
    ),
}


def tickets(data: Data, pruned: list[int], iterations: int) -> dict[int, nn.Sequential]:
    """The networks to train after those numbers of rounds, each after a short training."""
    model = lenet300(seed=0)
    start, networks = snapshot(model), {}
    for rounds in range(max(pruned) + 1):
        if rounds > 0:
            ours(model, data, iterations, eval_every=iterations, seed=rounds)
            prune_round(model, RATES)
            weight_rewinding(model, start, get_masks(model))
        if rounds in pruned:
            networks[rounds] = copy.deepcopy(model)
    return networks


def milliseconds(loop: Callable, model: nn.Module, data: Data, iterations: int) -> float:
    """CPU time of an iteration, without what a training costs once."""
    first = cpu_seconds(loop, copy.deepcopy(model), data, EVALUATE_EVERY)
    whole = cpu_seconds(loop, copy.deepcopy(model), data, EVALUATE_EVERY + iterations)
    return 1000 * (whole - first) / iterations


def cpu_seconds(function: Callable, *arguments) -> float:
    start = time.process_time()
    function(*arguments)
    return time.process_time() - start


def peak(size: int = 2048) -> float:
    """GFLOP/s of one large float32 matrix product."""
    a, b, product = torch.rand(size, size), torch.rand(size, size), torch.empty(size, size)
    return 2 * size**3 / cpu_seconds(lambda: torch.mm(a, b, out=product)) / 1e9


def measure(model: nn.Module, data: Data, iterations: int, rounds: int) -> pd.DataFrame:
    """Milliseconds of each loop (columns) in each of the rounds in which they take turns."""
    turns = [
        {name: milliseconds(loop, model, data, iterations) for name, loop in LOOPS.items()}
        | {"peak": peak()}
        for _ in range(rounds)
    ]
    return pd.DataFrame(turns)


def costs(networks: dict[int, nn.Module], measured: dict[int, pd.DataFrame]) -> pd.DataFrame:
    """Medians, and medians of the ratios within each round."""
    rows = []
    for rounds, model in networks.items():
        times = measured[rounds]
        faster = times["bare loop"] / times["fit_masked"]
        row = {
            "pruned": rounds,
            "kept %": 100 * density_of(model),
            "inputs": MaskedMLP(model).alive[0].sum().item(),
            "bare loop": times["bare loop"].median(),
            "fit_masked": times["fit_masked"].median(),
            "faster": faster.median(),
            "q25": faster.quantile(0.25),
            "q75": faster.quantile(0.75),
        }
        for name, loop in (
            ("naive", "bare loop with validation and test"),
            ("valid", "fit_masked with validation"),
            ("valid+test", "fit_masked with validation and test"),
        ):
            alone = times[loop.split(" with ")[0]]
            row |= {
                name: times[loop].median(),
                f"{name} %": 100 * (times[loop] / alone - 1).median(),
            }
        rows.append(row)
    return pd.DataFrame(rows)


def flops(model: nn.Module) -> int:
    """Additions and multiplications of an iteration: of its matrix products, dense.

    Forward, gradient of the weights, and gradient of the inputs of all layers but the first.
    """
    weights = [layer.weight.numel() for layer in prunable_layers(model).values()]
    return 2 * BATCH_SIZE * (3 * sum(weights) - weights[0])


def use_of_the_processor(model: nn.Module, times: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for name in ("bare loop", "fit_masked"):
        reached = flops(model) / times[name].median() / 1e6
        row = {"loop": name, "MFLOP": flops(model) / 1e6, "ms": times[name].median()}
        row |= {"GFLOP/s": reached, "peak": times["peak"].max()}
        rows.append(row | {"share of peak %": 100 * reached / times["peak"].max()})
    return pd.DataFrame(rows)


def wall_seconds(data: Data | None, iterations: int) -> float:
    """Wall time of one training in this process, after a first one that is not counted."""
    torch.set_num_threads(1)
    data = data or load_data()
    for count in (1, iterations):
        start = time.perf_counter()
        ours(lenet300(seed=0), data, count, eval_every=EVALUATE_EVERY)
    return time.perf_counter() - start


def two_processes(iterations: int, rounds: int, data: Data | None = None) -> pd.DataFrame:
    """Throughput of two trainings side by side over that of one: 2 × one alone / slower of two."""
    run = delayed(wall_seconds)(data, iterations)
    rows = []
    with Parallel(n_jobs=2) as parallel:
        parallel([delayed(wall_seconds)(data, 1)] * 2)  # starts the processes
        for _ in range(rounds):
            alone, slower = parallel([run])[0], max(parallel([run] * 2))
            rows.append({"alone s": alone, "side by side s": slower, "times": 2 * alone / slower})
    return pd.DataFrame(rows).median().to_frame().T


def core_hours(measured: dict[int, pd.DataFrame]) -> pd.DataFrame:
    """The paper's figures by extrapolation: trainings × iterations × mean time over densities."""
    medians = pd.DataFrame([times.median() for times in measured.values()]).mean()
    rows = []
    for figure, (trainings, evaluation) in FIGURES.items():
        for loop in ("bare loop", "bare loop with validation and test", f"fit_masked {evaluation}"):
            hours = trainings * PAPER_ITERATIONS * medians[loop] / 3.6e6
            row = {"figure": figure, "trainings": trainings, "loop": loop}
            rows.append(row | {"ms": medians[loop], "core-hours": hours})
    return pd.DataFrame(rows)


def show(title: str, table: pd.DataFrame, digits: int = 3) -> None:
    print(f"\n{title}\n{table.round(digits).to_string(index=False)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--iterations", type=int, default=400, help="iterations a measurement")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each")
    parser.add_argument(
        "--pruned",
        nargs="+",
        type=int,
        default=[0, 3, 7, 12, 15, 18, 21],
        metavar="N",
        help="rounds of pruning; 0 is dense",
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data = load_data()

    networks = tickets(data, arguments.pruned, iterations=300)
    measured = {
        rounds: measure(model, data, arguments.iterations, arguments.rounds)
        for rounds, model in networks.items()
    }
    show(
        "Milliseconds an iteration (seconds for 1,000 iterations), and % added by evaluation\n"
        f"every {EVALUATE_EVERY} iterations: naive (validation and test), valid, valid+test",
        costs(networks, measured),
    )
    if 0 in networks:
        show("Float32 speed of an iteration, dense", use_of_the_processor(networks[0], measured[0]))
    show(
        "Two dense trainings side by side, wall time; throughput is so many times that of one",
        two_processes(4 * arguments.iterations, arguments.rounds),
    )
    show(
        f"Extrapolated to {PAPER_ITERATIONS:,} iterations from the mean over the densities above",
        core_hours(measured),
        1,
    )


if __name__ == "__main__":
    main()
