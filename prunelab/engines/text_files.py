"""Text as files: the modules of CPython's standard library, in blocks of characters."""

import hashlib
import io
import tarfile
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from prunelab.checks.places import GET_DATA
from prunelab.engines.image_files import DamagedData

LIBRARY = Path("CPython") / "library-3.11.7.tar.xz"
SHA256 = "975246d2fdd910648149a453d3df709536e803a4aeed99eea494fccdf15a51a0"
CHARACTERS = "\n" + "".join(map(chr, range(32, 127)))
"""All that occur: the end of a line, and what can be printed. The number of one is its place."""
PLACES = np.array([max(CHARACTERS.find(chr(code)), 0) for code in range(128)], dtype=np.int64)
BLOCK = 64
"""Characters of a block."""
EVERY, VALID, TEST = 7, 3, 6
"""Of the modules in the order of their names, every seventh from the fourth on is for validation,
every seventh from the seventh on for the test; the others are to train on."""


def read_library(root: Path) -> dict[str, tuple[Tensor, Tensor]]:
    """Blocks `[N, BLOCK]` and the character after each of theirs, of "train", "valid" and "test".

    The modules of a part stand one after the other; blocks do not overlap, and what is left at the
    end is dropped.
    """
    path = root / LIBRARY
    if not path.exists():
        raise FileNotFoundError(f"{path.name} is missing from {path.parent}; {GET_DATA}")
    parts = _parts(path.read_bytes(), str(path))
    return {name: (x.clone(), y.clone()) for name, (x, y) in parts.items()}


def parts_of(modules: dict[str, str]) -> dict[str, dict[str, str]]:
    """The modules of each part, whole: no part has seen the beginning of another's."""
    parts: dict[str, dict[str, str]] = {"train": {}, "valid": {}, "test": {}}
    for i, (name, text) in enumerate(sorted(modules.items())):
        part = {VALID: "valid", TEST: "test"}.get(i % EVERY, "train")
        parts[part][name] = text
    return parts


def in_blocks(text: str) -> tuple[Tensor, Tensor]:
    """Blocks `[N, BLOCK]` of the numbers of characters, and of those that follow each."""
    numbers = encoded(text)
    count = (len(numbers) - 1) // BLOCK
    x, y = (numbers[start : start + count * BLOCK].view(count, BLOCK) for start in (0, 1))
    return x, y


def encoded(text: str) -> Tensor:
    """The number of every character `[len(text)]`, int64."""
    codes = np.frombuffer(text.encode("ascii"), np.uint8)
    return torch.from_numpy(PLACES[codes])


@cache
def _parts(packed: bytes, path: str) -> dict[str, tuple[Tensor, Tensor]]:
    if hashlib.sha256(packed).hexdigest() != SHA256:
        raise DamagedData(f"{path} is damaged: its SHA-256 checksum is not {SHA256}; {GET_DATA}")
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r:xz") as archive:
        modules = {f.name: archive.extractfile(f).read().decode("ascii") for f in archive}
    parts = parts_of(modules).items()
    return {name: in_blocks("".join(texts.values())) for name, texts in parts}
