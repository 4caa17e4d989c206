"""Run a study: every point of its grid, in parallel, cached, resumable, with its provenance.

A study is a module of `prunelab.studies` with a function `grid(seeds)`, which lists the points as
dictionaries, and a function `measure(**point)`, which returns the rows measured there. Finished
points are kept by `joblib.Memory`, so a study that was stopped goes on where it was. Points are
handed out in the order of the grid, to the processes of this machine or to a Dask cluster.
"""

import errno
import hashlib
import importlib
import importlib.util
import inspect
import json
import time
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pandas as pd
from joblib import Parallel, delayed, parallel_config
from tqdm.auto import tqdm

from prunelab.data import ROOT
from prunelab.lab.cache import CACHE, CannotKeep, remember
from prunelab.lab.provenance import provenance
from prunelab.lab.results import RESULTS, _write

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors of the system that say that there is no room to write."""


class StudyStopped(RuntimeError):
    """A study has ended before its last run. Says why, what is kept and how to go on."""


def run(
    name: str,
    seeds: int | None = None,
    jobs: int = 1,
    results: Path | None = None,
    scale: str = "recorded",
    dask: str | None = None,
    **options,
) -> pd.DataFrame:
    """Run a study and record it as `<name>.csv` with its provenance in `<name>.json`.

    Args:
        name: a module of `prunelab.studies`.
        seeds: independent repetitions of everything random, from seed 0 up. None means as many as
            the scale has, or 5.
        jobs: processes; each uses one thread. Timings want jobs=1 on an idle machine.
        results: the folder to write to. None means `results_folder`.
        scale: "recorded", or another one that the study has.
        dask: the address of a Dask scheduler, such as "tcp://10.0.0.1:8786", whose workers are to
            do the work. They need prunelab, one thread each, and, if they are several machines,
            a `PRUNELAB_CACHE` that they share.
        options: what else the study's `grid` can be told, such as `rounds` or `iterations`.

    Returns:
        The table: one row a measurement, in the order of the grid whatever finished first.

    Raises:
        ValueError: an unknown study, a scale or an option it does not have, or fewer than one
            seed or job.
        StudyStopped: a worker died, or a result could not be kept, as on a full disk. What was
            finished is kept.
    """
    if name not in studies():
        raise ValueError(f"name={name!r} is no study; choose one of {', '.join(studies())}")
    study = importlib.import_module(f"prunelab.studies.{name}")
    settings = grid_settings(study, seeds, scale, options)
    if settings["seeds"] < 1 or jobs < 1:
        raise ValueError(f"seeds={settings['seeds']} and jobs={jobs} must be at least 1")
    points = study.grid(**settings)
    record = provenance(_command(name, settings["seeds"], jobs, scale, options))
    results = results or results_folder(scale, options)
    start = time.perf_counter()
    by_number: dict[int, list[dict]] = {}
    try:
        with _engine(jobs, dask) as parallel:
            finished = parallel(
                delayed(_numbered)(i, study.measure, point) for i, point in enumerate(points)
            )
            _collect(finished, by_number, study, points)
        table = pd.DataFrame([row for i in range(len(points)) for row in by_number[i]])
        results.mkdir(parents=True, exist_ok=True)
        path = results / f"{name}.csv"
        _write(path, table.to_csv(index=False, float_format="%.8g", lineterminator="\n"))
    except (BrokenProcessPool, CannotKeep, OSError) as error:
        why = "a worker process died, perhaps for lack of memory (try fewer --jobs)"
        if isinstance(error, CannotKeep):
            why = str(error)
        elif isinstance(error, OSError):
            if error.errno not in FULL:
                raise
            why = str(CannotKeep(error.filename or CACHE, error.strerror))
        raise StudyStopped(
            f"{name} has stopped: {why}. {len(by_number)} of {len(points)} runs are finished and "
            "kept; the same command goes on from there"
        ) from error
    record |= {
        "seconds": round(time.perf_counter() - start, 1),
        "rows": len(table),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    _write(path.with_suffix(".json"), json.dumps(record, indent=2) + "\n")
    if hasattr(study, "finish"):
        study.finish(table)
    return table


def grid_settings(study: ModuleType, seeds: int | None, scale: str, options: dict) -> dict:
    """The arguments of a study's `grid`: those of the scale, and what was asked for on top.

    A study has options if its `grid` has parameters besides `seeds`, and scales if it has a
    dictionary `SCALES` of such arguments by name.

    Raises:
        ValueError: a scale or an option that the study does not have.
    """
    name = study.__name__.rpartition(".")[2]
    scales = {"recorded": {}} | getattr(study, "SCALES", {})
    if scale not in scales:
        raise ValueError(f"scale={scale!r} is none of {name}; it has {', '.join(scales)}")
    known = [option for option in inspect.signature(study.grid).parameters if option != "seeds"]
    for option, value in options.items():
        if option not in known:
            has = f"it has {', '.join(known)}" if known else "it has none"
            raise ValueError(f"{option}={value!r} is no option of {name}; {has}")
    settings = {"seeds": 5} | scales[scale] | options
    return settings if seeds is None else settings | {"seeds": seeds}


def results_folder(scale: str = "recorded", options: dict | None = None) -> Path:
    """Where a run is written: what differs from the recorded studies never takes their place."""
    if scale == "recorded" and not options:
        return RESULTS
    return Path("build") / (scale if scale != "recorded" else "custom")


def studies() -> list[str]:
    """The names of all studies."""
    return sorted(
        path.stem
        for path in (ROOT / "prunelab" / "studies").glob("*.py")
        if path.stem != "__init__"
    )


@contextmanager
def _engine(jobs: int, dask: str | None) -> Iterator[Parallel]:
    """A pool of processes of this machine, or the workers of a cluster."""
    backend = {"backend": "loky", "inner_max_num_threads": 1}
    if dask is not None:
        if importlib.util.find_spec("distributed") is None:
            raise ValueError(f"dask={dask!r} needs a package: pip install distributed")
        backend = {"backend": "dask", "scheduler_host": dask}
    with parallel_config(**backend):
        # One run at a time: what is fetched from the cache says nothing of how long others take.
        yield Parallel(n_jobs=jobs, batch_size=1, return_as="generator_unordered")


def _collect(
    finished: Iterator, by_number: dict[int, list[dict]], study: ModuleType, points: list[dict]
) -> None:
    """Take the results as they come; the bar names the earliest point that is being measured."""
    describe = getattr(study, "describe", lambda **point: "")
    with tqdm(total=len(points), desc=study.__name__.rpartition(".")[2]) as bar:
        bar.set_postfix_str(describe(**points[0]))
        for i, rows in finished:
            by_number[i] = rows
            unfinished = next((k for k in range(len(points)) if k not in by_number), None)
            if unfinished is not None:
                bar.set_postfix_str(describe(**points[unfinished]), refresh=False)
            bar.update()


def _command(name: str, seeds: int, jobs: int, scale: str, options: dict) -> str:
    words = [f"python -m prunelab run {name} --seeds {seeds} --jobs {jobs}"]
    if scale != "recorded":
        words.append(f"--scale {scale}")
    words += [f"--{option} {value}" for option, value in options.items()]
    return " ".join(words)


def _numbered(i: int, function, point: dict) -> tuple[int, list[dict]]:
    return i, remember(function, **point)
