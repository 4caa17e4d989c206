"""A study is run once, in order, in parallel, and goes on where it was stopped."""

import hashlib
import importlib
import json
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
import torch

import prunelab.studies
from prunelab.cli import main
from prunelab.data import ROOT
from prunelab.figures import recorded
from prunelab.lab import cache, runner
from prunelab.lab.results import RESULTS, load_results, write_whole
from prunelab.training import TrainingInterrupted
from tests.processes import answer, start, stop_hard, wait_until

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


@pytest.mark.filterwarnings("ignore:Exception while loading results")
def test_damaged_cache_entry_is_measured_again(study):
    first = study.run()
    for path in (study.folder / "cache").rglob("output.pkl"):
        path.write_bytes(b"damaged")
    pd.testing.assert_frame_equal(study.run(), first)
    assert study.calls() == [2, 2, 2]


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


def test_finish_receives_the_recorded_table(study, monkeypatch):
    received = []
    monkeypatch.setattr(
        study.module(), "finish", lambda table: received.append((table, study.csv())), raising=False
    )
    table = study.run(seeds=1)
    assert received[0][0] is table
    assert len(received) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rounds": 3}, r"rounds=3 is no option of tiny_\w+; it has steps, at, last_step"),
        ({"scale": "paper"}, r"scale='paper' is none of tiny_\w+; it has recorded, quick"),
        ({"seeds": 0}, "seeds=0 and jobs=1 must be at least 1"),
        ({"jobs": 0}, "seeds=3 and jobs=0 must be at least 1"),
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
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    options = "--seeds 2 --jobs 1 --scale quick --steps 4 --at 0.1 0.2 --last-step 3"
    assert record["command"] == f"python -m prunelab run {study.name} {options}"
    assert record["commit"] == commit.stdout.strip()
    assert before == [[]]  # signed before anything was measured
    assert record["rows"] == 8
    assert record["sha256"] == hashlib.sha256(study.csv()).hexdigest()
    assert record["versions"]["torch"] == torch.__version__.split("+")[0]
    assert record["python"] == ".".join(map(str, sys.version_info[:3]))
    assert 0 <= record["seconds"] < 300
    today = datetime.now(UTC).date()
    assert 0 <= (today - datetime.fromisoformat(record["date"]).date()).days <= 1


def test_only_the_recorded_call_goes_to_the_recorded_results():
    assert runner.results_folder() == RESULTS
    assert runner.results_folder("quick") == ROOT / "build" / "quick"
    assert runner.results_folder("quick", {"rounds": 3}) == ROOT / "build" / "quick"
    assert runner.results_folder("recorded", {"rounds": 3}) == ROOT / "build" / "custom"


def test_a_reader_never_sees_half_a_file(tmp_path, monkeypatch):
    path = tmp_path / "table.csv"
    write_whole(path, b"whole\n")
    write = Path.write_bytes

    def half(self, content):
        write(self, content[: len(content) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(cache.CannotKeep, match=r"table\.csv cannot be written .*No space left"):
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
    finished = list((tmp_path / "cache_of_tiny").rglob("output.pkl"))
    (tmp_path / "die_3").unlink()
    code, stdout, stderr = answer(start(*words, cwd=tmp_path, **variables))
    assert code == 0, stderr
    assert "12 rows are in" in stdout
    calls = Study("tiny", tmp_path).calls()
    assert calls[3] == 2
    assert calls.count(1) >= len(finished)
    table = pd.read_csv(tmp_path / "results" / "tiny.csv")
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
    assert not (tmp_path / "results" / "tiny.csv").exists()

    code, _, stderr = answer(start(*RUN, "--seeds", "100", cwd=tmp_path, **variables))
    assert code == 0, stderr
    assert Study("tiny", tmp_path).calls().count(1) >= 99
    assert len(pd.read_csv(tmp_path / "results" / "tiny.csv")) == 300


def test_two_runs_at_once_share_the_cache(tmp_path, study):
    variables = install_tiny_study(tmp_path, pause=0.02)
    words = (*RUN, "--seeds", "4", "--jobs", "2")
    runs = [start(*words, cwd=tmp_path, **variables) for _ in range(2)]
    for code, _, stderr in map(answer, runs):
        assert code == 0, stderr
    assert list((tmp_path / "results").glob("*.unfinished")) == []
    counts = Study("tiny", tmp_path).calls()
    assert len(counts) == 4
    assert all(1 <= count <= 2 for count in counts)
    study.run(seeds=4)
    assert (tmp_path / "results" / "tiny.csv").read_bytes() == study.csv()


@pytest.mark.skipif(sys.platform == "win32", reason="no process groups on this system")
def test_a_killed_run_goes_on_where_it_was(study, tmp_path_factory):
    folder, held = tmp_path_factory.mktemp("killed"), range(4, 8)
    variables = install_tiny_study(folder)
    words = (*RUN, "--seeds", "8", "--jobs", "2")
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
    folder = ROOT / "build" / "custom"
    assert asked == [
        (study.name, 2, 4, {"scale": "recorded", "dask": "tcp://x:1", **options}),
        (folder / "figures", folder),
    ]
    assert f"2 rows are in {folder / study.name}.csv\na.png\n" in capsys.readouterr().out


def test_the_record_is_asked_for_by_default_and_no_figure_is_drawn(study, asked):
    main(["run", study.name])
    assert asked == [(study.name, None, 1, {"scale": "recorded", "dask": None})]


def test_a_scale_is_drawn_beside_it(study, asked):
    main(["run", study.name, "--scale", "quick"])
    assert asked[0] == (study.name, None, 1, {"scale": "quick", "dask": None})
    assert asked[1] == (ROOT / "build" / "quick" / "figures", ROOT / "build" / "quick")


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
    assert asked == [(ROOT / "build" / "figures", RESULTS), (Path("here"), Path("there"))]


def test_figures_of_an_empty_folder_say_what_is_missing(tmp_path):
    with pytest.raises(SystemExit, match=r"has none of the studies one_shot, .*lottery_tickets"):
        main(["figures", "--results", str(tmp_path)])
