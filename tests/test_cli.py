"""A wrong call of the command line is answered in one line, and no traceback."""

import hashlib
import json
import re
import time

import pytest
from distributed import LocalCluster

from prunelab.cli import main
from prunelab.data import DATA_DIR, ROOT
from prunelab.lab import runner
from tests.processes import answer, start


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("filter_norms --seeds 0", "seeds=0 must be at least 1"),
        ("filter_norms --seeds -1", "seeds=-1 must be at least 1"),
        ("filter_norms --jobs 0", "jobs=0 must be at least 1"),
        ("filter_norms --seeds 1 --record", "record=True would put seeds=1 in the place"),
        ("lottery_tickets --rounds -1", "rounds=-1 must be at least 0"),
        ("lottery_tickets --iterations 0", "iterations=0 must be at least 1"),
        ("lottery_tickets --reinits -1", "reinits=-1 must be at least 0"),
        ("lottery_tickets --dataset x", "dataset='x' is none of fashion-mnist, mnist, cifar10"),
        ("lottery_tickets --device gpu", "device='gpu' cannot be used here: "),
        ("lottery_tickets --device meta", "device='meta' cannot be used here: "),
        ("filter_norms --dask nowhere", "dask='nowhere': no scheduler answers there"),
        ("filter_norms --dask tcp://127.0.0.1:9", "dask='tcp://127.0.0.1:9': no scheduler"),
    ],
)
def test_wrong_words_are_a_line_and_exit_code_2(capsys, monkeypatch, tmp_path, words, said):
    monkeypatch.setattr(runner, "BUILD", tmp_path)
    start = time.perf_counter()
    with pytest.raises(SystemExit, match="2"):
        main(["run", *words.split()])
    assert f"error: {said}" in capsys.readouterr().err
    assert time.perf_counter() - start < 30


def test_figures_to_a_place_that_is_a_file_are_a_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit, match=r"^prunelab: the figures cannot be drawn: .*file"):
        main(["figures", "--to", str(tmp_path / "file")])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", r"one_shot\.csv holds no table: .*run the study again$"),
        (b"\n\n", r"one_shot\.csv holds no table: .*run the study again$"),
        (b"a,b\n1,2\n", r"the figures cannot be drawn from .*KeyError\('network'\)$"),
    ],
)
def test_figures_of_a_table_that_is_none_are_a_line(tmp_path, content, said):
    (tmp_path / "one_shot.csv").write_bytes(content)
    record = {"sha256": hashlib.sha256(content).hexdigest()}
    (tmp_path / "one_shot.json").write_text(json.dumps(record))
    with pytest.raises(SystemExit, match=rf"^prunelab: .*{said}"):
        main(["figures", "--results", str(tmp_path), "--to", str(tmp_path)])


def test_damaged_images_end_a_run_with_a_line(tmp_path):
    folder = tmp_path / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    for path in (DATA_DIR / "FashionMNIST" / "raw").glob("*.gz"):
        (folder / path.name).write_bytes(path.read_bytes()[:1000])
    words = ("-m", "prunelab", "run", "lottery_tickets", "--scale", "quick")
    variables = {"PRUNELAB_DATA": str(tmp_path), "PRUNELAB_CACHE": str(tmp_path / "cache")}
    code, _, stderr = answer(start(*words, cwd=ROOT, **variables))
    assert code == 1
    assert re.search(r"^prunelab: .*-ubyte\.gz is damaged: its MD5 checksum is not .*\n\Z", stderr)


def test_a_cluster_without_workers_is_a_line_within_seconds(capsys):
    with (
        LocalCluster(n_workers=0, dashboard_address=None) as cluster,
        pytest.raises(SystemExit, match="2"),
    ):
        main(["run", "filter_norms", "--dask", cluster.scheduler_address])
    assert "the scheduler there has no workers; start some: dask worker" in capsys.readouterr().err


def test_a_closed_pipe_is_no_error_to_speak_of(tmp_path):
    (tmp_path / "torchvision.py").write_text("datasets = None\n")  # half of the time to start
    with start("-m", "prunelab", "list", cwd=ROOT, PYTHONPATH=str(tmp_path)) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1
