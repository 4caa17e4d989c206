"""The assignments are released, answered in many ways, and really graded."""

import ctypes
import os
import re
import sys
from copy import deepcopy
from html import unescape
from pathlib import Path

import pandas as pd
import pytest

pytest.importorskip("nbgrader", reason="nbgrader is not installed: pip install '.[course]'")

import nbformat
from nbformat.v4 import new_code_cell

from course.build import COURSE, HERE, ROOT, assignments, main, make_key, make_release
from course.collect import CannotBeRead, fitted, read
from course.grade import grade
from prunelab.lab.runner import BUILD
from tests.processes import answer, start

A1 = "A1_masks"
SOURCE = nbformat.read(HERE / "source" / A1 / f"{A1}.ipynb", as_version=4)
POINTS = {
    cell.id: cell.metadata.nbgrader.points
    for cell in SOURCE.cells
    if cell.metadata.get("nbgrader", {}).get("grade")
}
BY_HAND = {"e-argument": POINTS["e-argument"]}
ALL = os.environ.get("ALL_MISTAKES")

COUNT = "round(sparsity * len(magnitudes))"
KEEP = f"keep[magnitudes.argsort(stable=True)[: {COUNT}]] = False"
THRESHOLD = f"""count = {COUNT}
    keep = magnitudes > (magnitudes.sort().values[count - 1] if count else -1)"""
LAYERWISE = """return {
        name: torch.ones(weight.numel(), dtype=torch.bool)
        .scatter(0, weight.abs().flatten().argsort(stable=True)[: round(sparsity * weight.numel())],
                 False)
        .view_as(weight)
        for name, weight in weights.items()
    }
    """
HOOKS = "if isinstance(hook, prune.BasePruningMethod):"
MISTAKES = {
    # what is wrong: cell, its right words and the wrong ones, the checks that see it, what is said
    "rounded down": ("global-masks", COUNT, COUNT.replace("round", "int"), "a-count", "should go"),
    "threshold": ("global-masks", KEEP, THRESHOLD, "a-ties", "takes all that are equal"),
    "no abs": ("global-masks", ".abs()", "", "a-layers", "rank by magnitude, without the sign"),
    "layerwise": ("global-masks", "magnitudes = ", LAYERWISE + "magnitudes = ", "a-layers",
                  "rank all layers together"),
    "no square": ("lamp-scores", ".square()", ".abs()", "b-values", "the equation has w²"),
    "whole sum": ("lamp-scores", "squares.flip(0).cumsum(0).flip(0)", "squares.sum()", "b-values",
                  "smaller weights are not in it"),
    "NaN": ("lamp-scores", "torch.where(sums > 0, squares / sums, 0.0)", "squares / sums",
            "b-edges", "a layer of zeros gets NaN"),
    "float32": ("lamp-scores", ".double()", "", "b-edges", "should be torch.float64"),
    "percent": ("compare", "= evaluate(pruned", "= 100 * evaluate(pruned", "b-compare",
                "not percents"),
    "no prediction": ("prediction", ', "cut": 10', "", "c-commit", "predict 'alone' and 'cut'"),
    "in place": ("silenced", "model = copy.deepcopy(model)", "model = model", "c-silenced c-scan",
                 "the network itself has changed"),
    "bias": ("silenced", "layer.bias[channels] = 0", "pass", "c-silenced", "but not the bias"),
    "never cut": ("scan", "TIED if name in TIED else [name]", "[name]", "c-scan",
                  "are the same channels gone in all of TIED?"),
    "shares": ("scan", "100 * ", "", "c-scan", "give points, not shares"),
    "no unit": ("figure", "(points)", "", "c-figure", "no label with its unit"),
    "minus zero": ("make-permanent", " + 0.0", "", "d-permanent", "some zeros are −0.0"),
    "hook": ("make-permanent", HOOKS, "if False:", "d-permanent", "still there"),
    "masks kept": ("stored", "make_pruning_permanent(masked)", "masked", "d-stored",
                   "as large as the dense one"),
}  # fmt: skip
TOGETHER = (
    "rounded down", "no abs", "no square", "NaN", "percent", "no prediction", "bias", "never cut",
    "no unit", "hook", "masks kept",
)  # fmt: skip
"""In one submission: no check sees two of them."""
THEFT = f"""
import os, pathlib, socket, subprocess
def told(name, attempt):
    try:
        attempt()
    except OSError as error:
        print(name, "failed")
    else:
        print(name, "succeeded")
told("reading the key", lambda: open({str(HERE / "source" / A1 / f"{A1}.ipynb")!r}).read())
told("reading the gradebook", lambda: open("../../../gradebook.db", "rb").read())
told("writing outside", lambda: open("../../../evil.txt", "w"))
told("removing the gradebook", lambda: os.remove("../../../gradebook.db"))
told("calling out", lambda: socket.create_connection(("127.0.0.1", 9), timeout=5))
print("by a shell", subprocess.call("cat ../../../gradebook.db", shell=True,
    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) and "failed")
told("writing inside", lambda: open("own.txt", "w").write("x"))
"""
LOOP = "import time\nwhile True:\n    time.sleep(0.01)"
MEMORY = (
    "def make_permanent(layer):\n    rows = []\n    while True:\n        rows.append([0] * 10**7)"
)
LEAVE = "import os\nos._exit(3)"


