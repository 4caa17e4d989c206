"""A study is run once, in order, in parallel, and goes on where it was stopped."""

import hashlib
import importlib
import json
import pickle
import re
import shutil
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import prunelab.studies
from prunelab.cli import main
from prunelab.data import CHECKOUT, ROOT
from prunelab.figures import recorded
from prunelab.lab import cache, results, runner, store
from prunelab.lab.provenance import own_commit
from prunelab.lab.results import RESULTS, DamagedRecord, compared, load_results
from prunelab.lab.store import write_whole
from prunelab.training import TrainingInterrupted
from tests.processes import answer, in_session, start, stop_hard, wait_until

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
    time.sleep({pause} * (of - seed))
    while (FOLDER / f"hold_{{seed}}").exists():
        time.sleep(0.01)
    if (FOLDER / f"raise_{{seed}}").exists():
        raise OSError("power cut")
    if (FOLDER / f"die_{{seed}}").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    if (FOLDER / f"stop_{{seed}}").exists():
        warnings.warn("stopped by hand", TrainingInterrupted)
    return [{{"seed": seed, "step": step, "value": seed + step / 3}} for step in range(steps)]
'''


class Study:
    """A tiny study, installed for one test; it counts how often each seed was measured."""

    def __init__(self, name: str, folder: Path):
        self.name, self.folder = name, folder

    def run(self, seeds: int | None = 3, **options) -> pd.DataFrame:
        return runner.run(self.name, seeds=seeds, results=self.folder, **options)

    def module(self):
        return importlib.import_module(f"prunelab.studies.{self.name}")

    def calls(self) -> list[int]:
        return [len(path.read_text()) for path in sorted(self.folder.glob("seed_*"))]

    def record(self) -> dict:
        return json.loads((self.folder / f"{self.name}.json").read_text())

    def csv(self) -> bytes:
        return (self.folder / f"{self.name}.csv").read_bytes()


@pytest.fixture
def study(tmp_path, monkeypatch, request):
    name = "tiny_" + re.sub(r"\W", "_", request.node.name)
    (tmp_path / f"{name}.py").write_text(TINY_STUDY.format(folder=str(tmp_path), pause=0))
    path = [*prunelab.studies.__path__, str(tmp_path)]
    monkeypatch.setattr(prunelab.studies, "__path__", path)
    monkeypatch.setattr(runner, "STUDIES", tmp_path)
    monkeypatch.setattr(runner, "studies", lambda: [name])
    monkeypatch.setattr(runner, "BUILD", tmp_path / "build")
    for module in (runner, results):
        monkeypatch.setattr(module, "RESULTS", tmp_path / "records")
    monkeypatch.setattr(cache, "CACHE", tmp_path / "cache")
    yield Study(name, tmp_path)
    sys.modules.pop(f"prunelab.studies.{name}", None)


# Running


def test_the_table_is_that_of_the_grid_and_is_recorded(study):
    table = study.run()
    assert table["seed"].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    expected = [seed + step / 3 for seed in range(3) for step in range(3)]
    assert table["value"].tolist() == pytest.approx(expected)
    pd.testing.assert_frame_equal(load_results(study.name, study.folder), table, rtol=1e-7)


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
    path = study.folder / f"{study.name}.py"
    path.write_text(path.read_text().replace("step / 3", "step / 4"))
    del sys.modules[f"prunelab.studies.{study.name}"]
    shutil.rmtree(study.folder / "__pycache__", ignore_errors=True)
    assert study.run()["value"].iloc[1] == 0.25
    assert study.calls() == [2, 2, 2]


def test_a_stopped_run_records_nothing_and_keeps_what_is_finished(study):
    (study.folder / "raise_1").touch()
    with pytest.raises(OSError, match="power cut"):
        study.run()
    assert list(study.folder.glob("*.csv*")) == []
    (study.folder / "raise_1").unlink()
    assert len(study.run()) == 9
    assert study.calls() == [1, 2, 1]


@pytest.mark.filterwarnings("default")
def test_training_stopped_by_hand_is_an_error_and_not_kept(study):
    (study.folder / "stop_0").touch()
    with pytest.raises(TrainingInterrupted):
        study.run()
    (study.folder / "stop_0").unlink()
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
    (study.folder / "file").touch()
    monkeypatch.setattr(cache, "CACHE", study.folder / "file" / "cache")
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
    table = study.run(seeds=6, record=True)
    assert received[0] is table


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rounds": 3}, r"rounds=3 is no option of tiny_\w+; it has steps, at, last_step"),
        ({"scale": "paper"}, r"scale='paper' is none of tiny_\w+; it has recorded, quick"),
        ({"seeds": 0}, "seeds=0 must be at least 1"),
        ({"jobs": 0}, "jobs=0 must be at least 1"),
        (
            {"record": True},
            r"put seeds=3 in the place of the recorded tiny_\w+, with 5 seeds",
        ),
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


# Records


def test_the_record_says_how_the_table_was_made(study, monkeypatch):
    before = []
    signed = runner.provenance
    monkeypatch.setattr(
        runner, "provenance", lambda command: before.append(study.calls()) or signed(command)
    )
    study.run(seeds=2, scale="quick", steps=4, at=(0.1, 0.2), last_step=3)
    record = study.record()
    options = "--seeds 2 --jobs 1 --scale quick --steps 4 --at 0.1 0.2 --last-step 3"
    assert record["command"] == f"python -m prunelab run {study.name} {options}"
    assert (record["commit"], record["uncommitted_changes"]) == own_commit(CHECKOUT)
    assert before == [[]]  # signed before anything was measured
    assert record["rows"] == 8
    assert record["sha256"] == hashlib.sha256(study.csv()).hexdigest()
    assert record["versions"]["torch"] == torch.__version__.split("+")[0]
    assert record["python"] == ".".join(map(str, sys.version_info[:3]))
    assert 0 <= record["seconds"] < 300
    assert (record["seeds"], record["resumed"]) == (2, False)
    cost = record["cost_seconds"]
    study.run(seeds=2, scale="quick", steps=4)
    assert (study.record()["resumed"], study.record()["cost_seconds"]) == (True, cost)
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
    runner.run(study.name, record=True)
    kept = (records / f"{study.name}.csv").read_bytes()
    runner.run(study.name, **options)
    assert (records / f"{study.name}.csv").read_bytes() == kept
    folder = study.folder / "build" / study.name / place
    assert len(pd.read_csv(folder / f"{study.name}.csv")) > 0
    assert place != "again" or "identical" in compared(study.name, folder)
    with pytest.raises(ValueError, match="holds the records: say record=True"):
        runner.run(study.name, results=records)
    runner.run(study.name, seeds=6, record=True)
    with pytest.raises(ValueError, match=r"place of the recorded tiny_\w+, with 6 seeds"):
        runner.run(study.name, record=True)


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


# In processes of their own


def install_tiny_study(folder: Path, pause: float = 0) -> dict[str, str]:
    """A copy of prunelab in the folder, with the study, and the variables that make it used."""
    package = folder / "prunelab"
    shutil.copytree(ROOT / "prunelab", package, ignore=shutil.ignore_patterns("__pycache__"))
    source = TINY_STUDY.format(folder=str(folder), pause=pause)
    (package / "studies" / "tiny.py").write_text(source)
    # Importing torchvision takes half of the time, and the study does not need it.
    (folder / "torchvision.py").write_text("datasets = None\n")
    return {
        "PRUNELAB_DATA": str(folder),
        "PYTHONPATH": str(folder),
        "PRUNELAB_CACHE": str(folder / "cache_of_tiny"),
        "JOBLIB_TEMP_FOLDER": str(folder),
    }


RUN = ("-m", "prunelab", "run", "tiny")


def test_a_dead_worker_ends_the_run_clearly_and_the_next_goes_on_in_order(tmp_path):
    variables = install_tiny_study(tmp_path, pause=0.1)
    words = (*RUN, "--trials", "4", "--jobs", "2")
    (tmp_path / "die_3").touch()
    code, _, stderr = answer(start(*words, cwd=tmp_path, **variables))
    assert code == 1
    assert "Traceback" not in stderr
    message = r"^prunelab: tiny has stopped: a worker process died, .* \d of 4 runs are finished"
    assert re.search(message, stderr)
    finished = list((tmp_path / "cache_of_tiny").rglob("*measure/*"))
    (tmp_path / "die_3").unlink()
    code, stdout, stderr = answer(start(*words, cwd=tmp_path, **variables))
    assert code == 0, stderr
    assert "12 rows are in" in stdout
    calls = Study("tiny", tmp_path).calls()
    assert calls[3] == 2
    assert calls.count(1) >= len(finished)
    table = pd.read_csv(tmp_path / "build" / "tiny" / "seeds=4" / "tiny.csv")
    assert table["seed"].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on file sizes on this system")
@pytest.mark.parametrize(
    ("limit", "finished", "path"), [(100, 0, "cache_of_tiny"), (3000, 100, "tiny.csv")]
)
def test_a_full_disk_ends_the_run_clearly_and_the_next_goes_on(tmp_path, limit, finished, path):
    variables = install_tiny_study(tmp_path)
    limited = (
        "import resource, runpy;"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, -1));"
        "runpy.run_module('prunelab', run_name='__main__')"
    )
    words = (*RUN[2:], "--seeds", "100")
    code, _, stderr = answer(start("-B", "-c", limited, *words, cwd=tmp_path, **variables))
    message = rf"^prunelab: tiny has stopped: .*{path}\S* cannot be written \(.*File too large\).*"
    assert code == 1
    assert re.search(message + rf" {finished} of 100 runs are finished and kept", stderr)
    folder = tmp_path / "build" / "tiny" / "seeds=100"
    assert not (folder / "tiny.csv").exists()

    code, _, stderr = answer(start(*RUN, "--seeds", "100", cwd=tmp_path, **variables))
    assert code == 0, stderr
    assert Study("tiny", tmp_path).calls().count(1) >= 99
    assert len(pd.read_csv(folder / "tiny.csv")) == 300


def test_two_runs_at_once_share_the_cache(tmp_path, study):
    variables = install_tiny_study(tmp_path, pause=0.02)
    words = (*RUN, "--seeds", "4", "--jobs", "2")
    runs = [start(*words, cwd=tmp_path, **variables) for _ in range(2)]
    for code, _, stderr in map(answer, runs):
        assert code == 0, stderr
    folder = tmp_path / "build" / "tiny" / "seeds=4"
    assert list(folder.glob("*.unfinished")) == []
    counts = Study("tiny", tmp_path).calls()
    assert len(counts) == 4
    assert all(1 <= count <= 2 for count in counts)
    study.run(seeds=4)
    assert (folder / "tiny.csv").read_bytes() == study.csv()


@pytest.mark.skipif(sys.platform == "win32", reason="no process groups on this system")
def test_a_killed_run_goes_on_where_it_was(study, tmp_path_factory):
    folder, held = tmp_path_factory.mktemp("killed"), range(4, 8)
    variables = install_tiny_study(folder)
    words = (*RUN, "--seeds", "8", "--jobs", "2", "--record")
    for seed in held:
        (folder / f"hold_{seed}").touch()

    def in_flight() -> list[int]:
        markers = {seed: folder / f"seed_{seed}" for seed in held}
        return [seed for seed, path in markers.items() if path.exists() and path.read_text()]

    process = start(*words, cwd=folder, **variables)
    try:
        wait_until(in_flight, process)
    finally:
        stop_hard(process)
    stopped, killed = in_flight(), Study("tiny", folder)
    assert 2 < len(killed.calls()) < 8
    assert not (folder / "results").exists()

    for seed in held:
        (folder / f"hold_{seed}").unlink()
    assert answer(start(*words, cwd=folder, **variables))[0] == 0
    calls = killed.calls()
    assert [calls[seed] for seed in stopped] == [2] * len(stopped)
    assert sum(calls) <= 8 + 2
    study.run(seeds=8)
    assert (folder / "results" / "tiny.csv").read_bytes() == study.csv()


@pytest.mark.skipif(sys.platform == "win32", reason="no such signal on this system")
def test_workers_end_when_the_run_is_killed(tmp_path):
    variables = install_tiny_study(tmp_path)
    for seed in range(4):
        (tmp_path / f"hold_{seed}").touch()
    process = start(*RUN, "--seeds", "4", "--jobs", "2", cwd=tmp_path, **variables)
    try:
        wait_until(lambda: len(list(tmp_path.glob("seed_*"))) == 2, process)
        assert len(in_session(process)) >= 3  # the run and its two workers
        process.kill()
        process.wait()
        deadline = time.monotonic() + 5
        while in_session(process) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert in_session(process) == []
    finally:
        stop_hard(process)


# The command line


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
    words = [
        "--trials",
        "2",
        "--jobs",
        "4",
        "--dask",
        "tcp://x:1",
        "--steps",
        "9",
        "--at",
        "0.1",
        "2",
        "--last-step",
        "5",
    ]
    main(["run", study.name, *words])
    options = {"steps": 9, "at": (0.1, 2.0), "last_step": 5}
    how = {"scale": "recorded", "dask": "tcp://x:1", "record": False}
    folder = study.folder / "build" / study.name / "seeds=2+steps=9+at=0.1,2.0+last_step=5"
    assert asked == [(study.name, 2, 4, how | options)]
    said = f"2 rows are in {folder / study.name}.csv: nothing is recorded to compare it with\n"
    assert capsys.readouterr().out == said


def test_the_line_at_the_end_says_where_it_is_and_whether_it_is_as_recorded(study, capsys):
    place = study.folder / "build" / study.name
    main(["run", study.name, "--record"])
    for words in ("", "--seeds 4", "--steps 3"):
        main(["run", study.name, *words.split()])
    record = study.folder / "records" / f"{study.name}.csv"
    record.write_bytes(record.read_bytes().replace(b"\n0,", b"\n9,"))
    main(["run", study.name])
    assert capsys.readouterr().out.splitlines() == [
        f"15 rows are in {study.folder}/records/{study.name}.csv: the recorded table now",
        f"15 rows are in {place}/again/{study.name}.csv: identical to the recorded table",
        f"12 rows are in {place}/seeds=4/{study.name}.csv: the recorded table has 15 rows",
        f"15 rows are in {place}/again/{study.name}.csv: identical to the recorded table",
        f"15 rows are in {place}/again/{study.name}.csv: 3 of them differ from the recorded table",
    ]


def test_figures_are_drawn_beside_a_table_that_is_not_recorded(study, asked, monkeypatch):
    monkeypatch.setitem(recorded.DRAWN, study.name, None)
    monkeypatch.setattr("prunelab.cli.compared", lambda *which: "")
    for words in ("--scale quick", "--record"):
        main(["run", study.name, *words.split()])
    folder = study.folder / "build" / study.name / "quick"
    how = {"dask": None, "scale": "quick", "record": False}
    assert asked[:2] == [(study.name, None, 1, how), (folder / "figures", folder)]
    assert asked[2:] == [(study.name, None, 1, how | {"scale": "recorded", "record": True})]


def test_help_shows_every_option_with_type_default_and_meaning(study, capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["run", study.name, "--help"])
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
        (["--rounds", "3"], "unknown options: --rounds 3"),
        (["--seed", "3"], "unknown options: --seed 3"),
        (["--step", "3"], "unknown options: --step 3"),
        (["--steps", "some"], "--steps: invalid int value: 'some'"),
        (["--steps", "51"], "steps=51 are too many"),
        (["--scale", "paper"], "--scale: invalid choice: 'paper'"),
    ],
)
def test_wrong_words_are_named_beside_the_options_there_are(study, asked, capsys, words, message):
    with pytest.raises(SystemExit, match="2"):
        main(["run", study.name, *words])
    shown = capsys.readouterr().err
    assert message in shown
    assert "--steps INT" in shown
    assert asked == []


def test_list_says_in_columns_what_is_recorded_and_how_long_it_took(study, capsys, monkeypatch):
    monkeypatch.setattr(runner, "studies", lambda: ["dense", study.name])
    shutil.copy(ROOT / "prunelab" / "studies" / "dense.py", study.folder)
    main(["list"])
    dense, tiny = capsys.readouterr().out.splitlines()
    assert re.match(r"dense +recorded in 0:27:08 +The dense networks everything starts from", dense)
    assert re.match(rf"{study.name} +not recorded +Some numbers a seed\.$", tiny)
    assert dense.index("The dense") == tiny.index("Some numbers")
    assert dense.index("recorded in") == tiny.index("not recorded")


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
