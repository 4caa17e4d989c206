"""What every assignment brings along: your seed, the receipt of your prediction, your figure."""

import hashlib
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from matplotlib.collections import LineCollection, PolyCollection
from torch import Tensor, nn

from prunelab.data import Data
from prunelab.training import fit


def seed_of(student: str) -> int:
    """A number from 0 to 9999 that belongs to a name, the same on every machine."""
    name = " ".join(student.lower().split()) if isinstance(student, str) else ""
    if not name:
        raise ValueError("write your name first: student = '…'; your data depend on it")
    return int(hashlib.sha256(name.encode()).hexdigest(), 16) % 10_000


def trained(
    build: Callable[[], nn.Module], data: Data, seed: int, steps: int, learning_rate: float
) -> nn.Module:
    """A network whose first weights and order of images come from the seed, by Adam."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build()
    fit(
        model,
        data,
        steps=steps,
        optimizer=partial(torch.optim.Adam, lr=learning_rate),
        scheduler=partial(torch.optim.lr_scheduler.CosineAnnealingLR, T_max=steps),
        seed=seed,
        eval_splits=(),
        device="cpu",
        progress=False,
    )
    return model.eval()


def commit(
    prediction: dict[str, float],
    names: tuple[str, ...],
    low: float = 0,
    file: str = "prediction.json",
    unit: str = "points",
) -> None:
    """Write a prediction down, once. Another one later is refused."""
    if not isinstance(prediction, dict) or set(prediction) != set(names):
        wanted = " and ".join(map(repr, names))
        raise ValueError(f"predict {wanted}, in a dictionary; yours is {prediction!r}")
    for name, number in prediction.items():
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise ValueError(f"{name!r} must be a number of {unit}, such as 3; yours: {number!r}")
        if not low <= number <= 100:
            raise ValueError(f"{name!r} must be from {low} to 100 {unit}; yours: {number}")
    written = Path(file)
    if written.exists() and json.loads(written.read_text()) != prediction:
        raise ValueError(
            f"you have committed {written.read_text()} and now say {json.dumps(prediction)}. "
            "A wrong prediction costs no points; a changed one does. Put the first one back."
        )
    written.write_text(json.dumps(prediction))
    print("committed:", ", ".join(f"{number} {unit} {name}" for name, number in prediction.items()))


def drawn_numbers(figure) -> Tensor:
    """All numbers that lines, dots, bars, intervals and bands of a figure stand at."""
    found: list[float] = []
    for axes in figure.axes:
        for line in axes.lines:
            found += [*line.get_xdata(orig=False), *line.get_ydata(orig=False)]
        for group in axes.collections:
            found += np.ravel(group.get_offsets().tolist()).tolist()
            if isinstance(group, LineCollection | PolyCollection):
                found += [
                    number for path in group.get_paths() for number in np.ravel(path.vertices)
                ]
        for bar in axes.patches:
            found += [bar.get_height(), bar.get_width()]
    return torch.tensor([float(number) for number in found], dtype=torch.float64)


def written_words(figure) -> str:
    """All that is written in a figure, labels of ticks and legend included."""
    figure.canvas.draw()
    return " ".join(text.get_text() for text in figure.findobj(_has_text))


def _has_text(artist) -> bool:
    return hasattr(artist, "get_text")
