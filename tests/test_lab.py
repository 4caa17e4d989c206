"""A study is run once, in order, in parallel, and goes on where it was stopped."""

import hashlib
import importlib
import json
import multiprocessing
import os
import pickle
import re
import shutil
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from distributed import Client, LocalCluster

import prunelab.studies
from prunelab.cli import main
from prunelab.data import CHECKOUT, ROOT
from prunelab.figures import recorded
from prunelab.lab import cache, results, runner, store
from prunelab.lab.provenance import own_commit
from prunelab.lab.results import RESULTS, DamagedRecord, compared, load_results
from prunelab.lab.store import write_whole
from prunelab.training import TrainingInterrupted
from tests.processes import in_session, start, stop_hard, wait_until

TINY_STUDY = '''
"""Some numbers a seed."""

import os
import signal
import time
import warnings
from pathlib import Path

from prunelab.training import TrainingInterrupted

FOLDER = Path({folder!r})
SCALES = {{"quick": {{"seeds": 1, "steps": 2}}}}


def grid(seeds: int, steps: int = 3, at: tuple[float, ...] = (0.5,), last_step: int | None = None):
    """The seeds.

    Args:
        steps: rows of a seed, 100 % of them.
        at, last_step: nothing.
    """
    if steps > 50:
        raise ValueError(f"steps={{steps}} are too many")
    return [{{"seed": seed, "of": seeds, "steps": steps}} for seed in range(seeds)]


def describe(seed, **rest):
    return f"seed {{seed}}"


def measure(seed, of, steps):
    with (FOLDER / f"seed_{{seed}}").open("a") as calls:
        calls.write("x")
    while (FOLDER / f"hold_{{seed}}").exists():
        time.sleep(0.01)
    if (FOLDER / f"raise_{{seed}}").exists():
        raise OSError("power cut")
    if (flag := FOLDER / f"die_{{seed}}").exists():
        flag.unlink()
        assert os.getpid() != {pid}, "this is no worker"
        os.kill(os.getpid(), signal.SIGKILL)
    if (FOLDER / f"stop_{{seed}}").exists():
        warnings.warn("stopped by hand", TrainingInterrupted)
    return [{{"seed": seed, "step": step, "value": seed + step / 3}} for step in range(steps)]
'''


class Study:
    """A tiny study, installed for one test; it counts how often each seed was measured."""

    name = "tiny"

    def __init__(self, folder: Path):
        self.folder, self.build = folder, folder / "build" / "tiny"

    def run(self, seeds: int | None = 3, **options) -> pd.DataFrame:
        return runner.run("tiny", seeds=seeds, **{"results": self.folder} | options)

    def module(self):
        return importlib.import_module("prunelab.studies.tiny")

    def flag(self, name: str) -> Path:
        """A file that makes the study stop, raise, die or wait, while it is there."""
        (self.folder / name).touch()
        return self.folder / name

    def calls(self) -> list[int]:
        return [len(path.read_text()) for path in sorted(self.folder.glob("seed_*"))]

    def record(self) -> dict:
        return json.loads((self.folder / "tiny.json").read_text())

    def csv(self) -> bytes:
        return (self.folder / "tiny.csv").read_bytes()


@pytest.fixture
def study(tmp_path, monkeypatch):
    (tmp_path / "tiny.py").write_text(TINY_STUDY.format(folder=str(tmp_path), pid=os.getpid()))
    path = [*prunelab.studies.__path__, str(tmp_path)]
    monkeypatch.setattr(prunelab.studies, "__path__", path)
    monkeypatch.setattr(runner, "STUDIES", tmp_path)
    monkeypatch.setattr(runner, "studies", lambda: ["tiny"])
    monkeypatch.setattr(runner, "BUILD", tmp_path / "build")
    for module in (runner, results):
        monkeypatch.setattr(module, "RESULTS", tmp_path / "records")
    monkeypatch.setattr(cache, "CACHE", tmp_path / "cache")
    yield Study(tmp_path)
    sys.modules.pop("prunelab.studies.tiny", None)


def test_the_table_is_that_of_the_grid_and_is_recorded(study):
    table = study.run()
    assert table["seed"].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    expected = [seed + step / 3 for seed in range(3) for step in range(3)]
    assert table["value"].tolist() == pytest.approx(expected)
    pd.testing.assert_frame_equal(load_results("tiny", study.folder), table, rtol=1e-7)


