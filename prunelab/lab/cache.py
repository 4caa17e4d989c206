"""Keep what a function has returned, for as long as its code stays the same."""

import ast
import hashlib
import importlib
import importlib.util
import inspect
import json
import os
import warnings
from functools import cache
from pathlib import Path
from types import ModuleType

import torch
from joblib import Memory

from prunelab.data import ROOT
from prunelab.training import TrainingInterrupted

CACHE = Path(os.environ.get("PRUNELAB_CACHE", ROOT / ".cache"))


def remember(function, **arguments):
    """Call a module-level function, or fetch what it returned before for these arguments.

    What is kept counts only while the code stays the same: that of the function's module and of
    every module of prunelab it uses (comments and docstrings aside).
    """
    module = inspect.getmodule(function)
    call = (module.__name__, function.__name__, code_fingerprint(module), arguments)
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


@cache
def code_fingerprint(module: ModuleType) -> str:
    """A hash of the code of a module and of all modules of prunelab it uses."""
    sources = {m.__name__: _code_only(inspect.getsource(m)) for m in _uses(module, {})}
    return hashlib.sha256(json.dumps(sources, sort_keys=True).encode()).hexdigest()


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


def _uses(module: ModuleType, seen: dict) -> list[ModuleType]:
    seen[module.__name__] = module
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        imported = [alias.name for alias in getattr(node, "names", []) if hasattr(alias, "asname")]
        source = getattr(node, "module", None)
        for name in [source, *(f"{source}.{name}" for name in imported)] if source else imported:
            if name.startswith("prunelab.") and name not in {*seen, __name__} and _is_module(name):
                _uses(importlib.import_module(name), seen)
    return list(seen.values())


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # an object inside a module
        return False


def _code_only(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [line for line in body if not _is_string(line)]
    return ast.dump(tree)


def _is_string(line: ast.stmt) -> bool:
    return (
        isinstance(line, ast.Expr)
        and isinstance(line.value, ast.Constant)
        and isinstance(line.value.value, str)
    )
