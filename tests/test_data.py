"""The shipped data set is the published one, and every way to load data works or says why not."""

import gzip
import hashlib
import os
import pickle
import re
import shutil
import tarfile

import numpy as np
import pytest
import torch
from torchvision import datasets

from prunelab.data import DATA_DIR, MEAN_STD, Data, Split, load_data
from prunelab.engines import text_files
from prunelab.engines.text_files import SHA256
from tests.helpers import random_state_left_alone

SHIPPED = DATA_DIR / "FashionMNIST" / "raw"
FILES = dict(datasets.FashionMNIST.resources)


def md5(path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def rows(split: Split) -> list[bytes]:
    return [row.tobytes() for row in split.x.flatten(1).numpy()]


@pytest.fixture
def shipped_copy(tmp_path):
    """A root whose files are links to the shipped ones, so that a test may damage one of them."""
    folder = tmp_path / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    for name in FILES:
        (folder / name).symlink_to(SHIPPED / name)
    return tmp_path


def test_the_shipped_files_have_their_checksums_and_their_license():
    lines = (SHIPPED / "MD5SUMS").read_text().splitlines()
    assert {name: checksum for checksum, name in (line.split() for line in lines)} == FILES
    assert "MIT" in (SHIPPED.parent / "LICENSE").read_text()


def test_every_image_and_class_is_there(full_data):
    splits = (full_data.train, full_data.valid, full_data.test)
    for split, size in zip(splits, (55000, 5000, 10000), strict=True):
        assert split.x.shape == (size, 1, 28, 28)
        assert (split.x.dtype, split.y.dtype) == (torch.float32, torch.int64)
    labels = torch.cat([full_data.train.y, full_data.valid.y])
    assert labels.bincount().tolist() == [6000] * 10
    assert full_data.test.y.bincount().tolist() == [1000] * 10
    assert full_data.classes == tuple(datasets.FashionMNIST.classes)


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    """The training images as they are shipped, one row an image."""
    packed = (SHIPPED / "train-images-idx3-ubyte.gz").read_bytes()
    return np.frombuffer(gzip.decompress(packed), np.uint8, offset=16).reshape(60000, 784)


def unnormalized(x: torch.Tensor) -> np.ndarray:
    return (x.flatten(1) * 0.3530 + 0.2860).mul(255).round().to(torch.uint8).numpy()


def test_train_and_valid_partition_the_training_images(full_data, pixels):
    both = unnormalized(torch.cat([full_data.train.x, full_data.valid.x]))
    assert sorted(row.tobytes() for row in both) == sorted(row.tobytes() for row in pixels)


def test_labels_stay_with_their_images(data, pixels):
    labels = gzip.decompress((SHIPPED / "train-labels-idx1-ubyte.gz").read_bytes())[8:]
    for image, label in zip(unnormalized(data.valid.x[:20]), data.valid.y[:20], strict=True):
        assert labels[(pixels == image).all(axis=1).argmax()] == label


def test_the_seed_alone_draws_the_split(data):
    with random_state_left_alone():
        again, other = (load_data(train=2000, valid=500, seed=seed) for seed in (0, 1))
    for name in ("train", "valid"):
        images = getattr(data, name).x
        assert torch.equal(getattr(again, name).x, images)
        assert not torch.equal(getattr(other, name).x, images)


def test_validation_images_are_the_same_and_apart_however_many_are_used(data, full_data):
    assert torch.equal(full_data.valid.x[:500], data.valid.x)
    few = load_data(train=300, valid=500)
    assert torch.equal(few.train.x, data.train.x[:300])
    assert len(set(rows(few.train)) & set(rows(data.valid))) == 0


def test_normalization_constants_are_those_of_the_training_pixels(pixels):
    mean, std = MEAN_STD["fashion-mnist"]
    assert (mean, std) == ([round(pixels.mean() / 255, 4)], [round(pixels.std() / 255, 4)])


def test_split_slices_images_and_labels_together(data):
    part = data.test[[3, 1]]
    assert torch.equal(part.x[0], data.test.x[3])
    assert part.y.tolist() == [data.test.y[3], data.test.y[1]]


def test_a_read_only_root_given_as_a_string_is_enough(shipped_copy, data):
    folder = shipped_copy / "FashionMNIST" / "raw"
    before = sorted(shipped_copy.rglob("*"))
    os.chmod(folder, 0o500)
    try:
        loaded = load_data(train=2000, valid=500, root=str(shipped_copy))
    finally:
        os.chmod(folder, 0o700)
    assert torch.equal(loaded.train.x, data.train.x)
    assert sorted(shipped_copy.rglob("*")) == before


@pytest.mark.parametrize("name", FILES)
def test_missing_file_is_named_with_the_remedy(shipped_copy, name):
    (shipped_copy / "FashionMNIST" / "raw" / name).unlink()
    with pytest.raises(FileNotFoundError, match=rf"{re.escape(name)}.*git checkout.*PRUNELAB_DATA"):
        load_data(root=shipped_copy)


@pytest.mark.parametrize(
    ("name", "damaged"),
    [
        ("train-labels-idx1-ubyte.gz", lambda content: content[:-1]),
        ("t10k-images-idx3-ubyte.gz", lambda content: content[:1000] + b"!" + content[1001:]),
    ],
)
def test_damaged_file_is_named_with_the_remedy(shipped_copy, name, damaged):
    path = shipped_copy / "FashionMNIST" / "raw" / name
    path.unlink()
    path.write_bytes(damaged((SHIPPED / name).read_bytes()))
    with pytest.raises(RuntimeError, match=rf"{re.escape(name)} is damaged.*git checkout"):
        load_data(root=shipped_copy)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "kmnist"}, "name='kmnist' .*fashion-mnist.*cifar10"),
        ({"valid": None}, "valid=None must be a whole number from 0 to 59999"),
        ({"seed": "0"}, "seed='0' must be a whole number"),
        ({"name": [1]}, r"name=\[1\] is unknown"),
        ({"valid": -1}, "valid=-1 must be a whole number from 0 to 59999"),
        ({"valid": 60000}, "valid=60000 must be a whole number from 0 to 59999"),
        ({"train": 0}, "train=0 must be a whole number from 1 to 55000"),
        ({"train": 55001}, "train=55001 must be a whole number from 1 to 55000"),
    ],
)
def test_impossible_arguments_are_named_with_what_is_possible(options, message):
    with pytest.raises(ValueError, match=message):
        load_data(**options)


