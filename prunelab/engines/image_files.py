"""Image data sets as files: Fashion-MNIST's, and what torchvision reads."""

import gzip
import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchvision import datasets

from prunelab.checks.places import GET_DATA


class DamagedData(RuntimeError):
    """The files of a data set are not what they should be, or could not be fetched."""


def read_fashion_mnist(root: Path) -> list[Tensor]:
    """Training images and labels, test images and labels, as bytes `[N, 1, 28, 28]` and `[N]`."""
    folder = root / "FashionMNIST" / "raw"
    images, labels, test_images, test_labels = (
        _read_idx(folder / filename, md5) for filename, md5 in datasets.FashionMNIST.resources
    )
    return [images.unsqueeze(1), labels, test_images.unsqueeze(1), test_labels]


def _read_idx(path: Path, md5: str) -> Tensor:
    """Read one gzipped IDX file: a magic number, the size of each dimension, then the bytes."""
    if not path.exists():
        raise FileNotFoundError(f"{path.name} is missing from {path.parent}; {GET_DATA}")
    packed = path.read_bytes()
    if hashlib.md5(packed, usedforsecurity=False).hexdigest() != md5:
        raise DamagedData(f"{path} is damaged: its MD5 checksum is not {md5}; {GET_DATA}")
    raw = bytearray(gzip.decompress(packed))
    dimensions = raw[3]
    shape = np.frombuffer(raw, ">i4", count=dimensions, offset=4).tolist()
    return torch.frombuffer(raw, dtype=torch.uint8, offset=4 + 4 * dimensions).view(shape)


def read_torchvision(name: str, root: Path, download: bool) -> tuple:
    """The same of "mnist" or "cifar10", and the names of the classes."""
    dataset = {"mnist": datasets.MNIST, "cifar10": datasets.CIFAR10}[name]
    try:
        parts = [dataset(root, train=is_train, download=download) for is_train in (True, False)]
    except (RuntimeError, ValueError, AssertionError, OSError) as error:
        if download or "not found" not in str(error):
            raise DamagedData(
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