def answered(**changes: str):
    """The key, with other words in some of its cells."""
    notebook = deepcopy(SOURCE)
    for cell in notebook.cells:
        cell.source = changes.get(cell.id.replace("-", "_"), cell.source)
    return notebook


def with_mistakes(*names: str):
    notebook = deepcopy(SOURCE)
    cells = {cell.id: cell for cell in notebook.cells}
    for name in names:
        cell, right, wrong, _, _ = MISTAKES[name]
        assert right in cells[cell].source
        cells[cell].source = cells[cell].source.replace(right, wrong, 1)
    return notebook


def tampered(notebook):
    """Every check edited, deleted, made worth more, tagged to be skipped, or moved to the top."""
    notebook = deepcopy(notebook)
    checks = [cell for cell in notebook.cells if cell.id in POINTS and cell.id not in BY_HAND]
    for index, cell in enumerate(checks):
        if index % 4 == 0:
            cell.source = "pass"
        elif index % 4 == 1:
            notebook.cells.remove(cell)
        elif index % 4 == 2:
            cell.metadata.tags = ["skip-execution", "raises-exception"]
            cell.metadata.nbgrader.points = 100
        else:
            notebook.cells.remove(cell)
            notebook.cells.insert(0, cell)
    return notebook


def hand_in(folder: Path, **notebooks) -> Path:
    for student, notebook in notebooks.items():
        place = folder / student / A1
        place.mkdir(parents=True)
        nbformat.write(notebook, place / f"{A1}.ipynb")
    return folder


def lost(row) -> dict[str, float]:
    return {name: POINTS[name] - row[name] for name in POINTS if row[name] < POINTS[name]}


def feedback(course: Path, student: str) -> str:
    page = (course / "feedback" / student / A1 / f"{A1}.html").read_text("utf-8")
    return " ".join(unescape(re.sub(r"<[^>]*>", "", page)).split())


def seen_by(names) -> dict[str, float]:
    checks = [check for name in names for check in MISTAKES[name][3].split()]
    return {check: POINTS[check] for check in checks}


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A folder with the release."""
    folder = tmp_path_factory.mktemp("course")
    make_release(A1, folder)
    return folder


def test_submissions_of_all_kinds_are_graded_each_by_itself(course, tmp_path, subtests):
    hostile = answered(compare=LOOP, make_permanent=MEMORY, stored=LEAVE)
    hostile.cells.insert(5, new_code_cell(THEFT))
    blank = nbformat.read(course / "release" / A1 / f"{A1}.ipynb", as_version=4)
    folder = hand_in(
        tmp_path / "in",
        blank=blank,
        hostile=hostile,
        key=SOURCE,
        mistaken=tampered(with_mistakes(*TOGETHER)),
    )
    (folder / "empty" / A1).mkdir(parents=True)
    marks = grade(folder, A1, course, timeout=30, memory=2.0).set_index("student")

    with subtests.test("the key has all points that a machine gives; its argument waits"):
        assert lost(marks.loc["key"]) == BY_HAND
        assert pd.isna(marks.loc["key", "written"])
    with subtests.test("the untouched release has none, and nothing is left to grade"):
        assert marks.loc["blank", ["automatic", "written", "points"]].tolist() == [0, 0, 0]
    with subtests.test("each mistake loses its points, whatever was done to the checks"):
        assert lost(marks.loc["mistaken"]) == seen_by(TOGETHER) | BY_HAND
    page = feedback(course, "mistaken")
    for name in TOGETHER:
        with subtests.test(f"{name} is told"):
            assert MISTAKES[name][-1] in page
    page = feedback(course, "hostile")
    with subtests.test("an endless loop, a full memory and an exit end alone"):
        assert set(lost(marks.loc["hostile"])) == {"b-compare", "d-permanent", "d-stored", *BY_HAND}
        assert marks.loc["hostile", "note"].startswith("compare: stopped, too long; stored: this")
        assert "MemoryError" in page
    with subtests.test("nothing outside is read or written, where the system can see to it"):
        assert "writing inside succeeded" in page
        if landlock() >= 4:
            assert page.count(" succeeded") == 1 + THEFT.count(" succeeded")
            assert page.count(" failed") == 6 + THEFT.count(" failed")
    with subtests.test("nothing handed in"):
        assert marks.loc["empty", "note"].startswith("not graded: there is no file")
    with subtests.test("a mark given by hand, with a comment; what is graded stays graded"):
        written = pd.read_csv(course / "written.csv", dtype={"comment": str})
        written = written.set_index("student")
        assert written.loc["blank", "points"] == 0
        written.loc["key", ["points", "comment"]] = 4, "A real limit is named."
        written.reset_index().to_csv(course / "written.csv", index=False)
        again = grade(hand_in(tmp_path / "again", key=SOURCE), A1, course).set_index("student")
        assert again.loc["key", ["written", "points", "of", "seconds"]].tolist() == [4, 20, 20, 0]
        assert "A real limit is named." in feedback(course, "key")


@pytest.mark.skipif(not ALL, reason="every mistake by itself takes minutes: make test-course")
@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_loses_exactly_its_points(name, course, tmp_path):
    marks = grade(hand_in(tmp_path / "in", student=with_mistakes(name)), A1, course).iloc[0]
    assert lost(marks) == seen_by([name]) | BY_HAND
    assert MISTAKES[name][-1] in feedback(course, "student")


@pytest.mark.skipif(not ALL, reason="make test-course runs the source")
def test_the_key_is_the_source_executed(tmp_path):
    key = make_key(A1, tmp_path)
    notebook = nbformat.read(key / f"{A1}.ipynb", as_version=4)
    assert [cell.source for cell in notebook.cells] == [cell.source for cell in SOURCE.cells]
    assert "image/png" in (key / f"{A1}.html").read_text("utf-8")


def landlock() -> int:
    """Which version of Landlock this system has."""
    linux = sys.platform == "linux"
    return ctypes.CDLL(None).syscall(444, None, 0, 1) if linux else -1


OUTSIDE = """
import os
from pathlib import Path
from course.kernel import limit_files
limit_files([Path("hidden").resolve()], [Path("own").resolve()])
for attempt in ('open("hidden/file")', 'open("open/file")', 'open("own/new", "w")',
                'open("new", "w")', 'os.remove("open/file")', 'os.kill(os.getppid(), 0)'):
    try:
        eval(attempt)
        print("can")
    except PermissionError:
        print("cannot")
