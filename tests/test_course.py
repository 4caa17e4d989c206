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
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

from course.build import COURSE, HERE, ROOT, assignments, main, make_key, make_release
from course.collect import CannotBeRead, fitted, read
from course.execute import LimitedExecute
from course.grade import grade
from course.grade import main as grade_folder
from prunelab.lab.runner import BUILD
from tests.course_mistakes import MISTAKES, TOGETHER
from tests.processes import answer, start


def is_answer(cell) -> bool:
    """A text that is graded by hand."""
    return cell.cell_type == "markdown" and cell.metadata.get("nbgrader", {}).get("grade", False)


A1, A4 = "A1_masks", "A4_tickets"
every_assignment = pytest.mark.parametrize("assignment", assignments())
SOURCES = {
    name: nbformat.read(HERE / "source" / name / f"{name}.ipynb", as_version=4)
    for name in assignments()
}
POINTS = {
    name: {
        cell.id: cell.metadata.nbgrader.points
        for cell in source.cells
        if cell.metadata.get("nbgrader", {}).get("grade")
    }
    for name, source in SOURCES.items()
}
BY_HAND = {
    name: {cell.id: POINTS[name][cell.id] for cell in source.cells if is_answer(cell)}
    for name, source in SOURCES.items()
}
ALL = os.environ.get("ALL_MISTAKES")
PATIENT = {"timeout": 900, "seconds": 3600}  # for a machine that has much else to do
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
    """The key of A1, with other words in some of its cells."""
    notebook = deepcopy(SOURCES[A1])
    for cell in notebook.cells:
        cell.source = changes.get(cell.id.replace("-", "_"), cell.source)
    return notebook


def with_mistakes(assignment: str, *names: str):
    notebook = deepcopy(SOURCES[assignment])
    cells = {cell.id: cell for cell in notebook.cells}
    for name in names:
        cell, right, wrong, _, _ = MISTAKES[assignment][name]
        assert right in cells[cell].source
        cells[cell].source = cells[cell].source.replace(right, wrong, 1)
    return notebook


def tampered(notebook):
    """Every check edited, deleted, made worth more, tagged to be skipped, or moved to the top."""
    notebook = deepcopy(notebook)
    graded = [cell for cell in notebook.cells if cell.metadata.get("nbgrader", {}).get("grade")]
    checks = [cell for cell in graded if not is_answer(cell)]
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


def hand_in(folder: Path, assignment: str, **notebooks) -> Path:
    for student, notebook in notebooks.items():
        place = folder / student / assignment
        place.mkdir(parents=True)
        nbformat.write(notebook, place / f"{assignment}.ipynb")
    return folder


def lost(assignment: str, row) -> dict[str, float]:
    of, got = (
        POINTS[assignment],
        {name: 0 if pd.isna(row[name]) else row[name] for name in row.index},
    )
    return {name: of[name] - got[name] for name in of if got[name] < of[name]}


def feedback(course: Path, assignment: str, student: str) -> str:
    page = course / "feedback" / student / assignment / f"{assignment}.html"
    text = re.sub(r"<script.*?</script>|<[^>]*>", "", page.read_text("utf-8"), flags=re.DOTALL)
    return " ".join(unescape(text).split())


def seen_by(assignment: str, names) -> dict[str, float]:
    """What these mistakes lose, and the answer that nobody has read yet."""
    checks = [check for name in names for check in MISTAKES[assignment][name][3].split()]
    return {check: POINTS[assignment][check] for check in checks} | BY_HAND[assignment]


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    return tmp_path_factory.mktemp("course")


