"""CPU seconds of `fit` against other loops, and of masked convolutions against dense ones.

    python benchmarks/training.py

Fashion-MNIST, Adam, one thread. The first table trains LeNet-300-100 with `fit`, a bare loop and
the usual DataLoader loop; the second trains small_convnet with `fit`, and evaluates it: dense,
masked, and masked by torch alone. The contenders of a table take turns, so that what else the
machine does falls on all of them alike; tables give medians of the rounds, and medians of the
ratios within each round.
"""

import argparse
import tempfile
import time
from pathlib import Path

import pandas as pd
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import prune
from torchvision import transforms
from torchvision.datasets import FashionMNIST
from torchvision.datasets.utils import extract_archive

from prunelab.data import DATA_DIR, MEAN_STD, Data, load_data
from prunelab.masks import get_masks
from prunelab.models import lenet300, small_convnet
from prunelab.pruning import apply_global_pruning
from prunelab.training import evaluate, fit


def with_fit(data: Data, batch_size: int, steps: int) -> None:
    fit(lenet300(seed=0), data, steps=steps, batch_size=batch_size, eval_splits=(), progress=False)


def with_bare_loop(data: Data, batch_size: int, steps: int) -> None:
    model = lenet300(seed=0)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    x, y = data.train.x, data.train.y
    step = 0
    while step < steps:
        for index in torch.randperm(len(y)).split(batch_size):
            loss = F.cross_entropy(model(x[index]), y[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
            if step == steps:
                break


def with_data_loader(folder: str, batch_size: int, steps: int) -> None:
    mean, std = MEAN_STD["fashion-mnist"]
    pipeline = transforms.Compose([transforms.ToTensor(), transforms.Normalize(mean, std)])
    dataset = FashionMNIST(folder, train=True, transform=pipeline)
    loader = torch.utils.data.DataLoader(dataset, batch_size=batch_size, shuffle=True)
    model = lenet300(seed=0)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for step, (x, y) in enumerate(loader):
        if step == steps:
            break
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def networks() -> dict[str, nn.Module]:
    """small_convnet dense and with 80 % of its weights masked, with and without our `set_mask`."""
    masked = apply_global_pruning(small_convnet(seed=0), sparsity=0.8)
    by_torch = small_convnet(seed=0)
    for name, mask in get_masks(masked).items():
        prune.custom_from_mask(by_torch.get_submodule(name), "weight", mask)
    return {"dense": small_convnet(seed=0), "masked": masked, "masked by torch alone": by_torch}


def train_convolutions(model: nn.Module, data: Data, steps: int) -> None:
    fit(model, data, steps=steps, eval_splits=(), progress=False)


def cpu_seconds(function, *arguments) -> float:
    start = time.process_time()
    function(*arguments)
    return time.process_time() - start


def take_turns(contenders: dict[str, tuple], rounds: int) -> pd.DataFrame:
    """CPU seconds of each contender (columns) in each of the rounds in which they take turns."""
    turns = [{name: cpu_seconds(*call) for name, call in contenders.items()} for _ in range(rounds)]
    return pd.DataFrame(turns)


def loops(data: Data, folder: str, steps: int, rounds: int) -> pd.DataFrame:
    """What a step costs in each loop."""
    rows = []
    for batch_size in (60, 128):
        contenders = {
            "fit": (with_fit, data, batch_size),
            "bare loop": (with_bare_loop, data, batch_size),
            "DataLoader": (with_data_loader, folder, batch_size),
        }
        take_turns({name: (*call, 20) for name, call in contenders.items()}, rounds=1)
        seconds = take_turns({name: (*call, steps) for name, call in contenders.items()}, rounds)
        rows += [
            {
                "batch": batch_size,
                "loop": name,
                "ms a step": 1000 * seconds[name].median() / steps,
                "speed of fit relative to it": (seconds[name] / seconds["fit"]).median(),
            }
            for name in contenders
        ]
    return pd.DataFrame(rows)


def convolutions(data: Data, steps: int, rounds: int) -> pd.DataFrame:
    """What a step and an evaluation cost with masks, and how many times what they cost without."""
    models = networks()
    training = {name: (train_convolutions, model, data, steps) for name, model in models.items()}
    evaluation = {name: (evaluate, model, data.valid) for name, model in models.items()}
    take_turns(training, rounds=1)
    step = take_turns(training, rounds) * 1000 / steps
    whole = take_turns(evaluation, rounds) * 1000
    return pd.DataFrame(
        {
            "weights": name,
            "ms a step": step[name].median(),
            "times dense": (step[name] / step["dense"]).median(),
            "ms an evaluation": whole[name].median(),
            "times dense ": (whole[name] / whole["dense"]).median(),
        }
        for name in models
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=400, help="training steps a measurement")
    parser.add_argument("--rounds", type=int, default=7, help="measurements of each")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data = load_data()

    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "FashionMNIST" / "raw"
        raw.mkdir(parents=True)
        for archive in (DATA_DIR / "FashionMNIST" / "raw").glob("*.gz"):
            extract_archive(str(archive), str(raw))
        table = loops(data, folder, arguments.steps, arguments.rounds)
    print(table.round(3).to_string(index=False), flush=True)
    table = convolutions(data, max(1, arguments.steps // 20), arguments.rounds)
    print(table.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