def write_idx(path, array: np.ndarray) -> None:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    path.write_bytes(header + array.tobytes())


@pytest.fixture
def tiny_mnist(tmp_path):
    """Twelve training and four test images in MNIST's own format."""
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    pixels = np.random.default_rng(0)
    for part, size in (("train", 12), ("t10k", 4)):
        images = pixels.integers(0, 256, (size, 28, 28), dtype=np.uint8)
        write_idx(folder / f"{part}-images-idx3-ubyte", images)
        write_idx(folder / f"{part}-labels-idx1-ubyte", np.arange(size, dtype=np.uint8) % 10)
    return tmp_path


@pytest.fixture
def tiny_cifar10(tmp_path, monkeypatch) -> np.ndarray:
    """The pixels of five batches of three images and a test batch, in CIFAR-10's own format."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (6, 3, 3072), dtype=np.uint8)
    names = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    files = {n: {"data": p, "labels": [0, 1, 2]} for n, p in zip(names, pixels, strict=True)}
    files["batches.meta"] = {"label_names": list("abc")}
    for name, content in files.items():
        (folder / name).write_bytes(pickle.dumps(content))
    *sums, (_, of_meta) = ([name, md5(folder / name)] for name in files)
    meta = {"filename": "batches.meta", "key": "label_names", "md5": of_meta}
    monkeypatch.setattr(datasets.CIFAR10, "train_list", sums[:5])
    monkeypatch.setattr(datasets.CIFAR10, "test_list", sums[5:])
    monkeypatch.setattr(datasets.CIFAR10, "meta", meta)
    return pixels


def test_mnist_is_read_from_its_own_files_and_normalized_with_its_own_constants(tiny_mnist):
    raw = (tiny_mnist / "MNIST" / "raw" / "t10k-images-idx3-ubyte").read_bytes()[16:]
    pixels = np.frombuffer(raw, np.uint8).reshape(4, 1, 28, 28) / 255
    loaded = load_data("mnist", valid=2, root=tiny_mnist)
    np.testing.assert_allclose(loaded.test.x.numpy(), (pixels - 0.1307) / 0.3081, atol=1e-5)
    assert loaded.train.x.shape == (10, 1, 28, 28)
    assert loaded.test.y.tolist() == [0, 1, 2, 3]
    labels = torch.cat([loaded.train.y, loaded.valid.y])
    assert sorted(labels.tolist()) == sorted([*range(10), 0, 1])


def test_cifar10_is_read_from_its_own_files(tmp_path, tiny_cifar10):
    loaded = load_data("cifar10", valid=5, root=tmp_path)
    mean, std = (np.array(values).reshape(3, 1, 1) for values in MEAN_STD["cifar10"])
    expected = (tiny_cifar10[5].reshape(3, 3, 32, 32) / 255 - mean) / std
    np.testing.assert_allclose(loaded.test.x.numpy(), expected, atol=1e-5)
    assert (len(loaded.train), len(loaded.valid)) == (10, 5)
    assert loaded.classes == ("a", "b", "c")


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_missing_torchvision_data_says_how_to_fetch_it(tmp_path, name):
    with pytest.raises(FileNotFoundError, match=rf"{name} is not in .*load_data\('{name}', down"):
        load_data(name, root=tmp_path)


@pytest.mark.parametrize(
    "damaged",
    [
        lambda content: content[:-100],
        lambda content: b"",
        lambda content: content[:4],
        lambda content: b"<!DOCTYPE html>" + bytes(100),
    ],
)
def test_broken_mnist_says_how_to_replace_it(tiny_mnist, damaged):
    path = tiny_mnist / "MNIST" / "raw" / "train-images-idx3-ubyte"
    path.write_bytes(damaged(path.read_bytes()))
    with pytest.raises(RuntimeError, match=r"mnist in .* could not be read.*download=True"):
        load_data("mnist", root=tiny_mnist)


def test_corrupted_cifar10_says_how_to_replace_it(tmp_path, tiny_cifar10):
    path = tmp_path / "cifar-10-batches-py" / "data_batch_3"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises((FileNotFoundError, RuntimeError), match=r"damaged.*download=True"):
        load_data("cifar10", root=tmp_path)


def test_what_is_not_there_is_downloaded_only_when_asked(tmp_path, monkeypatch, tiny_mnist):
    asked = []

    def fake_download(url, download_root, filename, md5):
        asked.append(filename)
        name = filename.removesuffix(".gz")
        shutil.copy(tiny_mnist / "MNIST" / "raw" / name, f"{download_root}/{name}")

    monkeypatch.setattr("torchvision.datasets.mnist.download_and_extract_archive", fake_download)
    load_data("mnist", valid=2, root=tiny_mnist, download=True)
    with pytest.raises(FileNotFoundError):
        load_data("mnist", root=tmp_path / "empty")
    assert asked == []
    loaded = load_data("mnist", valid=2, root=tmp_path / "empty", download=True)
    assert sorted(asked) == sorted(name for name, _ in datasets.MNIST.resources)
    assert len(loaded.train) == 10


@pytest.fixture(scope="module")
def text() -> Data:
    return load_data("cpython")


LIBRARY = DATA_DIR / text_files.LIBRARY


def modules() -> dict[str, str]:
    with tarfile.open(LIBRARY) as archive:
        return {file.name: archive.extractfile(file).read().decode() for file in archive}


def joined(split: Split) -> str:
    return "".join(text_files.CHARACTERS[number] for number in split.x.flatten().tolist())


def test_the_shipped_text_has_its_checksum_and_its_license():
    assert (LIBRARY.parent / "SHA256SUMS").read_text().split() == [SHA256, LIBRARY.name]
    assert hashlib.sha256(LIBRARY.read_bytes()).hexdigest() == SHA256
    assert "PYTHON SOFTWARE FOUNDATION LICENSE" in (LIBRARY.parent / "LICENSE").read_text()
    assert "tarfile.py" in modules()


def test_text_is_split_by_whole_files_and_every_block_continues(text):
    names = sorted(modules())
    chosen = {"valid": names[3::7], "test": names[6::7]}
    chosen["train"] = sorted({*names} - {*chosen["valid"], *chosen["test"]})
    for part, files in chosen.items():
        expected = "".join(modules()[name] for name in files)
        blocks = text_files.read_library(DATA_DIR)[part]
        assert len(expected) - 65 <= blocks[0].numel() < len(expected)
        assert joined(Split(*blocks)) == expected[: blocks[0].numel()]
        assert torch.equal(blocks[0].flatten()[1:], blocks[1].flatten()[:-1])
    assert joined(text.test) == "".join(modules()[n] for n in chosen["test"])[: 64 * len(text.test)]


def test_blocks_of_text_are_those_of_their_files_whatever_is_asked_for(text):
    blocks = text_files.read_library(DATA_DIR)
    assert (text.train.x.dtype, text.train.y.dtype) == (torch.int64, torch.int64)
    assert text.train.x.shape == text.train.y.shape == blocks["train"][0].shape
    assert sorted(rows(text.train)) == sorted(rows(Split(*blocks["train"])))
    assert len(text.valid) == 5000
    with random_state_left_alone():
        few, other = (load_data("cpython", train=30, valid=20, seed=seed) for seed in (0, 1))
    assert torch.equal(few.train.y, text.train.y[:30])
    assert torch.equal(few.valid.x, text.valid.x[:20])
    assert not torch.equal(other.valid.x, few.valid.x)
    assert torch.equal(other.test.x, text.test.x)
    assert set(rows(other.valid)) <= set(rows(Split(*blocks["valid"])))


def test_missing_or_damaged_text_is_named_with_the_remedy(tmp_path):
    with pytest.raises(FileNotFoundError, match=rf"{LIBRARY.name}.*git checkout.*PRUNELAB_DATA"):
        load_data("cpython", root=tmp_path)
    (tmp_path / "CPython").mkdir()
    (tmp_path / text_files.LIBRARY).write_bytes(LIBRARY.read_bytes()[:-1])
    with pytest.raises(RuntimeError, match=rf"{LIBRARY.name} is damaged.*git checkout"):
        load_data("cpython", root=tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"valid": 10**6}, "valid=1000000 must be .* from 0 to"), ({"train": 0}, "train=0 must be")],
)
def test_impossible_numbers_of_blocks_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        load_data("cpython", **options)
