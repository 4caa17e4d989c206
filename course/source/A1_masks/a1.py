"""What assignment A1 brings along: your seed, your network, and the receipt of your prediction."""

import hashlib
import json
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prunelab.data import Data
from prunelab.training import fit

BLOCKS = 5
TIED = ("stem", *(f"down{i}" for i in range(1, BLOCKS + 1)))
"""The layers whose outputs are added up: they write into the same channels."""
INNER = tuple(f"up{i}" for i in range(1, BLOCKS + 1))
"""The layers that write into channels of their own."""


def seed_of(student: str) -> int:
    """A number from 0 to 9999 that belongs to a name, the same on every machine."""
    name = " ".join(student.lower().split()) if isinstance(student, str) else ""
    if not name:
        raise ValueError("write your name first: student = '…'; your data depend on it")
    return int(hashlib.sha256(name.encode()).hexdigest(), 16) % 10_000


class ResidualNet(nn.Module):
    """A stem, then blocks that each add something to what is there: x + down(relu(up(x)))."""

    def __init__(self, width: int = 32):
        super().__init__()
        self.stem = nn.Linear(28 * 28, width)
        for up, down in zip(INNER, TIED[1:], strict=True):
            self.add_module(up, nn.Linear(width, width))
            self.add_module(down, nn.Linear(width, width))
        self.fc = nn.Linear(width, 10)

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(images.flatten(1))
        for up, down in zip(INNER, TIED[1:], strict=True):
            x = x + self.get_submodule(down)(F.relu(self.get_submodule(up)(x)))
        return self.fc(F.relu(x))


def trained_network(data: Data, seed: int, steps: int = 400) -> nn.Module:
    """Your residual network: its first weights and the order of its images come from the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = ResidualNet()
    fit(
        model,
        data,
        steps=steps,
        optimizer=partial(torch.optim.Adam, lr=2e-3),
        scheduler=partial(torch.optim.lr_scheduler.CosineAnnealingLR, T_max=steps),
        seed=seed,
        eval_splits=(),
        device="cpu",
        progress=False,
    )
    return model.eval()


def weakest(layer: nn.Linear, share: float = 0.5) -> Tensor:
    """The output channels of a layer with the smallest L1 norms, this share of them."""
    norms = layer.weight.detach().abs().sum(dim=1)
    return norms.argsort()[: round(share * len(norms))]


def commit(prediction: dict[str, float], file: str = "prediction.json") -> None:
    """Write a prediction down, once. Another one later is refused."""
    if not isinstance(prediction, dict) or set(prediction) != {"alone", "cut"}:
        raise ValueError(f"predict 'alone' and 'cut', in a dictionary; yours is {prediction!r}")
    for name, points in prediction.items():
        if isinstance(points, bool) or not isinstance(points, int | float):
            raise ValueError(f"{name!r} must be a number of points, such as 3; yours: {points!r}")
        if not 0 <= points <= 100:
            raise ValueError(f"{name!r} must be from 0 to 100 points; yours: {points}")
    written = Path(file)
    if written.exists() and json.loads(written.read_text()) != prediction:
        raise ValueError(
            f"you have committed {written.read_text()} and now say {json.dumps(prediction)}. "
            "A wrong prediction costs no points; a changed one does. Put the first one back."
        )
    written.write_text(json.dumps(prediction))
    print(f"committed: {prediction['alone']} points alone, {prediction['cut']} points cut.")


def drawn_numbers(figure) -> Tensor:
    """All numbers that lines, dots and bars of a figure stand at."""
    found = []
    for axes in figure.axes:
        for line in axes.lines:
            found += [*line.get_xdata(orig=False), *line.get_ydata(orig=False)]
        for dots in axes.collections:
            found += [number for place in dots.get_offsets().tolist() for number in place]
        for bar in axes.patches:
            found += [bar.get_height(), bar.get_width()]
    return torch.tensor([float(number) for number in found], dtype=torch.float64)


def written_words(figure) -> str:
    """All that is written in a figure, labels of ticks and legend included."""
    figure.canvas.draw()
    return " ".join(text.get_text() for text in figure.findobj(_has_text))


def _has_text(artist) -> bool:
    return hasattr(artist, "get_text")
