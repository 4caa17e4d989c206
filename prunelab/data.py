"""Whole data sets as tensors in memory, split once and reproducibly (notebooks 00 and 17)."""

import os
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torchvision import datasets

from prunelab.checks import check_choice, check_count, check_seed
from prunelab.checks.files import checked_path
from prunelab.checks.places import checkout_at
from prunelab.engines.image_files import read_fashion_mnist, read_torchvision
from prunelab.engines.text_files import CHARACTERS, read_library

ROOT = Path(__file__).parents[1]
CHECKOUT = checkout_at(ROOT)
DATA_DIR = Path(os.environ.get("PRUNELAB_DATA") or (CHECKOUT or Path.cwd()) / "data").absolute()

MEAN_STD = {
    "fashion-mnist": ([0.2860], [0.3530]),
    "mnist": ([0.1307], [0.3081]),
    "cifar10": ([0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]),
}
"""Pixel mean and standard deviation of each data set's training images, channel by channel."""


@dataclass(frozen=True)
class Split:
    """Images `x` `[N, C, H, W]` float32, normalized, and labels `y` `[N]` int64.

    Or text: blocks of characters `x` `[N, T]`, and the character after each, `y` `[N, T]`, int64.
    """

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, index) -> "Split":
        return Split(self.x[index], self.y[index])

    def to(self, device) -> "Split":
        return Split(self.x.to(device), self.y.to(device))


@dataclass(frozen=True)
class Data:
    """A data set in three parts: fit on `train`, choose on `valid`, report on `test`."""

    name: str
    train: Split
    valid: Split
    test: Split
    classes: tuple[str, ...]


def load_data(
    name: str = "fashion-mnist",
    train: int | None = None,
    valid: int = 5000,
    seed: int = 0,
    root: str | Path | None = None,
    download: bool = False,
) -> Data:
    """Load a data set, normalized, and set some training images aside for validation.

    Args:
        name: "fashion-mnist" (shipped with the project), "mnist" or "cifar10" (torchvision's), or
            "cpython": source text (shipped), in blocks of 64 characters.
        train: how many of the remaining training images to use; None means all of them.
        valid: how many training images to set aside for validation.
        seed: draws the split. One seed, one split: the same on every machine. Text is split by
            whole files, always the same; here `seed` draws which of their blocks are used.
        root: a torchvision data folder; None means what PRUNELAB_DATA
            names, else the project's own `data`; without a checkout, that of the current folder.
        download: fetch "mnist" or "cifar10" if they are not in `root`. Never happens unasked.

    Raises:
        ValueError: unknown name, or more images asked for than there are.
        FileNotFoundError: the files are not there (of "cifar10": not there, or damaged).
        RuntimeError: the files are there but damaged, or could not be downloaded.

    Source: Fashion-MNIST, Xiao, Rasul & Vollgraf (2017), arXiv:1708.07747; text, the standard
    library of CPython 3.11.7.
    """
    check_choice("name", name, (*MEAN_STD, "cpython"))
    check_seed(seed)
    root = checked_path(root, "root") if root is not None else DATA_DIR
    if name == "cpython":
        return _text(root, train, valid, seed)
    if name == "fashion-mnist":
        images, labels, test_images, test_labels = read_fashion_mnist(root)
        classes = datasets.FashionMNIST.classes
    else:
        images, labels, test_images, test_labels, classes = read_torchvision(name, root, download)

    available = len(labels)
    check_count("valid", valid, 0, available - 1)
    if train is not None:  # the others are set aside for validation
        check_count("train", train, 1, available - valid)
    order = torch.randperm(available, generator=torch.Generator().manual_seed(int(seed)))
    chosen = order[valid:] if train is None else order[valid : valid + train]
    return Data(
        name=name,
        train=_normalized(images[chosen], labels[chosen], name),
        valid=_normalized(images[order[:valid]], labels[order[:valid]], name),
        test=_normalized(test_images, test_labels, name),
        classes=tuple(classes),
    )


def _text(root: Path, train: int | None, valid: int, seed: int) -> Data:
    parts = {name: Split(x, y) for name, (x, y) in read_library(root).items()}
    check_count("valid", valid, 0, len(parts["valid"]))
    check_count("train", len(parts["train"]) if train is None else train, 1, len(parts["train"]))
    for name, count in (("valid", valid), ("train", train)):
        generator = torch.Generator().manual_seed(int(seed))
        order = torch.randperm(len(parts[name]), generator=generator)
        parts[name] = parts[name][order[:count]]
    return Data("cpython", parts["train"], parts["valid"], parts["test"], tuple(CHARACTERS))


def _normalized(images: Tensor, labels: Tensor, name: str) -> Split:
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in MEAN_STD[name])
    return Split(images.float().div_(255).sub_(mean).div_(std), labels.long())