def test_rows_are_in_the_order_of_the_grid_whatever_finishes_first(study, monkeypatch):
    engines = []

    @contextmanager
    def backwards(jobs, dask):
        engines.append((jobs, dask))
        yield lambda calls: (do(*which, **how) for do, which, how in reversed(list(calls)))

    monkeypatch.setattr(runner, "_engine", backwards)
    assert study.run(jobs=2, dask="tcp://x:1")["seed"].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert engines == [(2, "tcp://x:1")]


def test_only_what_is_new_is_measured(study):
    first, csv = study.run(), study.csv()
    pd.testing.assert_frame_equal(study.run(), first)
    assert study.calls() == [1, 1, 1]
    assert study.csv() == csv
    assert len(study.run(steps=4)) == 3 * 4
    assert study.calls() == [2, 2, 2]


def test_changed_code_is_measured_again(study):
    study.run()
    path = study.folder / "tiny.py"
    path.write_text(path.read_text().replace("step / 3", "step / 4"))
    del sys.modules["prunelab.studies.tiny"]
    shutil.rmtree(study.folder / "__pycache__", ignore_errors=True)
    assert study.run()["value"].iloc[1] == 0.25
    assert study.calls() == [2, 2, 2]


def test_a_stopped_run_records_nothing_and_keeps_what_is_finished(study):
    failing = study.flag("raise_1")
    with pytest.raises(OSError, match="power cut"):
        study.run()
    assert list(study.folder.glob("*.csv*")) == []
    failing.unlink()
    assert len(study.run()) == 9
    assert study.calls() == [1, 2, 1]


@pytest.mark.filterwarnings("default")
def test_training_stopped_by_hand_is_an_error_and_not_kept(study):
    stopping = study.flag("stop_0")
    with pytest.raises(TrainingInterrupted):
        study.run()
    stopping.unlink()
    study.run()
    assert study.calls() == [2, 1, 1]


class Harmful:
    """What a pickle can do: run code when it is read."""

    def __reduce__(self):
        return print, ("HARMED",)


def flipped(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda path, other: path.write_bytes(pickle.dumps(Harmful())), "its checksum is wrong"),
        (lambda path, other: path.write_bytes(b""), "its checksum is wrong"),
        (lambda path, other: path.write_bytes(flipped(path.read_bytes())), "its checksum is wrong"),
        (lambda path, other: path.write_bytes(other.read_bytes()), "it is of another call"),
        (lambda path, other: path.write_bytes(store.packed([1])), "not enough values to unpack"),
        (lambda path, other: [path.unlink(), path.mkdir()], "Is a directory"),
    ],
)
def test_cache_entry_that_is_not_what_was_kept_is_made_again(study, capsys, damage, why):
    first = study.run(seeds=2)
    path, other = (p for p in (study.folder / "cache").rglob("*") if p.is_file())
    damage(path, other)
    if path.is_dir():
        with pytest.raises(runner.StudyStopped, match="cannot be written"):
            study.run(seeds=2)
    else:
        pd.testing.assert_frame_equal(study.run(seeds=2), first)
    shown = capsys.readouterr()
    assert re.search(rf"prunelab: {path} is not used, but made again: .*{why}", shown.err)
    assert "HARMED" not in shown.out
    assert sorted(study.calls()) == [1, 2]


def test_what_is_kept_comes_back_as_it_was():
    image = torch.randn(2, 3, 4, 5)
    tensors = {
        "channels last": image.to(memory_format=torch.channels_last),
        "transposed": image[0, 0].t(),
        "empty": torch.zeros(0, 3),
        "count": torch.tensor(5),
        "mask": image > 0,
        "half": image.bfloat16(),
        "part of another": image[:, 1, 1:3],
        "one number": torch.tensor(1.0).expand(2, 3),
    }
    rows = [{"x": 0.1 + 0.2, "n": float("nan"), "i": float("-inf"), "none": None, "yes": True}]
    value = {("ticket", 0, 1): rows, 3: (tensors, [], {}, ""), "e": -0.0, "tuple": ((),)}
    again = store.unpacked(store.packed(value))
    assert repr(again) == repr(value)
    for name, tensor in again[3][0].items():
        assert tensor.dtype == tensors[name].dtype
        assert torch.equal(tensor, tensors[name])
        assert tensor.stride() == tensors[name].clone().stride()
    numbers = store.unpacked(store.packed([np.float64(1 / 3), np.int64(3), np.bool_(True)]))
    assert [(type(n), n) for n in numbers] == [(float, 1 / 3), (int, 3), (bool, True)]
    for wrong in ({1, 2}, object(), np.ones(3), b"bytes"):
        with pytest.raises(TypeError, match="cannot be kept"):
            store.packed([wrong])


