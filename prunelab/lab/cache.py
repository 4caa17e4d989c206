"""Keep what a function has returned, for as long as its code stays the same."""

import hashlib
import importlib
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import torch

from prunelab.data import CHECKOUT
from prunelab.lab.fingerprint import code_fingerprint
from prunelab.lab.store import Damaged, packed, unpacked, write_whole
from prunelab.training import TrainingInterrupted


def cache_folder(named: str | None, checkout: Path | None) -> Path:
    """What PRUNELAB_CACHE names, else `.cache` of a checkout, else the user's own cache."""
    if named:
        return Path(named).expanduser().absolute()
    if checkout and os.access(checkout, os.W_OK):
        return checkout / ".cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "prunelab"
    beside = "LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME"
    return Path(os.environ.get(beside) or Path.home() / ".cache") / "prunelab"


CACHE = cache_folder(os.environ.get("PRUNELAB_CACHE"), CHECKOUT)


class Kept(NamedTuple):
    """What a call has returned, the seconds it took, and whether it was kept from before."""

    value: Any
    seconds: float
    before: bool


def remember(function, **arguments):
    """Call a module-level function, or fetch what it returned before for these arguments.

    What is kept counts only while the code that the function uses stays the same. It is kept in a
    file that holds data and no code; one that is damaged, or another call's, is made again.

    Raises:
        CannotKeep: no room or no right to write.
        TypeError: it has returned what is neither a plain value nor a tensor (`store.packed`).
    """
    return kept(function, **arguments).value


def kept(function, **arguments) -> Kept:
    """As `remember`, with what it took."""
    module, name = function.__module__, function.__name__
    call = [module, name, code_fingerprint(function), dict(sorted(arguments.items()))]
    key = packed(call)
    path = CACHE / f"{module}.{name}" / hashlib.sha256(key).hexdigest()
    before = _read(path, key)
    if before is not None:
        return before
    start = time.perf_counter()
    value = _call(module, name, arguments)
    seconds = time.perf_counter() - start
    content = packed([call, value, seconds])
    write_whole(path, content)
    return Kept(unpacked(content)[1], seconds, False)  # the same types as from the file


def _read(path: Path, key: bytes) -> Kept | None:
    """What is kept of a call, if it is whole and of this call."""
    try:
        call, value, seconds = unpacked(path.read_bytes())
        if packed(call) != key:
            raise Damaged("it is of another call")
        return Kept(value, seconds, True)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, TypeError) as error:
        print(f"prunelab: {path} is not used, but made again: {error}", file=sys.stderr)
        return None


def _call(module: str, function: str, arguments: dict):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with warnings.catch_warnings():
            # A run stopped by hand is unfinished: it must fail, or it would be kept as a result.
            warnings.simplefilter("error", TrainingInterrupted)
            return getattr(importlib.import_module(module), function)(**arguments)
    finally:
        torch.set_num_threads(threads)