@pytest.mark.long
@every_assignment
def test_the_key_has_all_points_the_release_none_and_mistakes_lose_theirs(
    assignment, course, tmp_path, subtests
):
    key, together = SOURCES[assignment], TOGETHER[assignment]
    blank = make_release(assignment, course) / f"{assignment}.ipynb"
    notebooks = {
        "blank": nbformat.read(blank, as_version=4),
        "key": key,
        "mistaken": tampered(with_mistakes(assignment, *together)),
    }
    folder = hand_in(tmp_path / "in", assignment, **notebooks)
    marks = grade(folder, assignment, course, **PATIENT).set_index("student")

    with subtests.test("the key has all points that a machine gives; its answers wait"):
        assert lost(assignment, marks.loc["key"]) == BY_HAND[assignment]
        assert marks.loc["key", ["written", *BY_HAND[assignment]]].isna().all()
    with subtests.test("the untouched release has none, and nothing is left to grade"):
        assert marks.loc["blank", ["automatic", "written", "points"]].tolist() == [0, 0, 0]
    with subtests.test("each mistake loses its points, whatever was done to the checks"):
        assert lost(assignment, marks.loc["mistaken"]) == seen_by(assignment, together)
    page = feedback(course, assignment, "mistaken")
    top = page.partition("How it works.")[0]
    with subtests.test("the answer that nobody has read is said to wait"):
        assert top.count("not read yet") == len(BY_HAND[assignment])
    for name in together:
        with subtests.test(f"{name} is told"):
            assert MISTAKES[assignment][name][-1] in top
    with subtests.test("the table of marks"):
        table = pd.read_csv(course / "marks" / f"{assignment}.csv", index_col="student")
        assert table["automatic"].to_dict() == marks["automatic"].to_dict()
    with subtests.test("a mark given by hand, with a comment; what is graded stays graded"):
        written = pd.read_csv(course / "written.csv", dtype={"comment": str})
        written = written.set_index(["assignment", "student"]).sort_index()
        assert (written.loc[[(assignment, "blank")], "points"] == 0).all()
        of = written.loc[[(assignment, "key")], "cell"].map(BY_HAND[assignment])
        written.loc[(assignment, "key"), "points"] = of.to_numpy()
        written.loc[(assignment, "key"), "comment"] = "A real limit is named."
        written.reset_index().to_csv(course / "written.csv", index=False)
        again = grade(hand_in(tmp_path / "again", assignment, key=key), assignment, course)
        expected = [sum(BY_HAND[assignment].values()), 20, 20, 0]
        assert again[["written", "points", "of", "seconds"]].iloc[0].tolist() == expected
        page = feedback(course, assignment, "key")
        assert page.count("A real limit is named.") == 2 * len(of)  # beside the points, and below
        assert "key 20 of 20 points check" in page
    with subtests.test("a mark that is taken back waits again"):
        written[["points", "comment"]] = None
        written.reset_index().to_csv(course / "written.csv", index=False)
        again = grade(tmp_path / "again", assignment, course)
        assert again["written"].isna().all()
        page = feedback(course, assignment, "key")
        assert "are still to come" in page
        assert "A real limit is named." not in page


def test_a_kernel_that_does_not_answer_is_started_again(tmp_path, monkeypatch):
    answers, usual = iter([False, True]), NotebookClient.start_new_kernel_client

    def sometimes(client):
        if not next(answers):
            client._cleanup_kernel()
            raise RuntimeError("Kernel didn't respond in 120 seconds")
        return usual(client)

    monkeypatch.setattr(NotebookClient, "start_new_kernel_client", sometimes)
    notebook = new_notebook(cells=[new_code_cell("print(6 * 7)")])
    LimitedExecute().preprocess(notebook, {"metadata": {"path": str(tmp_path)}})
    assert notebook.cells[0].outputs[0].text == "42\n"
    assert next(answers, None) is None


@pytest.mark.long
def test_hostile_submissions_end_alone_and_reach_their_own_folder_only(course, tmp_path, subtests):
    hostile = answered(compare=LOOP, make_permanent=MEMORY, stored=LEAVE)
    hostile.cells.insert(5, new_code_cell(THEFT))
    folder = hand_in(tmp_path / "in", A1, hostile=hostile)
    (folder / "empty" / A1).mkdir(parents=True)
    marks = grade(folder, A1, course, timeout=30, memory=2.0).set_index("student")
    page = feedback(course, A1, "hostile")
    with subtests.test("an endless loop, a full memory and an exit end alone"):
        expected = {"b-compare", "d-permanent", "d-stored", *BY_HAND[A1]}
        assert set(lost(A1, marks.loc["hostile"])) == expected
        assert marks.loc["hostile", "note"].startswith("compare: stopped, too long; stored: this")
        assert "MemoryError" in page
    with subtests.test("nothing outside is read or written, where the system can see to it"):
        assert "writing inside succeeded" in page
        if landlock() >= 4:
            assert page.count(" succeeded") == 1 + THEFT.count(" succeeded")
            assert page.count(" failed") == 6 + THEFT.count(" failed")
    with subtests.test("nothing handed in"):
        assert marks.loc["empty", "note"].startswith("not graded: there is no file")