def test_the_cache_has_a_place_everywhere(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own"))
    monkeypatch.setattr(sys, "platform", "linux")
    for named in (None, ""):
        assert cache.cache_folder(named, tmp_path) == tmp_path / ".cache"
    assert cache.cache_folder("shared", tmp_path) == Path("shared").absolute()
    monkeypatch.setattr("os.access", lambda *place: False)
    for checkout in (tmp_path, None):
        assert cache.cache_folder(None, checkout) == tmp_path / "own" / "prunelab"


def test_a_place_that_cannot_be_written_is_said_before_anything_is_measured(study, monkeypatch):
    monkeypatch.setattr(cache, "CACHE", study.flag("file") / "cache")
    with pytest.raises(runner.StudyStopped, match=r"file/cache cannot be written \(.*no folder"):
        study.run()
    assert study.calls() == []


def test_every_run_has_one_thread_and_the_caller_has_its_own_again(study, monkeypatch):
    threads = []
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    study.run(seeds=2)
    assert threads == [1, 7] * 2


def test_the_bar_names_the_earliest_run_that_is_not_finished(study, monkeypatch):
    shown = []
    show = runner.tqdm.set_postfix_str
    monkeypatch.setattr(
        runner.tqdm, "set_postfix_str", lambda bar, text, **k: shown.append(text) or show(bar, text)
    )
    study.run()
    assert shown == ["seed 0", "seed 1", "seed 2"]
    rows: dict = {}
    finished = iter([(1, []), (2, []), (0, [])])
    runner._collect(finished, rows, study.module(), [{"seed": seed} for seed in range(3)])
    assert shown[3:] == ["seed 0"] * 3
    assert set(rows) == {0, 1, 2}


def test_scales_and_options_set_the_grid(study):
    assert len(study.run(seeds=None)) == 5 * 3
    assert len(study.run(seeds=None, scale="quick")) == 1 * 2
    assert len(study.run(seeds=2, scale="quick")) == 2 * 2
    assert len(study.run(seeds=2, scale="quick", steps=4)) == 2 * 4


def test_finish_receives_the_recorded_table_and_no_other(study, monkeypatch):
    received = []
    monkeypatch.setattr(study.module(), "finish", received.append, raising=False)
    study.run(seeds=6)
    assert received == []
    assert study.run(seeds=6, record=True) is received[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rounds": 3}, "rounds=3 is no option of tiny; it has steps, at, last_step"),
        ({"scale": "paper"}, "scale='paper' is none of tiny; it has recorded, quick"),
        ({"seeds": 0}, "seeds=0 must be at least 1"),
        ({"jobs": 0}, "jobs=0 must be at least 1"),
        ({"record": True}, "put seeds=3 in the place of the recorded tiny, with 5 seeds"),
        ({"record": True, "seeds": 5, "steps": 4}, "would put steps=4 in the place"),
        ({"record": True, "scale": "quick"}, "would put quick seeds=3 in the place"),
    ],
)
def test_wrong_arguments_are_named(study, options, message):
    with pytest.raises(ValueError, match=message):
        study.run(**options)


def test_unknown_study_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"name='shared' is no study; choose one of .*dense, "):
        runner.run("shared")
    with pytest.raises(FileNotFoundError, match="python -m prunelab run density"):
        load_results("density")


