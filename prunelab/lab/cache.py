"""Keep what a function has returned, for as long as its code stays the same."""

import importlib
import os
import warnings
from pathlib import Path

import torch
from joblib import Memory

from prunelab.data import ROOT
from prunelab.lab.fingerprint import code_fingerprint
from prunelab.training import TrainingInterrupted

CACHE = Path(os.environ.get("PRUNELAB_CACHE", ROOT / ".cache"))


def remember(function, **arguments):
    """Call a module-level function, or fetch what it returned before for these arguments.

    What is kept counts only while the code that the function uses stays the same.
    """
    call = (function.__module__, function.__name__, code_fingerprint(function), arguments)
    with warnings.catch_warnings():
        # joblib would go on without keeping anything, and a long run would be lost in the end.
        warnings.filterwarnings("error", message="Unable to cache to disk")
        try:
            return Memory(CACHE, verbose=0).cache(_call)(*call)
        except Warning as warning:
            if "Unable to cache to disk" not in str(warning):
                raise
            raise CannotKeep(CACHE, warning.__context__) from warning


class CannotKeep(RuntimeError):
    """A finished result could not be written."""

    def __str__(self) -> str:
        path, why = self.args
        return f"{path} cannot be written ({why}), perhaps because the disk is full"


def _call(module: str, function: str, code: str, arguments: dict):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with warnings.catch_warnings():
            # A run stopped by hand is unfinished: it must fail, or it would be kept as a result.
            warnings.simplefilter("error", TrainingInterrupted)
            return getattr(importlib.import_module(module), function)(**arguments)
    finally:
        torch.set_num_threads(threads)
