"""Whole image data sets as tensors in memory, split once and reproducibly (notebook 00)."""

import gzip
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchvision import datasets

ROOT = Path(__file__).parents[1]
DATA_DIR = Path(os.environ.get("PRUNELAB_DATA", ROOT / "data"))

MEAN_STD = {
    "fashion-mnist": ([0.2860], [0.3530]),
    "mnist": ([0.1307], [0.3081]),
    "cifar10": ([0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]),
}
"""Pixel mean and standard deviation of each data set's training images, channel by channel."""


@dataclass(frozen=True)
class Split:
    """Images `x` `[N, C, H, W]` float32, normalized, and labels `y` `[N]` int64."""

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
        name: "fashion-mnist" (shipped with the project), "mnist" or "cifar10" (torchvision's).
        train: how many of the remaining training images to use; None means all of them.
        valid: how many training images to set aside for validation.
        seed: draws the split. One seed, one split: the same on every machine.
        root: a torchvision data folder; None means the project's own `data` folder.
        download: fetch "mnist" or "cifar10" if they are not in `root`. Never happens unasked.

    Raises:
        ValueError: unknown name, or more images asked for than there are.
        FileNotFoundError: the files are not there (of "cifar10": not there, or damaged).
        RuntimeError: the files are there but damaged, or could not be downloaded.

    Source: Fashion-MNIST, Xiao, Rasul & Vollgraf (2017), arXiv:1708.07747.
    """
    if name not in MEAN_STD:
        raise ValueError(
            f"name={name!r} is unknown; choose one of {', '.join(map(repr, MEAN_STD))}"
        )
    root = Path(root) if root is not None else DATA_DIR
    if name == "fashion-mnist":
        images, labels, test_images, test_labels = _read_fashion_mnist(root)
        classes = datasets.FashionMNIST.classes
    else:
        images, labels, test_images, test_labels, classes = _read_torchvision(name, root, download)

    available = len(labels)
    if not 0 <= valid < available:
        raise ValueError(
            f"valid={valid} must be from 0 to {available - 1} training images of {name}"
        )
    if train is not None and not 1 <= train <= available - valid:
        raise ValueError(
            f"train={train} must be from 1 to {available - valid}: {name} has {available} "
            f"training images and valid={valid} of them are set aside"
        )
    order = torch.randperm(available, generator=torch.Generator().manual_seed(seed))
    chosen = order[valid:] if train is None else order[valid : valid + train]
    return Data(
        name=name,
        train=_normalized(images[chosen], labels[chosen], name),
        valid=_normalized(images[order[:valid]], labels[order[:valid]], name),
        test=_normalized(test_images, test_labels, name),
        classes=tuple(classes),
    )


def _normalized(images: Tensor, labels: Tensor, name: str) -> Split:
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in MEAN_STD[name])
    return Split(images.float().div_(255).sub_(mean).div_(std), labels.long())


def _read_fashion_mnist(root: Path) -> list[Tensor]:
    folder = root / "FashionMNIST" / "raw"
    images, labels, test_images, test_labels = (
        _read_idx(folder / filename, md5) for filename, md5 in datasets.FashionMNIST.resources
    )
    return [images.unsqueeze(1), labels, test_images.unsqueeze(1), test_labels]


def _read_idx(path: Path, md5: str) -> Tensor:
    """Read one gzipped IDX file: a magic number, the size of each dimension, then the bytes."""
    if not path.exists():
        raise FileNotFoundError(
            f"{path.name} is missing from {path.parent}; restore it with "
            "`git checkout -- data/FashionMNIST`, or set PRUNELAB_DATA to the folder that has it"
        )
    packed = path.read_bytes()
    if hashlib.md5(packed, usedforsecurity=False).hexdigest() != md5:
        raise RuntimeError(
            f"{path} is damaged: its MD5 checksum is not {md5}; restore it with "
            "`git checkout -- data/FashionMNIST`"
        )
    raw = bytearray(gzip.decompress(packed))
    dimensions = raw[3]
    shape = np.frombuffer(raw, ">i4", count=dimensions, offset=4).tolist()
    return torch.frombuffer(raw, dtype=torch.uint8, offset=4 + 4 * dimensions).view(shape)


def _read_torchvision(name: str, root: Path, download: bool) -> tuple:
    dataset = {"mnist": datasets.MNIST, "cifar10": datasets.CIFAR10}[name]
    try:
        parts = [dataset(root, train=is_train, download=download) for is_train in (True, False)]
    except (RuntimeError, ValueError, AssertionError, OSError) as error:
        if download or "not found" not in str(error):
            raise RuntimeError(
                f"{name} in {root} could not be read: {error}; delete it and call "
                f"load_data({name!r}, download=True) with a network connection"
            ) from error
        raise FileNotFoundError(
            f"{name} is not in {root}, or its files are damaged; "
            f"load_data({name!r}, download=True) fetches it"
        ) from error
    tensors = []
    for part in parts:
        images = torch.as_tensor(part.data)
        images = images.permute(0, 3, 1, 2) if images.ndim == 4 else images.unsqueeze(1)
        tensors += [images, torch.as_tensor(part.targets)]
    return *tensors, parts[0].classes