@pytest.mark.skipif(not ALL, reason="every mistake by itself takes minutes: make test-course")
@pytest.mark.parametrize(
    ("assignment", "name"), [(which, name) for which in MISTAKES for name in MISTAKES[which]]
)
def test_a_mistake_loses_exactly_its_points(assignment, name, course, tmp_path):
    folder = hand_in(tmp_path / "in", assignment, student=with_mistakes(assignment, name))
    marks = grade(folder, assignment, course, **PATIENT).iloc[0]
    assert lost(assignment, marks) == seen_by(assignment, [name])
    assert MISTAKES[assignment][name][-1] in feedback(course, assignment, "student")


@pytest.mark.skipif(not ALL, reason="make test-course runs the source")
@every_assignment
def test_the_key_is_the_source_executed(assignment, tmp_path):
    key = make_key(assignment, tmp_path)
    notebook = nbformat.read(key / f"{assignment}.ipynb", as_version=4)
    source = SOURCES[assignment]
    assert [cell.source for cell in notebook.cells] == [cell.source for cell in source.cells]
    assert "image/png" in (key / f"{assignment}.html").read_text("utf-8")


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


SOLUTION = re.compile(r"### BEGIN SOLUTION\n(.*?)### END SOLUTION", re.DOTALL)


@every_assignment
def test_the_source_is_clean_and_the_release_tells_nothing(assignment, course):
    source = SOURCES[assignment]
    assert not any(cell.get("outputs") for cell in source.cells)
    assert sum(POINTS[assignment].values()) == 20
    release = make_release(assignment, course)
    cells = nbformat.read(release / f"{assignment}.ipynb", as_version=4).cells
    text = "\n".join(cell.source for cell in cells)
    assert not [word for word in ("BEGIN", "HIDDEN", "SOLUTION", "the key") if word in text]
    solutions = SOLUTION.findall("\n".join(cell.source for cell in source.cells))
    lines = {line.strip() for solution in solutions for line in solution.splitlines()}
    assert not [line for line in lines if len(line) > 45 and line in text]
    answers = [cell for cell in source.cells if is_answer(cell)]
    assert not [cell for cell in answers if cell.source in text]
    assert text.count("YOUR CODE HERE") == len(solutions) + 1  # and once where it is explained
    assert text.count("YOUR ANSWER HERE") == len(answers) + 1
    assert {path.name for path in release.glob("*.py")} == {
        "handout.py",
        *(path.name for path in (HERE / "source" / assignment).glob("*.py")),
    }


def test_a_folder_without_submissions_is_named(tmp_path, capsys):
    (tmp_path / "student").mkdir()
    assert grade_folder([str(tmp_path)]) == 1
    assert (
        f"holds no STUDENT/ASSIGNMENT/ASSIGNMENT.ipynb with one of {A1}" in capsys.readouterr().out
    )


def test_everything_is_made_in_the_build_folder():
    assert COURSE == BUILD / "course"
    assert "build/" in (ROOT / ".gitignore").read_text().splitlines()


def test_only_answers_and_added_cells_are_taken_from_a_submission():
    source = SOURCES[A1]
    mine = tampered(answered(name='student = "me"'))
    mine.cells.insert(4, new_code_cell("helper = 1"))
    mine.cells = [cell for cell in mine.cells if cell.id not in ("scan", *BY_HAND[A1])]
    for cell in mine.cells:
        if cell.id == "setup":
            cell.source, cell.cell_type = "quit()", "markdown"
    result = fitted(mine, deepcopy(source))
    expected = {cell.id: cell.source for cell in source.cells}
    expected |= {"name": 'student = "me"', "scan": "# This cell was missing."}
    kept = [cell for cell in result.cells if cell.id in expected]
    assert {cell.id: cell.source for cell in kept} == expected
    assert [cell.id for cell in kept] == [cell.id for cell in source.cells]
    assert [cell.metadata for cell in kept] == [cell.metadata for cell in source.cells]
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