def test_the_record_says_how_the_table_was_made(study, monkeypatch):
    before = []
    signed = runner.provenance
    monkeypatch.setattr(
        runner, "provenance", lambda command: before.append(study.calls()) or signed(command)
    )
    study.run(seeds=2, scale="quick", steps=4, at=(0.1, 0.2), last_step=3)
    record = study.record()
    options = "--seeds 2 --jobs 1 --scale quick --steps 4 --at 0.1 0.2 --last-step 3"
    expected = {
        "command": f"python -m prunelab run tiny {options}",
        "rows": 8,
        "seeds": 2,
        "resumed": False,
        "sha256": hashlib.sha256(study.csv()).hexdigest(),
        "python": ".".join(map(str, sys.version_info[:3])),
    }
    assert {name: record[name] for name in expected} == expected
    assert (record["commit"], record["uncommitted_changes"]) == own_commit(CHECKOUT)
    assert before == [[]]  # signed before anything was measured
    assert record["versions"]["torch"] == torch.__version__.split("+")[0]
    assert 0 <= record["seconds"] < 300
    study.run(seeds=2, scale="quick", steps=4)
    again = study.record()
    assert (again["resumed"], again["cost_seconds"]) == (True, record["cost_seconds"])
    today = datetime.now(UTC).date()
    assert 0 <= (today - datetime.fromisoformat(record["date"]).date()).days <= 1


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("csv", lambda content: content[:-2], "t.csv is not the table that t.json describes"),
        ("csv", lambda content: content.replace(b"1", b"2"), "t.csv is not the table that"),
        ("csv", lambda content: b"", "t.csv is not the table that"),
        ("json", lambda content: content[:-9], "t.json is damaged: "),
        ("json", lambda content: b"[]", "t.json is damaged: no record"),
        ("json", None, "t.csv has no t.json"),
    ],
)
def test_a_record_that_was_changed_is_not_read(tmp_path, monkeypatch, name, change, message):
    results.save_results("t", pd.DataFrame({"x": [1.5, 2]}), {}, tmp_path)
    assert load_results("t", tmp_path)["x"].tolist() == [1.5, 2]
    path = tmp_path / f"t.{name}"
    path.write_bytes(change(path.read_bytes())) if change else path.unlink()
    with pytest.raises(DamagedRecord, match=f"{message}.*; run the study again"):
        load_results("t", tmp_path)
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    with pytest.raises(DamagedRecord, match=r"restore both, in a clone with `git .*t\.\*`$"):
        load_results("t", tmp_path)


@pytest.mark.parametrize(
    ("options", "place"),
    [
        ({}, "again"),
        ({"steps": 3, "jobs": 1}, "again"),
        ({"seeds": 1}, "seeds=1"),
        ({"seeds": 6}, "seeds=6"),
        ({"scale": "quick"}, "quick"),
        ({"scale": "quick", "steps": 2, "seeds": 3}, "quick+seeds=3"),
        ({"at": (0.1, 2.0), "steps": 4}, "steps=4+at=0.1,2.0"),
        ({"last_step": "../../x"}, "last_step=.._.._x"),
    ],
)
def test_what_is_recorded_is_replaced_by_the_same_or_more_and_if_told_so(study, options, place):
    records = study.folder / "records"
    runner.run("tiny", record=True)
    kept = (records / "tiny.csv").read_bytes()
    runner.run("tiny", **options)
    assert (records / "tiny.csv").read_bytes() == kept
    assert len(pd.read_csv(study.build / place / "tiny.csv")) > 0
    assert place != "again" or "identical" in compared("tiny", study.build / place)
    with pytest.raises(ValueError, match="holds the records: say record=True"):
        study.run(None, results=records)
    runner.run("tiny", seeds=6, record=True)
    with pytest.raises(ValueError, match="place of the recorded tiny, with 6 seeds"):
        runner.run("tiny", record=True)


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on file sizes on this system")
@pytest.mark.parametrize(("limit", "finished", "path"), [(100, 0, "cache"), (3000, 100, "tiny")])
def test_a_full_disk_ends_the_run_in_a_line_and_the_next_goes_on(study, limit, finished, path):
    resource = importlib.import_module("resource")
    command = ["run", "tiny", "--seeds", "100"]
    message = rf"^prunelab: tiny has stopped: .*{path}\S* cannot be written \(.*File too large\).*"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limits[1]))
    try:
        with pytest.raises(SystemExit, match=f"{message} {finished} of 100 runs are finished and"):
            main(command)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(study.build.rglob("tiny.csv"))
    main(command)
    assert study.calls() == [1 if finished else 2] + [1] * 99
    assert len(pd.read_csv(study.build / "seeds=100" / "tiny.csv")) == 300


