"""Run a study: every point of its grid, in parallel, cached, resumable, with its provenance.

A study is a module of `prunelab.studies` with a function `grid(seeds)`, which lists the points as
dictionaries, and a function `measure(**point)`, which returns the rows measured there. Finished
points are kept by `lab/cache.py`, so a study that was stopped goes on where it was. Points are
handed out in the order of the grid, to the processes of this machine or to a Dask cluster.
"""

import ast
import importlib
import importlib.util
import inspect
import os
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType

import pandas as pd
from joblib import Parallel, delayed, parallel_config
from tqdm.auto import tqdm

from prunelab.data import CHECKOUT
from prunelab.lab import cache
from prunelab.lab.cache import Kept, kept
from prunelab.lab.calls import WrongCall, check_settings
from prunelab.lab.provenance import provenance
from prunelab.lab.results import RESULTS, load_record, save_results
from prunelab.lab.store import FULL, CannotKeep, check_place


def build_folder(checkout: Path | None) -> Path:
    """`build` of a checkout that can be written, else of the current folder."""
    here = checkout if checkout and os.access(checkout, os.W_OK) else Path.cwd()
    return here / "build"


BUILD = build_folder(CHECKOUT)
"""What is drawn or run beside the records goes here, from wherever the command is given."""
STUDIES = Path(__file__).parents[1] / "studies"
NO_STUDIES = {"__init__", "recovery", "shared", "tickets"}

SEEDS = 5
"""Repetitions, unless a scale, the caller or a record says otherwise."""


class StudyStopped(RuntimeError):
    """A study has ended before its last run. Says why, what is kept and how to go on."""


def run(
    name: str,
    seeds: int | None = None,
    jobs: int = 1,
    results: Path | None = None,
    scale: str = "recorded",
    dask: str | None = None,
    record: bool = False,
    **options,
) -> pd.DataFrame:
    """Run a study: its table goes into `<name>.csv`, with its provenance in `<name>.json`.

    Args:
        name: a module of `prunelab.studies`.
        seeds: independent repetitions of everything random, from seed 0 up. None means as many as
            the scale has, or 5.
        jobs: processes; each uses one thread. Timings want jobs=1 on an idle machine.
        results: the folder to write to. None means `results_folder`: beside the recorded studies.
        scale: "recorded", or another one that the study has.
        dask: the address of a Dask scheduler, such as "tcp://10.0.0.1:8786", whose workers are to
            do the work. They need prunelab, one thread each, and, if they are several machines,
            a `PRUNELAB_CACHE` that they share.
        record: put the table in the place of the recorded one, and what else the study ships, as
            the checkpoints of `dense`.
        options: what else the study's `grid` can be told, such as `rounds` or `iterations`.

    Returns:
        The table: one row a measurement, in the order of the grid whatever finished first.

    Raises:
        ValueError: an unknown study, a scale or an option it does not have, fewer than one seed
            or job; `record` of less than what is recorded, or of something else.
        StudyStopped: a worker died, or a result could not be kept, as on a full disk. What was
            finished is kept.
    """
    study = load_study(name)
    settings = grid_settings(study, seeds, scale, options)
    check_settings(settings | {"jobs": jobs})
    folder = results_folder(study, settings, scale, record)
    if results is not None:
        if not record and results.resolve() == RESULTS.resolve():
            raise ValueError(f"results={str(results)!r} holds the records: say record=True")
        folder = results
    points = study.grid(**settings)
    origin = provenance(_command(name, settings["seeds"], jobs, scale, options, record))
    start = time.perf_counter()
    rows: dict[int, Kept] = {}
    try:
        for place in (folder, *([] if dask else [cache.CACHE])):
            check_place(place)
        _measure(study, points, rows, jobs, dask)
        table = pd.DataFrame([row for i in range(len(points)) for row in rows[i].value])
        origin |= {
            "seeds": settings["seeds"],
            "seconds": round(time.perf_counter() - start, 1),
            "cost_seconds": round(sum(point.seconds for point in rows.values()), 1),
            "resumed": any(point.before for point in rows.values()),
        }
        save_results(name, table, origin, folder)
    except (BrokenProcessPool, CannotKeep, OSError) as error:
        raise StudyStopped(
            f"{name} has stopped: {_why(error)}. {len(rows)} of {len(points)} runs are finished "
            "and kept; the same command goes on from there"
        ) from error
    if record and hasattr(study, "finish"):
        study.finish(table)
    return table