"""


def test_a_process_that_gave_up_its_rights_reaches_its_own_folder_only(tmp_path):
    if landlock() < 6:
        pytest.skip("this system has no Landlock of version 6: Linux 6.12 or newer has it")
    for name in ("hidden", "open", "own"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    code, said, stderr = answer(start("-c", OUTSIDE, cwd=tmp_path, PYTHONPATH=str(ROOT)))
    assert code == 0, stderr
    assert said.split() == ["cannot", "can", "can", "cannot", "cannot", "cannot"]


def test_the_source_is_clean_and_the_release_tells_nothing(course):
    assert assignments() == [A1]
    assert not any(cell.get("outputs") for cell in SOURCE.cells)
    assert sum(POINTS.values()) == 20
    text = (course / "release" / A1 / f"{A1}.ipynb").read_text("utf-8")
    for word in ("BEGIN", "HIDDEN", "SOLUTION", "argsort(stable", "the key", "No. Alone"):
        assert word not in text
    assert text.count("YOUR CODE HERE") == 10 + 1  # and once where it is explained
    assert text.count("YOUR ANSWER HERE") == 2
    assert (course / "release" / A1 / "a1.py").is_file()


def test_everything_is_made_in_the_build_folder():
    assert COURSE == BUILD / "course"
    assert "build/" in (ROOT / ".gitignore").read_text().splitlines()


def test_only_answers_and_added_cells_are_taken_from_a_submission():
    release = deepcopy(SOURCE)
    mine = tampered(answered(name='student = "me"'))
    mine.cells.insert(4, new_code_cell("helper = 1"))
    mine.cells = [cell for cell in mine.cells if cell.id not in ("scan", *BY_HAND)]
    for cell in mine.cells:
        if cell.id == "setup":
            cell.source, cell.cell_type = "quit()", "markdown"
    result = fitted(mine, deepcopy(release))
    expected = {cell.id: cell.source for cell in SOURCE.cells}
    expected |= {"name": 'student = "me"', "scan": "# This cell was missing."}
    kept = [cell for cell in result.cells if cell.id in expected]
    assert {cell.id: cell.source for cell in kept} == expected
    assert [cell.id for cell in kept] == [cell.id for cell in SOURCE.cells]
    assert [cell.metadata for cell in kept] == [cell.metadata for cell in SOURCE.cells]
    assert [cell.source for cell in result.cells if cell.id not in expected] == ["helper = 1"]


@pytest.mark.parametrize("text", ["", "[]", '{"cells": 3}', "{}", '{"nbformat": 4, "cells": [{}]}'])
def test_a_damaged_notebook_is_named(text, tmp_path):
    (tmp_path / "x.ipynb").write_text(text)
    with pytest.raises(CannotBeRead, match=r"x\.ipynb is no notebook that can be read"):
        read(tmp_path / "x.ipynb")


def test_what_is_missing_is_said(monkeypatch, capsys):
    monkeypatch.setattr("course.build.find_spec", lambda name: None)
    assert main() == 1
    assert ".[course]" in capsys.readouterr().out
