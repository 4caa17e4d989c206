"""The recorded tables, and how they are written."""

import os
from pathlib import Path

import pandas as pd

from prunelab.data import DATA_DIR
from prunelab.lab.cache import CannotKeep

RESULTS = DATA_DIR / "results"


def load_results(name: str, results: Path = RESULTS) -> pd.DataFrame:
    """The recorded table of a study.

    Raises:
        FileNotFoundError: it has not been run.
    """
    path = results / f"{name}.csv"
    if not path.exists():
        raise FileNotFoundError(f"{name} is not recorded yet; run `python -m prunelab run {name}`")
    return pd.read_csv(path)


def _write(path: Path, text: str) -> None:
    """All or nothing: a reader never sees half a file."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.unfinished")
    try:
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise CannotKeep(path, error) from error