def load_study(name: str) -> ModuleType:
    """The module of a study.

    Raises:
        ValueError: there is none of that name.
    """
    if name not in studies():
        raise ValueError(f"name={name!r} is no study; choose one of {', '.join(studies())}")
    return importlib.import_module(f"prunelab.studies.{name}")


def studies() -> list[str]:
    """The names of all studies."""
    return sorted(path.stem for path in STUDIES.glob("*.py") if path.stem not in NO_STUDIES)


def summary(name: str) -> str:
    """The first line of what a study says of itself; the study is not imported."""
    source = (STUDIES / f"{name}.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]


def scales(study: ModuleType) -> dict[str, dict]:
    """The scales a study can be run at, with what each of them sets."""
    return {"recorded": {}} | getattr(study, "SCALES", {})


def options(study: ModuleType) -> dict[str, inspect.Parameter]:
    """What a study's `grid` can be told besides `seeds`, by name."""
    parameters = inspect.signature(study.grid, eval_str=True).parameters
    return {name: parameter for name, parameter in parameters.items() if name != "seeds"}


def grid_settings(study: ModuleType, seeds: int | None, scale: str, asked: dict) -> dict:
    """The arguments of a study's `grid`: those of the scale, and what was asked for on top.

    A study has options if its `grid` has parameters besides `seeds`, and scales if it has a
    dictionary `SCALES` of such arguments by name.

    Raises:
        ValueError: a scale or an option that the study does not have.
    """
    name, known = study.__name__.rpartition(".")[2], scales(study)
    if scale not in known:
        raise ValueError(f"scale={scale!r} is none of {name}; it has {', '.join(known)}")
    unknown = [option for option in asked if option not in options(study)]
    if unknown:
        has = ", ".join(options(study)) or "none"
        raise ValueError(f"{unknown[0]}={asked[unknown[0]]!r} is no option of {name}; it has {has}")
    settings = {"seeds": SEEDS} | known[scale] | asked
    return settings if seeds is None else settings | {"seeds": seeds}


def results_folder(
    study: ModuleType, settings: dict, scale: str = "recorded", record: bool = False
) -> Path:
    """Where a run is written: below `build`, in a folder named by what differs from the record.

    Raises:
        ValueError: it is to be recorded, but has fewer seeds than the record or another setting
            than the device.
    """
    name = study.__name__.rpartition(".")[2]
    recorded = (load_record(name, RESULTS) or {}).get("seeds", SEEDS)
    parameters = {key: option.default for key, option in options(study).items()}
    usual = {"seeds": recorded} | parameters | scales(study)[scale]
    differs = [] if scale == "recorded" else [scale]
    for key, default in usual.items():
        if (value := settings.get(key, default)) != default:
            values = value if isinstance(value, tuple) else (value,)
            differs.append(f"{key}={','.join(map(str, values))}")
    if not record:
        return BUILD / name / re.sub(r"[^\w.,=+-]", "_", "+".join(differs) or "again")
    same = {f"seeds={max(settings['seeds'], recorded)}", f"device={settings.get('device')}"}
    if set(differs) - same:
        raise ValueError(
            f"record=True would put {' '.join(differs)} in the place of the recorded {name}, with "
            f"{recorded} seeds and no other option; leave one of them out"
        )
    return RESULTS


def _measure(
    study: ModuleType, points: list[dict], rows: dict[int, Kept], jobs: int, dask: str | None
) -> None:
    """Measure every point; what it gives is put into `rows`, by the number of the point."""
    run = os.getpid() if dask is None else None
    with _engine(jobs, dask) as parallel:
        finished = parallel(
            delayed(_numbered)(i, study.measure, point, run) for i, point in enumerate(points)
        )
        _collect(finished, rows, study, points)


def _why(error: Exception) -> str:
    """Why a study has stopped, in words; an error that is none of these goes on as it is."""
    if isinstance(error, BrokenProcessPool):
        return "a worker process died, perhaps for lack of memory (try fewer --jobs)"
    if isinstance(error, CannotKeep):
        return str(error)
    if isinstance(error, OSError) and error.errno in FULL:
        return str(CannotKeep(error.filename or cache.CACHE, error))
    raise error


@contextmanager
def _engine(jobs: int, dask: str | None) -> Iterator[Parallel]:
    """A pool of processes of this machine, or the workers of a cluster."""
    with ExitStack() as stack:
        backend: dict = {"backend": "loky", "inner_max_num_threads": 1}
        if dask is not None:
            backend = {"backend": "dask", "client": stack.enter_context(_client(dask))}
        stack.enter_context(parallel_config(**backend))
        # One run at a time: what is fetched from the cache says nothing of how long others take.
        yield Parallel(n_jobs=jobs, batch_size=1, return_as="generator_unordered")


def _client(dask: str):
    """A connection to a scheduler, or an error within seconds."""
    if importlib.util.find_spec("distributed") is None:
        raise WrongCall(f"dask={dask!r} needs a package: pip install distributed")
    from distributed import Client

    try:
        client = Client(dask, timeout=5)
    except (OSError, ValueError, TypeError) as error:
        raise WrongCall(
            f"dask={dask!r}: no scheduler answers there; give one as tcp://host:8786"
        ) from error
    try:
        client.wait_for_workers(1, timeout=5)
    except TimeoutError as error:
        client.close()
        raise WrongCall(
            f"dask={dask!r}: the scheduler there has no workers; start some: dask worker {dask}"
        ) from error
    return client


def _collect(
    finished: Iterator, rows: dict[int, Kept], study: ModuleType, points: list[dict]
) -> None:
    """Take the results as they come; the bar names the earliest point that is being measured."""
    describe = getattr(study, "describe", lambda **point: "")
    with tqdm(total=len(points), desc=study.__name__.rpartition(".")[2]) as bar:
        bar.set_postfix_str(describe(**points[0]))
        for i, measured in finished:
            rows[i] = measured
            unfinished = next((k for k in range(len(points)) if k not in rows), None)
            if unfinished is not None:
                bar.set_postfix_str(describe(**points[unfinished]), refresh=False)
            bar.update()


def _command(name: str, seeds: int, jobs: int, scale: str, options: dict, record: bool) -> str:
    words = [f"python -m prunelab run {name} --seeds {seeds} --jobs {jobs}"]
    if scale != "recorded":
        words.append(f"--scale {scale}")
    for option, value in options.items():
        values = value if isinstance(value, tuple) else (value,)
        words.append(f"--{option.replace('_', '-')} {' '.join(map(str, values))}")
    return " ".join([*words, "--record"] if record else words)


def _numbered(i: int, function, point: dict, run: int | None) -> tuple[int, Kept]:
    """What a point gives; `run` is the process of the run, which its workers do not outlive."""
    in_worker = run not in (None, os.getpid())
    if in_worker and not any(each.name == "parent" for each in threading.enumerate()):
        threading.Thread(target=_end_with, args=(run,), name="parent", daemon=True).start()
    return i, kept(function, **point)


def _end_with(run: int) -> None:
    while os.getppid() == run:
        time.sleep(0.5)
    os._exit(1)