@pytest.fixture
def in_processes(study, monkeypatch) -> Study:
    """The study in a copy of prunelab, which the processes that a test starts import."""
    package = study.folder / "prunelab"
    shutil.copytree(ROOT / "prunelab", package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(study.folder / "tiny.py", package / "studies")
    # Importing torchvision takes half of the time, and the study does not need it.
    (study.folder / "torchvision.py").write_text("datasets = None\n")
    for name in ("PRUNELAB_DATA", "PYTHONPATH", "JOBLIB_TEMP_FOLDER"):
        monkeypatch.setenv(name, str(study.folder))
    monkeypatch.setenv("PRUNELAB_CACHE", str(study.folder / "cache"))
    monkeypatch.syspath_prepend(str(study.folder))  # workers have the path of their parent
    return study


def test_a_dead_worker_ends_the_run_clearly_and_the_next_goes_on(in_processes):
    study = in_processes
    dying = study.flag("die_3")
    message = r"^tiny has stopped: a worker process died, .* \d of 4 runs are finished and kept"
    with pytest.raises(runner.StudyStopped, match=message):
        study.run(4, jobs=2)
    assert not dying.exists()
    finished = list(study.folder.glob("cache/*measure/*"))
    assert len(study.run(4)) == 12
    calls = study.calls()
    assert calls[3] == 2
    assert calls.count(1) >= len(finished)


def test_two_runs_at_once_share_the_cache(study):
    held, processes = study.flag("hold_0"), multiprocessing.get_context("fork")
    how = [{"seeds": 2, "results": study.folder / name} for name in ("one", "other")]
    runs = [processes.Process(target=study.run, kwargs=each) for each in how]
    for run in runs:
        run.start()
    wait_until(lambda: study.calls() == [2])
    held.unlink()
    for run in runs:
        run.join()
    assert [run.exitcode for run in runs] == [0, 0]
    assert study.calls()[1] <= 2
    study.run(seeds=2)
    written = {path for path in study.folder.rglob("*") if "unfinished" in path.name}
    assert written == set()
    tables = [(study.folder / name / "tiny.csv").read_bytes() for name in ("one", "other")]
    assert tables == [study.csv()] * 2


@pytest.mark.skipif(sys.platform == "win32", reason="no process groups on this system")
def test_a_killed_run_ends_with_its_workers_and_goes_on_where_it_was(in_processes):
    study, held = in_processes, range(2, 6)
    flags = [study.flag(f"hold_{seed}") for seed in held]

    def in_flight() -> list[int]:
        started = {seed: study.folder / f"seed_{seed}" for seed in held}
        return [seed for seed, path in started.items() if path.exists() and path.read_text()]

    words = "-m prunelab run tiny --seeds 6 --jobs 2 --record"
    process = start(*words.split(), cwd=study.folder)
    try:
        wait_until(lambda: len(in_flight()) == 2, process)
        assert len(in_session(process)) >= 3  # the run and its two workers
        process.kill()
        process.wait()
        wait_until(lambda: in_session(process) == [], seconds=20)
    finally:
        stop_hard(process)
    assert study.calls() == [1] * 4
    assert not list(study.folder.rglob("tiny.csv"))

    for flag in flags:
        flag.unlink()
    table = study.run(6)
    assert study.calls() == [1, 1, 2, 2, 1, 1]
    assert study.record()["resumed"]
    assert table["value"].tolist() == [seed + step / 3 for seed in range(6) for step in range(3)]


def test_a_cluster_with_a_killed_worker_gives_the_local_table(in_processes, monkeypatch):
    study = in_processes
    study.flag("die_1")
    cluster = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)
    with cluster, Client(cluster):
        on_cluster = study.run(4, dask=cluster.scheduler_address)
    assert study.calls()[1] == 2
    monkeypatch.setattr(cache, "CACHE", study.folder / "another")
    pd.testing.assert_frame_equal(study.run(4), on_cluster)


