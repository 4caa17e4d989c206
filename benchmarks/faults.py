"""Kills, full disks and flipped bytes: what a study loses, and whether its table is still right.

    python benchmarks/faults.py --kills 100

A study of 24 points, made for this, is run with two workers and disturbed at random moments while
it measures; the same command goes on until it is finished. Reported for every kind of fault: how
many there were, the measurements that had to be made again (at most one a kill and worker is
right; of flipped bytes and full disks one a file), the tables that differ from the undisturbed
one, and what did not end in two minutes: a run, or a worker whose run was killed.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).parents[1]
POINTS, JOBS, PATIENCE = 24, 2, 120
STUDY = '''
"""Numbers that take their time."""

import os
import time
from pathlib import Path

FOLDER = Path({folder!r})


def grid(seeds: int):
    """Some seeds."""
    return [{{"seed": seed}} for seed in range(seeds)]


def measure(seed):
    with (FOLDER / f"seed_{{seed}}").open("a") as calls:
        calls.write("x")
    time.sleep(0.1)
    return [{{"seed": seed, "value": seed / 7, "text": "x" * 100}}]
'''
LIMITED = (
    "import resource, runpy;"
    "resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, -1));"
    "runpy.run_module('prunelab', run_name='__main__')"
)


class Study:
    """The study in a folder of its own, with a copy of prunelab, and what happened to it."""

    def __init__(self, folder: Path):
        self.folder, self.faults, self.hangs = folder, 0, 0
        self.cache = folder / "kept"
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "prunelab", folder / "prunelab", ignore=ignore)
        source = STUDY.format(folder=str(folder))
        (folder / "prunelab" / "studies" / "numbers.py").write_text(source)
        # Importing torchvision takes half of the time, and the study does not need it.
        (folder / "torchvision.py").write_text("datasets = None\n")

    def start(self, *words: str, limit: int | None = None) -> subprocess.Popen:
        """The command, as leader of a group of processes."""
        program = ["-m", "prunelab"] if limit is None else ["-c", LIMITED.format(limit=limit)]
        command = [sys.executable, "-B", *program, "run", "numbers", "--seeds", str(POINTS)]
        variables = {"TQDM_DISABLE": "1", "OMP_NUM_THREADS": "1", "PRUNELAB_CACHE": str(self.cache)}
        for name in ("PRUNELAB_DATA", "PYTHONPATH", "JOBLIB_TEMP_FOLDER"):
            variables[name] = str(self.folder)
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        where = {"cwd": self.folder, "env": os.environ | variables, "start_new_session": True}
        return subprocess.Popen([*command, *(words or ("--jobs", str(JOBS)))], **where, **quiet)

    def end(self, process: subprocess.Popen, alone: bool = True) -> None:
        """Wait for a run and, unless others go on, its workers; kill what hangs, and count it."""
        deadline = time.monotonic() + PATIENCE
        while group(process.pid) if alone else process.poll() is None:
            process.poll()
            if time.monotonic() > deadline:
                self.hangs += 1
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                break
            time.sleep(0.02)
        process.wait()

    def calls(self) -> int:
        """How many measurements were begun."""
        return sum(path.stat().st_size for path in self.folder.glob("seed_*"))

    def table(self) -> bytes:
        """What an undisturbed run makes of all that is kept."""
        self.end(self.start())
        paths = list((self.folder / "build").rglob("numbers.csv"))
        return paths[0].read_bytes() if paths else b""

    def is_measuring(self, process: subprocess.Popen, within: float) -> bool:
        """Wait for a random moment after it has begun another measurement; False if it ends."""
        before = self.calls()
        while self.calls() == before and process.poll() is None:
            time.sleep(0.01)
        time.sleep(random.uniform(0, within))
        return process.poll() is None


def group(leader: int) -> list[int]:
    """The processes of a group that live, its leader first."""
    listed = subprocess.run(
        ["ps", "-A", "-o", "pid=,pgid=,stat="], capture_output=True, text=True, check=True
    ).stdout
    rows = [line.split() for line in listed.splitlines()]
    return sorted(int(pid) for pid, of, state in rows if int(of) == leader and state[0] != "Z")


def kill(study: Study, process: subprocess.Popen, whom: str) -> None:
    """SIGKILL to the whole group, to the run alone, or to one of its other processes."""
    others = [pid for pid in group(process.pid) if pid != process.pid]
    pids = {"group": [process.pid, *others], "run": [process.pid], "worker": others[-1:]}[whom]
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    study.faults += 1


def alone(study: Study) -> None:
    """One run, killed up to eight times."""
    for _ in range(random.randint(4, 8)):
        process = study.start()
        if study.is_measuring(process, within=0.4):
            kill(study, process, random.choice(["group", "run", "worker"]))
        study.end(process)


def two_on_one_cache(study: Study) -> None:
    """Two runs at once, of which one or both are killed."""
    for _ in range(random.randint(1, 3)):
        runs = [study.start() for _ in range(2)]
        for process in random.sample(runs, random.randint(1, 2)):
            if study.is_measuring(process, within=0.3):
                kill(study, process, random.choice(["group", "run", "worker"]))
        for process in runs:
            study.end(process)


def cluster(study: Study) -> None:
    """Workers of a Dask cluster, which replaces them, are killed while the run goes on."""
    from distributed import Client, LocalCluster

    os.environ |= {"PRUNELAB_CACHE": str(study.cache), "PRUNELAB_DATA": str(study.folder)}
    sys.path.insert(0, str(study.folder))  # the workers are given both
    with (
        LocalCluster(n_workers=JOBS, threads_per_worker=1, dashboard_address=":0") as workers,
        Client(workers) as client,
    ):
        process = study.start("--dask", workers.scheduler_address)
        for _ in range(2):  # after the third death in its hands, Dask gives a measurement up
            if study.is_measuring(process, within=0.3):
                pids = list(client.run(os.getpid, on_error="ignore").values())
                os.kill(random.choice(pids), signal.SIGKILL)
                study.faults += 1
        study.end(process)
    sys.path.remove(str(study.folder))


def full_disk(study: Study) -> None:
    """No file can grow beyond a random size: that of what is kept, or of the table."""
    for limit in (random.randint(1, 400), random.randint(400, 3000)):
        study.end(study.start(limit=limit))
        study.faults += 1


def flipped_bytes(study: Study) -> None:
    """One bit of some of the files that are kept."""
    study.end(study.start())
    for path in random.sample(sorted(study.cache.glob("*/*")), random.randint(1, 4)):
        content = bytearray(path.read_bytes())
        content[random.randrange(len(content))] ^= 1 << random.randrange(8)
        path.write_bytes(content)
        study.faults += 1


FAULTS: dict[str, tuple[Callable, float]] = {  # and their share of all
    "kills of one run": (alone, 0.6),
    "kills, two runs on one cache": (two_on_one_cache, 0.25),
    "kills of a cluster's workers": (cluster, 0.15),
    "full disk": (full_disk, 0.1),
    "flipped bits of the cache": (flipped_bytes, 0.1),
}


def disturbed(cause: Callable, expected: bytes | None = None) -> dict:
    """What became of a new study, and its table."""
    with tempfile.TemporaryDirectory() as folder:
        study = Study(Path(folder))
        cause(study)
        table = study.table()
        again, differs = study.calls() - POINTS, int(table != expected)
    row = {"studies": 1, "faults": study.faults, "measured again": again}
    return row | {"tables that differ": differs, "hangs": study.hangs, "table": table}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100, help="of processes, in all")
    parser.add_argument("--seed", type=int, default=0, help="draws the moments and the victims")
    arguments = parser.parse_args()
    random.seed(arguments.seed)
    expected = disturbed(lambda study: None)["table"]
    totals = pd.DataFrame()
    for name, (cause, share) in FAULTS.items():
        rows: list[dict] = []
        while sum(row["faults"] for row in rows) < arguments.kills * share:
            rows.append(disturbed(cause, expected))
            so_far = pd.DataFrame(rows).drop(columns="table").sum().rename(name)
            print(name, *so_far, file=sys.stderr, flush=True)
        totals = pd.concat([totals, so_far.to_frame().T])
    print(totals.rename_axis("fault").reset_index().to_string(index=False))


if __name__ == "__main__":
    main()
