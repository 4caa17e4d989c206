"""Run a study: every point of its grid, in parallel, cached, resumable, with its provenance.

A study is a module of `prunelab.studies` with a function `grid(seeds)`, which lists the points as
dictionaries, and a function `measure(**point)`, which returns the rows measured there. Finished
points are kept by `joblib.Memory`, so a study that was stopped goes on where it was.
"""

import ast
import hashlib
import importlib
import importlib.util
import inspect
import json
import os
import platform
import shutil
import subprocess
import sys
import time
import warnings
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import pandas as pd
import torch
from joblib import Memory, Parallel, delayed, parallel_config
from tqdm.auto import tqdm

from prunelab.data import DATA_DIR
from prunelab.training import TrainingInterrupted

ROOT = Path(__file__).parents[1]
RESULTS = DATA_DIR / "results"
CACHE = Path(os.environ.get("PRUNELAB_CACHE", ROOT / ".cache"))


def run(name: str, seeds: int = 5, jobs: int = 1, results: Path = RESULTS) -> pd.DataFrame:
    """Run a study and record it as `<name>.csv` with its provenance in `<name>.json`.

    Args:
        name: a module of `prunelab.studies`.
        seeds: independent repetitions of everything random, from seed 0 up.
        jobs: processes; each uses one thread. Timings want jobs=1 on an idle machine.
        results: the folder to write to.

    Returns:
        The table: one row a measurement, in the order of the grid whatever finished first.

    Raises:
        ValueError: an unknown study, or fewer than one seed or job.
    """
    if name not in studies():
        raise ValueError(f"name={name!r} is no study; choose one of {', '.join(studies())}")
    if seeds < 1 or jobs < 1:
        raise ValueError(f"seeds={seeds} and jobs={jobs} must be at least 1")
    study = importlib.import_module(f"prunelab.studies.{name}")
    points = study.grid(seeds)
    record = provenance(f"python -m prunelab run {name} --seeds {seeds} --jobs {jobs}")
    start = time.perf_counter()
    with parallel_config(backend="loky", inner_max_num_threads=1):
        finished = Parallel(n_jobs=jobs, batch_size=1, return_as="generator_unordered")(
            delayed(_numbered)(i, study.measure, point) for i, point in enumerate(points)
        )
        by_number = dict(tqdm(finished, total=len(points), desc=name))
    table = pd.DataFrame([row for i in range(len(points)) for row in by_number[i]])

    results.mkdir(parents=True, exist_ok=True)
    path = results / f"{name}.csv"
    _write(path, table.to_csv(index=False, float_format="%.8g", lineterminator="\n"))
    record |= {
        "seconds": round(time.perf_counter() - start, 1),
        "rows": len(table),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    _write(path.with_suffix(".json"), json.dumps(record, indent=2) + "\n")
    if hasattr(study, "finish"):
        study.finish(table)
    return table


def studies() -> list[str]:
    """The names of all studies."""
    return sorted(
        path.stem
        for path in (Path(__file__).parent / "studies").glob("*.py")
        if path.stem != "__init__"
    )


def load_results(name: str, results: Path = RESULTS) -> pd.DataFrame:
    """The recorded table of a study.

    Raises:
        FileNotFoundError: it has not been run.
    """
    path = results / f"{name}.csv"
    if not path.exists():
        raise FileNotFoundError(f"{name} is not recorded yet; run `python -m prunelab run {name}`")
    return pd.read_csv(path)


def remember(function, **arguments):
    """Call a module-level function, or fetch what it returned before for these arguments.

    What is kept counts only while the code stays the same: that of the function's module and of
    every module of prunelab it uses (comments and docstrings aside).
    """
    module = inspect.getmodule(function)
    return Memory(CACHE, verbose=0).cache(_call)(
        module.__name__, function.__name__, code_fingerprint(module), arguments
    )


def code_fingerprint(module: ModuleType) -> str:
    """A hash of the code of a module and of all modules of prunelab it uses."""
    sources = {m.__name__: _code_only(inspect.getsource(m)) for m in _uses(module, {})}
    return hashlib.sha256(json.dumps(sources, sort_keys=True).encode()).hexdigest()


def provenance(command: str) -> dict:
    """Who made a result: command, commit, versions, machine and date."""
    packages = ("torch", "torchvision", "numpy", "pandas", "scipy")
    return {
        "command": command,
        "commit": _git("rev-parse", "HEAD"),
        "uncommitted_changes": bool(_git("status", "--porcelain", "--", "prunelab")),
        "python": platform.python_version(),
        "versions": {package: version(package) for package in packages},
        "machine": {
            "system": f"{platform.system()} {platform.machine()}",
            "processor": _processor(),
            "cores": os.cpu_count(),
        },
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }


def _numbered(i: int, function, point: dict) -> tuple[int, list[dict]]:
    return i, remember(function, **point)


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


def _write(path: Path, text: str) -> None:
    """All or nothing: a reader never sees half a file."""
    unfinished = path.with_name(path.name + ".unfinished")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)


def _git(*arguments: str) -> str | None:
    if shutil.which("git") is None:
        return None
    answer = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    return answer.stdout.strip() if answer.returncode == 0 else None


def _processor() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()