def test_a_reader_never_sees_half_a_file(tmp_path, monkeypatch):
    path = tmp_path / "table.csv"
    write_whole(path, b"whole\n")
    write = Path.write_bytes

    def half(self, content):
        write(self, content[: len(content) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(store.CannotKeep, match=r"table\.csv cannot be written .*No space left"):
        write_whole(path, b"another\n")
    assert path.read_bytes() == b"whole\n"
    assert list(tmp_path.iterdir()) == [path]


@pytest.fixture
def asked(monkeypatch):
    """What the command line asks for, in place of running and drawing it."""
    calls = []

    def run(name, *arguments, **options):
        calls.append((name, *arguments, options))
        return pd.DataFrame({"x": [1, 2]})

    monkeypatch.setattr(runner, "run", run)
    monkeypatch.setattr(recorded, "draw_recorded", lambda *to: calls.append(to) or ["a.png"])
    return calls


def test_options_are_those_of_the_grid_with_their_types(study, asked, capsys):
    words = "--trials 2 --jobs 4 --dask tcp://x:1 --steps 9 --at 0.1 2 --last-step 5"
    main(["run", "tiny", *words.split()])
    options = {"steps": 9, "at": (0.1, 2.0), "last_step": 5}
    how = {"scale": "recorded", "dask": "tcp://x:1", "record": False}
    table = study.build / "seeds=2+steps=9+at=0.1,2.0+last_step=5" / "tiny.csv"
    assert asked == [("tiny", 2, 4, how | options)]
    said = f"2 rows are in {table}: nothing is recorded to compare it with\n"
    assert capsys.readouterr().out == said


def test_the_line_at_the_end_says_where_it_is_and_whether_it_is_as_recorded(study, capsys):
    main(["run", "tiny", "--record"])
    for words in ("", "--seeds 4", "--steps 3"):
        main(["run", "tiny", *words.split()])
    record = study.folder / "records" / "tiny.csv"
    record.write_bytes(record.read_bytes().replace(b"\n0,", b"\n9,"))
    main(["run", "tiny"])
    assert capsys.readouterr().out.splitlines() == [
        f"15 rows are in {record}: the recorded table now",
        f"15 rows are in {study.build}/again/tiny.csv: identical to the recorded table",
        f"12 rows are in {study.build}/seeds=4/tiny.csv: the recorded table has 15 rows",
        f"15 rows are in {study.build}/again/tiny.csv: identical to the recorded table",
        f"15 rows are in {study.build}/again/tiny.csv: 3 of them differ from the recorded table",
    ]


def test_figures_are_drawn_beside_a_table_that_is_not_recorded(study, asked, monkeypatch):
    monkeypatch.setitem(recorded.DRAWN, "tiny", None)
    monkeypatch.setattr("prunelab.cli.compared", lambda *which: "")
    for words in ("--scale quick", "--record"):
        main(["run", "tiny", *words.split()])
    how = {"dask": None, "scale": "quick", "record": False}
    folder = study.build / "quick"
    assert asked[:2] == [("tiny", None, 1, how), (folder / "figures", folder)]
    assert asked[2:] == [("tiny", None, 1, how | {"scale": "recorded", "record": True})]


def test_help_shows_every_option_with_type_default_and_meaning(study, capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["run", "tiny", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    for text in (
        "Some numbers a seed.",
        "--seeds INT, --trials INT trials (default: 5; quick: 1)",
        "--steps INT rows of a seed, 100 % of them (default: 3; quick: 2)",
        "--at FLOAT [FLOAT ...] (default: (0.5,))",
        "--last-step INT (default: None)",
        "--scale {recorded,quick}",
    ):
        assert text in shown


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--rounds 3", "unknown options: --rounds 3"),
        ("--seed 3", "unknown options: --seed 3"),
        ("--step 3", "unknown options: --step 3"),
        ("--steps some", "--steps: invalid int value: 'some'"),
        ("--steps 51", "steps=51 are too many"),
        ("--scale paper", "--scale: invalid choice: 'paper'"),
    ],
)
def test_wrong_words_are_named_beside_the_options_there_are(study, asked, capsys, words, message):
    with pytest.raises(SystemExit, match="2"):
        main(["run", "tiny", *words.split()])
    shown = capsys.readouterr().err
    assert message in shown
    assert "--steps INT" in shown
    assert asked == []


def test_list_says_in_columns_what_is_recorded_and_how_long_it_took(study, capsys, monkeypatch):
    monkeypatch.setattr(runner, "studies", lambda: ["dense", "tiny"])
    shutil.copy(ROOT / "prunelab" / "studies" / "dense.py", study.folder)
    main(["list"])
    dense, tiny = capsys.readouterr().out.splitlines()
    assert dense.startswith("dense  recorded in 0:27:08  The dense networks everything starts")
    assert tiny == "tiny   not recorded         Some numbers a seed."


def test_every_option_of_every_study_says_what_it_means(capsys):
    for name in runner.studies():
        options = runner.options(runner.load_study(name))
        with pytest.raises(SystemExit, match="0"):
            main(["run", name, "--help"])
        shown = " ".join(capsys.readouterr().out.split("options:")[1].split())
        for option in options:
            assert re.search(rf"--{option} (STR|INT) [^(]", shown), f"{name} {option}"


def test_figures_go_below_the_checkout_wherever_one_is(asked, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    main(["figures"])
    main(["figures", "--to", "here", "--results", "there"])
    assert asked == [(runner.BUILD / "figures", RESULTS), (Path("here"), Path("there"))]


def test_figures_of_an_empty_folder_say_what_is_missing(tmp_path):
    with pytest.raises(SystemExit, match=r"has none of the studies one_shot, .*lottery_tickets"):
        main(["figures", "--results", str(tmp_path)])
