"""The recorded tables: a CSV each, and a JSON that says where it comes from."""

import hashlib
import json
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


def load_record(name: str, results: Path = RESULTS) -> dict | None:
    """Where the table of a study comes from; None if it has not been run."""
    path = results / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def save_results(name: str, table: pd.DataFrame, record: dict, results: Path) -> None:
    """Write a table, and its record with the number of rows and the checksum of the file.

    Raises:
        CannotKeep: no room to write.
    """
    results.mkdir(parents=True, exist_ok=True)
    csv = table.to_csv(index=False, float_format="%.8g", lineterminator="\n").encode()
    record = record | {"rows": len(table), "sha256": hashlib.sha256(csv).hexdigest()}
    write_whole(results / f"{name}.csv", csv)
    write_whole(results / f"{name}.json", (json.dumps(record, indent=2) + "\n").encode())


def write_whole(path: Path, content: bytes) -> None:
    """All or nothing: a reader never sees half a file."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.unfinished")
    try:
        unfinished.write_bytes(content)
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise CannotKeep(path, error) from error
