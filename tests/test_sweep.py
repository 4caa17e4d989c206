"""A study is run once, in order, in parallel, and goes on where it was stopped."""

import hashlib
import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
import torch

import prunelab.studies
from prunelab.__main__ import main
from prunelab.figures import recorded
from prunelab.lab import cache, runner
from prunelab.lab import results as lab_results
from prunelab.training import TrainingInterrupted

ROOT = Path(__file__).parents[1]
TINY_STUDY = '''
"""Three numbers a seed."""

import os
import signal
import time
import warnings
from pathlib import Path

from prunelab.training import TrainingInterrupted

FOLDER = Path({folder!r})


SCALES = {{"quick": {{"seeds": 1, "steps": 2}}}}


def grid(seeds, steps=3):
    return [{{"seed": seed, "of": seeds, "steps": steps}} for seed in range(seeds)]


def describe(seed, **rest):
    return f"density {{seed}} of them"


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
    monkeypatch.setattr(runner, "studies", lambda: [name])
    monkeypatch.setattr(cache, "CACHE", tmp_path / "cache")
    yield Study(name, tmp_path)
    sys.modules.pop(f"prunelab.studies.{name}", None)


def test_rows_are_in_the_order_of_the_grid(study):
    table = study.run()
    assert table["seed"].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    expected = [seed + step / 3 for seed in range(3) for step in range(3)]
    assert table["value"].tolist() == pytest.approx(expected)


def test_recorded_table_is_the_returned_one(study):
    table = study.run()
    recorded = lab_results.load_results(study.name, study.folder)
    pd.testing.assert_frame_equal(recorded, table, rtol=1e-7)


def test_second_run_measures_nothing(study):
    first = study.run()
    csv = study.csv()
    pd.testing.assert_frame_equal(study.run(), first)
    assert study.calls() == [1, 1, 1]
    assert study.csv() == csv


def test_changed_code_is_measured_again(study):
    study.run()
    path = study.folder / f"{study.name}.py"
    path.write_text(path.read_text().replace("step / 3", "step / 4"))
    del sys.modules[f"prunelab.studies.{study.name}"]
    shutil.rmtree(study.folder / "__pycache__", ignore_errors=True)
    assert study.run()["value"].iloc[1] == 0.25
    assert study.calls() == [2, 2, 2]


def test_stopped_run_keeps_what_is_finished(study):
    (study.folder / "raise_1").touch()
    with pytest.raises(OSError, match="power cut"):
        study.run()
    (study.folder / "raise_1").unlink()
    assert len(study.run()) == 9
    assert study.calls() == [1, 2, 1]


def test_stopped_run_records_nothing(study):
    (study.folder / "raise_1").touch()
    with pytest.raises(OSError, match="power cut"):
        study.run()
    assert list(study.folder.glob("*.csv*")) == []


@pytest.mark.filterwarnings("default")
def test_training_stopped_by_hand_is_an_error_and_not_kept(study):
    (study.folder / "stop_0").touch()
    with pytest.raises(TrainingInterrupted):
        study.run()
    (study.folder / "stop_0").unlink()
    study.run()
    assert study.calls() == [2, 1, 1]


@pytest.mark.filterwarnings("ignore:Exception while loading results")
def test_damaged_cache_entry_is_measured_again(study):
    first = study.run()
    for path in (study.folder / "cache").rglob("output.pkl"):
        path.write_bytes(b"damaged")
    pd.testing.assert_frame_equal(study.run(), first)
    assert study.calls() == [2, 2, 2]


def test_record_says_how_the_table_was_made(study):
    study.run(seeds=2)
    record = study.record()
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert record["command"] == f"python -m prunelab run {study.name} --seeds 2 --jobs 1"
    assert record["commit"] == commit.stdout.strip()
    assert record["rows"] == 6
    today = datetime.now(UTC).date()
    assert 0 <= (today - datetime.fromisoformat(record["date"]).date()).days <= 1


def test_record_holds_the_versions(study):
    study.run(seeds=1)
    record = study.record()
    assert record["versions"]["torch"] == torch.__version__.split("+")[0]
    assert record["python"] == ".".join(map(str, sys.version_info[:3]))


def test_record_holds_the_checksum_of_the_table(study):
    study.run(seeds=1)
    assert study.record()["sha256"] == hashlib.sha256(study.csv()).hexdigest()


def test_scale_sets_what_is_not_asked_for(study):
    assert len(study.run(seeds=None)) == 5 * 3
    assert len(study.run(seeds=None, scale="quick")) == 1 * 2
    assert len(study.run(seeds=2, scale="quick")) == 2 * 2
    assert len(study.run(seeds=2, scale="quick", steps=4)) == 2 * 4


def test_record_holds_scale_and_options(study):
    study.run(seeds=2, scale="quick", steps=4)
    options = "--seeds 2 --jobs 1 --scale quick --steps 4"
    assert study.record()["command"] == f"python -m prunelab run {study.name} {options}"


def test_only_the_recorded_scale_goes_to_the_recorded_results():
    assert runner.results_folder() == lab_results.RESULTS
    folders = {runner.results_folder("quick"), runner.results_folder("recorded", {"rounds": 3})}
    assert folders == {Path("build/quick"), Path("build/custom")}


def test_scale_or_option_of_another_study_is_an_error(study, monkeypatch):
    with pytest.raises(ValueError, match=r"rounds=3 is no option of tiny_\w+; it has steps"):
        study.run(rounds=3)
    with pytest.raises(ValueError, match=r"scale='paper' is none of tiny_\w+; it has recorded, q"):
        study.run(scale="paper")
    monkeypatch.setattr(runner, "studies", lambda: ["dense"])
    with pytest.raises(ValueError, match=r"rounds=3 is no option of dense; it has none"):
        runner.run("dense", rounds=3)


def test_finish_receives_the_table(study, monkeypatch):
    module = importlib.import_module(f"prunelab.studies.{study.name}")
    received = []
    monkeypatch.setattr(module, "finish", received.append, raising=False)
    table = study.run(seeds=1)
    assert len(received) == 1
    assert received[0] is table


def test_unknown_study_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"name='density' is no study; choose one of .*dense, "):
        runner.run("density")


@pytest.mark.parametrize("options", [{"seeds": 0}, {"jobs": 0}])
def test_fewer_than_one_seed_or_job_is_an_error(options):
    with pytest.raises(ValueError, match=r"seeds=\d and jobs=\d must be at least 1"):
        runner.run("dense", **options)


def test_results_of_a_study_not_run_say_how_to_run_it(tmp_path):
    with pytest.raises(FileNotFoundError, match="python -m prunelab run dense"):
        lab_results.load_results("dense", tmp_path)


def environment(**variables: str) -> dict[str, str]:
    return os.environ | {"TQDM_DISABLE": "1"} | variables


def python(*arguments: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=environment(**variables),
        capture_output=True,
        text=True,
    )


def run_python(*arguments: str, cwd: Path, **variables: str) -> str:
    answer = python(*arguments, cwd=cwd, **variables)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def install_tiny_study(folder: Path, pause: float) -> dict[str, str]:
    """A copy of prunelab in the folder, with the study, and the variables that make it used."""
    package = folder / "prunelab"
    shutil.copytree(ROOT / "prunelab", package, ignore=shutil.ignore_patterns("__pycache__"))
    source = TINY_STUDY.format(folder=str(folder), pause=pause)
    (package / "studies" / "tiny.py").write_text(source)
    # Importing torchvision takes half of the time, and the study does not need it.
    (folder / "torchvision.py").write_text("datasets = None\n")
    cache = str(folder / "cache_of_tiny")
    return {"PRUNELAB_DATA": str(folder), "PYTHONPATH": str(folder), "PRUNELAB_CACHE": cache}


def test_two_processes_keep_the_order_of_the_grid(tmp_path):
    variables = install_tiny_study(tmp_path, pause=0.2)
    command = ["-m", "prunelab", "run", "tiny", "--seeds", "4", "--jobs", "2"]
    output = run_python(*command, cwd=tmp_path, **variables)
    table = pd.read_csv(tmp_path / "results" / "tiny.csv")
    assert "12 rows are in" in output
    assert table["seed"].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert [(tmp_path / f"seed_{seed}").read_text() for seed in range(4)] == ["x"] * 4


TINY_COMMAND = ("-m", "prunelab", "run", "tiny", "--trials", "4", "--jobs", "2")


def test_dead_worker_ends_the_run_clearly_and_the_next_goes_on(tmp_path):
    variables = install_tiny_study(tmp_path, pause=0)
    (tmp_path / "die_3").touch()
    answer = python(*TINY_COMMAND, cwd=tmp_path, **variables)
    assert answer.returncode == 1
    assert "Traceback" not in answer.stderr
    message = r"^prunelab: tiny has stopped: a worker process died, .* \d of 4 runs are finished"
    assert re.search(message, answer.stderr)
    finished = list((tmp_path / "cache_of_tiny").rglob("output.pkl"))
    (tmp_path / "die_3").unlink()
    run_python(*TINY_COMMAND, cwd=tmp_path, **variables)
    calls = Study("tiny", tmp_path).calls()
    assert calls[3] == 2
    assert calls.count(1) >= len(finished)
    assert len(pd.read_csv(tmp_path / "results" / "tiny.csv")) == 12


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on file sizes on this system")
@pytest.mark.parametrize(
    ("limit", "finished", "path"),
    [(100, 0, "cache_of_tiny"), (100, 7, "cache_of_tiny"), (3000, 100, "tiny.csv")],
    ids=["from the start", "after some runs", "at the end"],
)
def test_full_disk_ends_the_run_clearly_and_the_next_goes_on(tmp_path, limit, finished, path):
    variables = install_tiny_study(tmp_path, pause=0)
    command = ["-m", "prunelab", "run", "tiny", "--seeds", "100"]
    if finished == 7:
        (tmp_path / "raise_7").touch()
        python(*command, cwd=tmp_path, **variables)
        (tmp_path / "raise_7").unlink()
    limited = (
        "import resource, runpy;"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, -1));"
        "runpy.run_module('prunelab', run_name='__main__')"
    )
    answer = python("-B", "-c", limited, *command[2:], cwd=tmp_path, **variables)
    message = rf"^prunelab: tiny has stopped: .*{path}\S* cannot be written \(.*File too large\).*"
    assert answer.returncode == 1
    assert re.search(message + rf" {finished} of 100 runs are finished and kept", answer.stderr)
    assert not (tmp_path / "results" / "tiny.csv").exists()

    run_python(*command, cwd=tmp_path, **variables)
    in_flight = 1 if finished == 7 else 0
    assert Study("tiny", tmp_path).calls().count(1) == 100 - in_flight
    assert len(pd.read_csv(tmp_path / "results" / "tiny.csv")) == 300


def test_two_runs_at_once_share_the_cache(tmp_path, study):
    variables = install_tiny_study(tmp_path, pause=0.02)
    runs = [
        subprocess.Popen(
            [sys.executable, *TINY_COMMAND],
            cwd=tmp_path,
            env=environment(**variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in runs:
        _, stderr = process.communicate()
        assert process.returncode == 0, stderr
    assert list((tmp_path / "results").glob("*.unfinished")) == []
    counts = Study("tiny", tmp_path).calls()
    assert len(counts) == 4
    assert all(1 <= count <= 2 for count in counts)
    study.run(seeds=4)
    assert (tmp_path / "results" / "tiny.csv").read_bytes() == study.csv()


def test_bar_counts_runs_and_names_the_one_being_measured(tmp_path):
    variables = install_tiny_study(tmp_path, pause=0.1) | {"TQDM_DISABLE": ""}
    answer = python("-m", "prunelab", "run", "tiny", "--seeds", "3", cwd=tmp_path, **variables)
    for shown in ("0/3", "density 0 of them", "1/3", "density 1 of them", "3/3"):
        assert shown in answer.stderr


def wait_until(condition, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 300
    while not condition():
        assert process.poll() is None, "the run has ended by itself"
        assert time.monotonic() < deadline
        time.sleep(0.01)


def stop_hard(process: subprocess.Popen) -> None:
    """kill -9 a run and its workers."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for left_behind in Path("/dev/shm").glob(f"sem.loky-{process.pid}-*"):
        left_behind.unlink()


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="no process groups on this system")
def test_killed_run_goes_on_where_it_was(study, tmp_path_factory):
    folder, held = tmp_path_factory.mktemp("killed"), range(4, 8)
    variables = install_tiny_study(folder, pause=0) | {"JOBLIB_TEMP_FOLDER": str(folder)}
    command = ["-m", "prunelab", "run", "tiny", "--seeds", "8", "--jobs", "2"]
    killed = Study("tiny", folder)
    for seed in held:
        (folder / f"hold_{seed}").touch()

    def in_flight() -> list[int]:
        markers = {seed: folder / f"seed_{seed}" for seed in held}
        return [seed for seed, path in markers.items() if path.exists() and path.read_text()]

    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=folder,
        env=environment(**variables),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_until(in_flight, process)
    finally:
        stop_hard(process)
    stopped = in_flight()
    assert 2 < len(killed.calls()) < 8
    assert not (folder / "results").exists()

    for seed in held:
        (folder / f"hold_{seed}").unlink()
    run_python(*command, cwd=folder, **variables)
    calls = killed.calls()
    assert len(calls) == 8
    assert [calls[seed] for seed in stopped] == [2] * len(stopped)
    assert sum(calls) <= 8 + 2
    study.run(seeds=8)
    assert (folder / "results" / "tiny.csv").read_bytes() == study.csv()


def command_line(monkeypatch, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", ["prunelab", *words])
    main()


def test_command_line_refuses_options_a_study_does_not_have(monkeypatch, capsys):
    for words in (["--rounds", "3"], ["--scale", "paper"]):
        with pytest.raises(SystemExit, match="2"):
            command_line(monkeypatch, "run", "dense", *words)
    errors = capsys.readouterr().err
    assert "rounds=3 is no option of dense; it has none" in errors
    assert "scale='paper' is none of dense; it has recorded" in errors


def test_command_line_draws_what_is_not_the_record_beside_it(monkeypatch, capsys, tmp_path):
    asked, drawn = {}, []

    def run(name, **options):
        asked.update(options, name=name)
        return pd.DataFrame({"x": [1, 2]})

    monkeypatch.setattr(runner, "run", run)
    monkeypatch.setattr(
        recorded, "draw_recorded", lambda *folders: drawn.append(folders) or ["a.png"]
    )
    words = ["--trials", "2", "--jobs", "2", "--scale", "quick", "--iterations", "9"]
    command_line(monkeypatch, "run", "lottery_tickets", *words)
    assert asked == {
        "name": "lottery_tickets",
        "seeds": 2,
        "jobs": 2,
        "scale": "quick",
        "dask": None,
        "iterations": 9,
    }
    assert drawn == [(Path("build/quick/figures"), Path("build/quick"))]
    assert "2 rows are in build/quick/lottery_tickets.csv" in capsys.readouterr().out
    command_line(monkeypatch, "run", "lottery_tickets")
    assert len(drawn) == 1


def test_figures_of_an_empty_folder_say_what_is_missing(monkeypatch, tmp_path):
    with pytest.raises(SystemExit, match=r"has none of the studies one_shot, .*lottery_tickets"):
        command_line(monkeypatch, "figures", "--results", str(tmp_path))


def test_command_line_lists_the_studies():
    output = run_python("-m", "prunelab", "list", cwd=ROOT)
    assert [line.split()[0] for line in output.splitlines()] == runner.studies()
    assert "The dense networks everything starts from" in output
