"""Values in files that execute nothing: JSON for the structure, plain bytes for tensors."""

import errno
import hashlib
import json
import os
import uuid
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors of the system that say that there is no room to write."""
DTYPES = {str(d): d for d in vars(torch).values() if isinstance(d, torch.dtype)}


class CannotKeep(RuntimeError):
    """A finished result could not be written."""

    def __str__(self) -> str:
        path, why = self.args
        full = getattr(why, "errno", None) in FULL
        return f"{path} cannot be written ({why}){', perhaps because the disk is full' * full}"


class Damaged(ValueError):
    """What a file holds is not what was written there."""


def check_place(folder: Path) -> None:
    """Fail before hours of work if a folder cannot be written, or made.

    Raises:
        CannotKeep: it is read-only, or a file.
    """
    place = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    if not place.is_dir() or not os.access(place, os.W_OK):
        why = "is read-only" if place.is_dir() else "is no folder"
        raise CannotKeep(folder, f"{place} {why}")


def write_whole(path: Path, content: bytes) -> None:
    """All or nothing: a reader never sees half a file.

    Raises:
        CannotKeep: no room to write, or no right to.
    """
    unfinished = path.with_name(f"{path.name}.{uuid.uuid4().hex}.unfinished")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            unfinished.write_bytes(content)
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        raise CannotKeep(path, error) from error


def packed(value) -> bytes:
    """A value as a digest, a line of JSON and the bytes of its tensors.

    Args:
        value: None, bool, int, float, str and tensors, in lists, tuples and dictionaries with any
            of these (but tensors) as keys. A number of numpy becomes Python's.

    Raises:
        TypeError: anything else is in it.
    """
    tensors: list[Tensor] = []
    header = json.dumps(_plain(value, tensors), separators=(",", ":")).encode()
    body = b"\n".join([header, b"".join(map(_bytes, tensors))])
    return hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def unpacked(content: bytes) -> Any:
    """The value again, tensors with the strides they had.

    Raises:
        Damaged: this is nothing that `packed` has made, or not all of it.
    """
    digest, _, body = content.partition(b"\n")
    if hashlib.sha256(body).hexdigest().encode() != digest:
        raise Damaged("its checksum is wrong")
    header, _, numbers = body.partition(b"\n")
    try:
        return _value(json.loads(header), memoryview(numbers), [0])
    except (ValueError, TypeError, LookupError, RuntimeError, RecursionError) as error:
        raise Damaged(f"it has another format: {error}") from error


def _plain(value, tensors: list[Tensor]):
    """What JSON can say; whatever is not a plain value is a dictionary with its kind as key."""
    if isinstance(value, Tensor):
        tensors.append(value.detach().cpu())
        strides = list(tensors[-1].clone().stride())
        return {"tensor": [str(value.dtype), list(value.shape), strides]}
    if type(value).__module__ == "numpy" and hasattr(value, "item") and value.ndim == 0:
        value = value.item()
    if value is None or type(value) in (bool, int, float, str):
        return value
    if type(value) in (list, tuple):
        items = [_plain(item, tensors) for item in value]
        return items if type(value) is list else {"tuple": items}
    if type(value) is dict:
        pairs = [[_plain(key, tensors), _plain(item, tensors)] for key, item in value.items()]
        return {"dict": pairs}
    raise TypeError(f"{type(value).__name__} cannot be kept: {value!r}")


def _value(said, numbers: memoryview, read: list[int]):
    """The opposite of `_plain`; tensors are read one after the other, `read` bytes so far."""
    if isinstance(said, list):
        return [_value(item, numbers, read) for item in said]
    if not isinstance(said, dict):
        return said
    ((kind, inside),) = said.items()
    if kind == "tuple":
        return tuple(_value(item, numbers, read) for item in inside)
    if kind == "dict":
        return dict([_value(part, numbers, read) for part in pair] for pair in inside)
    dtype, shape, strides = {"tensor": inside}[kind]
    values = torch.empty(shape, dtype=DTYPES[dtype])
    begin, read[0] = read[0], read[0] + values.numel() * values.element_size()
    if values.numel():
        part = bytearray(numbers[begin : read[0]])
        values = torch.frombuffer(part, dtype=values.dtype).view(shape)
    return torch.empty_strided(shape, strides, dtype=values.dtype).copy_(values)


def _bytes(tensor: Tensor) -> bytes:
    return tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes()
