"""CPU seconds of `fit` against a bare loop and the usual DataLoader loop, in one run.

    python benchmarks/training.py

LeNet-300-100 on Fashion-MNIST, Adam, one thread. The three take turns, so that what else the
machine does falls on all of them alike; the table gives the median of the rounds and the ratios.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import pandas as pd
import torch
from torch.nn import functional as F
from torchvision import transforms
from torchvision.datasets import FashionMNIST
from torchvision.datasets.utils import extract_archive

from prunelab.data import DATA_DIR, MEAN_STD, Data, load_data
from prunelab.models import lenet300
from prunelab.training import fit


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


def cpu_seconds(function, *arguments) -> float:
    start = time.process_time()
    function(*arguments)
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=400, help="training steps a measurement")
    parser.add_argument("--rounds", type=int, default=7, help="measurements of each")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data = load_data()

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "FashionMNIST" / "raw"
        raw.mkdir(parents=True)
        for archive in (DATA_DIR / "FashionMNIST" / "raw").glob("*.gz"):
            extract_archive(str(archive), str(raw))
        for batch_size in (60, 128):
            contenders = {
                "fit": (with_fit, data),
                "bare loop": (with_bare_loop, data),
                "DataLoader": (with_data_loader, folder),
            }
            seconds = {name: [] for name in contenders}
            for loop, source in contenders.values():
                loop(source, batch_size, 20)
            for _ in range(arguments.rounds):
                for name, (loop, source) in contenders.items():
                    seconds[name].append(cpu_seconds(loop, source, batch_size, arguments.steps))
            median = {name: statistics.median(values) for name, values in seconds.items()}
            rows += [
                {
                    "batch": batch_size,
                    "loop": name,
                    "ms a step": 1000 * median[name] / arguments.steps,
                    "speed of fit relative to it": median[name] / median["fit"],
                }
                for name in contenders
            ]
    print(pd.DataFrame(rows).round(3).to_string(index=False))


if __name__ == "__main__":
    main()
