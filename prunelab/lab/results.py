"""The recorded tables: a CSV each, and a JSON that says where it comes from."""

import hashlib
import io
import json
from pathlib import Path

import pandas as pd

from prunelab.checks.places import GET_DATA
from prunelab.data import DATA_DIR
from prunelab.lab.store import write_whole

RESULTS = DATA_DIR / "results"


class DamagedRecord(RuntimeError):
    """A recorded table that is not the one its JSON describes."""


def load_results(name: str, results: Path = RESULTS) -> pd.DataFrame:
    """The recorded table of a study.

    Raises:
        FileNotFoundError: it has not been run.
        DamagedRecord: the CSV is not as it was written, or there is no JSON that says so.
    """
    path = results / f"{name}.csv"
    if not path.exists():
        command = f"`python -m prunelab run {name} --record` makes it"
        remedy = command if results.is_dir() else GET_DATA
        raise FileNotFoundError(f"{name} is not recorded in {results}; {remedy}")
    content, record = path.read_bytes(), load_record(name, results)
    if record is None or record.get("sha256") != hashlib.sha256(content).hexdigest():
        why = f"is not the table that {name}.json describes" if record else f"has no {name}.json"
        raise DamagedRecord(f"{path} {why}; {_remedy(name, results)}")
    try:
        return pd.read_csv(io.BytesIO(content))
    except ValueError as error:  # written wrongly, as its checksum is right
        raise DamagedRecord(f"{path} holds no table: {error}; {_remedy(name, results)}") from error


def with_more(name: str, results: Path = RESULTS) -> pd.DataFrame:
    """The recorded table of a study, and what `undecided` has measured for it on more networks.

    Raises:
        FileNotFoundError, DamagedRecord: as `load_results`.
    """
    recorded, more = load_results(name, results), load_results("undecided", results)
    of_study = more[more["study"] == name]
    if of_study.empty:
        return recorded
    measured = of_study[of_study.columns.intersection(recorded.columns)]
    return pd.concat(
        [recorded, measured.astype(recorded.dtypes[measured.columns])], ignore_index=True
    )


def load_record(name: str, results: Path = RESULTS) -> dict | None:
    """Where the table of a study comes from; None if it has not been run.

    Raises:
        DamagedRecord: this is no record.
    """
    path = results / f"{name}.json"
    try:
        record = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise DamagedRecord(f"{path} is damaged: {error}; {_remedy(name, results)}") from error
    if not isinstance(record, dict):
        raise DamagedRecord(f"{path} is damaged: no record; {_remedy(name, results)}")
    return record


def _remedy(name: str, results: Path) -> str:
    """How a damaged record is had again."""
    if results == RESULTS:
        return f"restore both, in a clone with `git checkout -- {results}/{name}.*`"
    return "run the study again"


def save_results(name: str, table: pd.DataFrame, record: dict, results: Path) -> None:
    """Write a table, and its record with the number of rows and the checksum of the file.

    Raises:
        CannotKeep: no room to write.
    """
    csv = table.to_csv(index=False, float_format="%.8g", lineterminator="\n").encode()
    record = record | {"rows": len(table), "sha256": hashlib.sha256(csv).hexdigest()}
    write_whole(results / f"{name}.csv", csv)
    write_whole(results / f"{name}.json", (json.dumps(record, indent=2) + "\n").encode())


def compared(name: str, folder: Path) -> str:
    """How the table of a study in a folder compares with the recorded one, in words."""
    if not (RESULTS / f"{name}.csv").exists():
        return "nothing is recorded to compare it with"
    new, old = ((each / f"{name}.csv").read_bytes().splitlines() for each in (folder, RESULTS))
    if new == old:
        return "identical to the recorded table"
    if len(new) != len(old):
        return f"the recorded table has {len(old) - 1} rows"
    different = sum(a != b for a, b in zip(new, old, strict=True))
    return f"{different} of them differ from the recorded table"
