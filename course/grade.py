"""Grade a folder of submissions: `make grade SUBMITTED=folder`.

The folder holds STUDENT/ASSIGNMENT/ASSIGNMENT.ipynb, for instance STUDENT/A1_masks/A1_masks.ipynb.
Marks go to build/course/marks, a table for each assignment, a page for each student to
build/course/feedback, and what is graded by hand is asked for in build/course/written.csv.
"""

import argparse
import json
import shutil
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

from course.build import (
    COURSE,
    HERE,
    MISSING,
    ROOT,
    assignments,
    digest,
    make_release,
    nbgrader_api,
)
from course.collect import CannotBeRead, collect
from course.pages import formulas_missing
from course.written import (
    CannotBeEntered,
    enter_written,
    grades,
    read_written,
    unknown_students,
)

PLACE = "STUDENT/ASSIGNMENT/ASSIGNMENT.ipynb"
FIRST = ["student", "automatic", "written", "points", "of", "note", "seconds"]
"""Columns of the marks before those of each check."""
TOO_LONG = "CellTimeoutError"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make grade", description=__doc__)
    parser.add_argument("submitted", type=Path, help=f"folder with {PLACE}")
    parser.add_argument("--timeout", type=int, default=60, help="seconds a cell (60)")
    parser.add_argument("--seconds", type=int, default=900, help="seconds a submission (900)")
    parser.add_argument("--memory", type=float, default=4.0, help="GiB a submission (4)")
    parser.add_argument("--again", action="store_true", help="grade also what has not changed")
    given = vars(parser.parse_args(arguments))
    if find_spec("nbgrader") is None:
        print(MISSING)
        return 1
    if absent := formulas_missing():
        print(absent)
    submitted, again = given.pop("submitted"), given.pop("again")
    if not submitted.is_dir():
        print(f"{submitted} is not a folder; it should hold {PLACE}")
        return 1
    found = [name for name in assignments() if any(submitted.glob(f"*/{name}"))]
    if not found:
        print(f"{submitted} holds no {PLACE} with one of {', '.join(assignments())}")
        return 1
    waiting = 0
    try:
        for assignment in found:
            print(assignment)
            table = grade(submitted, assignment, again=again, **given)
            print(table[FIRST].to_string(index=False, na_rep="not yet"))
            waiting += int(table["written"].isna().sum())
    except CannotBeEntered as error:
        print(error)
        return 1
    print(f"marks in {COURSE / 'marks'}, pages in {COURSE / 'feedback'}")
    if waiting:
        print(f"to be read and graded by hand: {waiting}; points go into {COURSE / 'written.csv'}")
    if unknown := unknown_students(submitted, COURSE / "written.csv"):
        print(f"{COURSE / 'written.csv'} has points for {', '.join(unknown)}, not in {submitted}")
    return 0


def grade(
    submitted: Path, assignment: str, course: Path = COURSE, again: bool = False, **limits
) -> pd.DataFrame:
    """Grade every submission of an assignment, each by itself.

    Args:
        submitted: folder with a folder for each student.
        assignment: such as "A1_masks".
        course: folder of what is made.
        again: grade also submissions that were graded and have not changed.
        limits: `timeout`, `seconds`, `memory` of `course.execute.LimitedExecute`.

    Returns:
        A row a student: `student`, `automatic`, `written` (NaN until it is graded by hand),
        `points`, `of`, `note`, `seconds`, then the points of each check, and of each answer (NaN
        until it is graded by hand).
    """
    make_release(assignment, course)
    read_written(course / "written.csv")  # a mistake in it is told before the minutes of grading
    hidden = [HERE, course, submitted, ROOT / ".git"]
    api = nbgrader_api(course, hidden=[str(path) for path in hidden], **limits)
    students = sorted(path for path in submitted.iterdir() if (path / assignment).is_dir())
    done = {}
    for folder in students:
        print(f"{folder.name} …", flush=True)
        done[folder.name] = grade_one(api, folder, assignment, course, again)
    enter_written(api, assignment, list(done), course / "written.csv")
    for student, (note, seconds) in done.items():
        if not note.startswith("not graded"):
            words = filter(None, [note, make_page(api, assignment, student, course)])
            done[student] = "; ".join(words), seconds
    rows = [
        {**marks(api, assignment, student), "note": note, "seconds": round(seconds, 1)}
        for student, (note, seconds) in done.items()
    ]
    table = in_order(pd.DataFrame(rows))
    (course / "marks").mkdir(exist_ok=True)
    table.to_csv(course / "marks" / f"{assignment}.csv", index=False)
    return table


def grade_one(api, folder: Path, assignment: str, course: Path, again: bool) -> tuple[str, float]:
    """Grade one submission, whatever happens. What is to be said of it, and how long it took."""
    student, started = folder.name, time.perf_counter()
    place = course / "submitted" / student / assignment
    graded = course / "graded" / f"{student}.{assignment}.txt"
    try:
        collect(folder / assignment, course / "release" / assignment, place)
        now = digest(place, course / "source" / assignment)
        if not again and graded.is_file() and graded.read_text() == now:
            return "", 0.0
        result = api.autograde(assignment, student, force=True)
        if not result["success"]:
            (course / "log.txt").write_text(f"{result['log']}\n{result['error']}", "utf-8")
            raise RuntimeError(f"nbgrader gave up; {course / 'log.txt'} says why")
        note = trouble(course / "autograded" / student / assignment)
        graded.parent.mkdir(exist_ok=True)
        graded.write_text("" if note else now)  # what had trouble is graded again
    except Exception as error:  # one submission must not stop the others
        shutil.rmtree(place, ignore_errors=True)
        shutil.rmtree(course / "autograded" / student / assignment, ignore_errors=True)
        graded.unlink(missing_ok=True)
        with api.gradebook as book:
            book.update_or_create_student(student)
            if any(sent.name == assignment for sent in book.student_submissions(student)):
                book.remove_submission(assignment, student)
        reason = str(error) if isinstance(error, CannotBeRead) else repr(error)
        note = f"not graded: {reason}"
    return note, time.perf_counter() - started


def make_page(api, assignment: str, student: str, course: Path) -> str:
    """Make a student's page of feedback. What is to be said where there is none."""
    result = api.generate_feedback(assignment, student, force=True)
    if result["success"]:
        return ""
    (course / "log.txt").write_text(f"{result['log']}\n{result['error']}", "utf-8")
    return f"no page of feedback; {course / 'log.txt'} says why"


def trouble(autograded: Path) -> str:
    """Cells that took too long, or ended the kernel."""
    words = []
    for path in autograded.glob("*.ipynb"):
        for cell in json.loads(path.read_text())["cells"]:
            errors = [out for out in cell.get("outputs", []) if out["output_type"] == "error"]
            name = cell["metadata"].get("nbgrader", {}).get("grade_id", "an added cell")
            for error in errors:
                if error["ename"] == TOO_LONG:
                    words.append(f"{name}: stopped, too long")
                elif error["ename"] == "KernelDied" and "not run" not in error["evalue"]:
                    words.append(f"{name}: {error['evalue']}")
    return "; ".join(words)


def marks(api, assignment: str, student: str) -> dict:
    """A student's row."""
    with api.gradebook as book:
        of = book.find_assignment(assignment).max_score
        found = {entry.name: entry for entry in grades(book, assignment, student)}
        by_hand = [entry for entry in found.values() if entry.cell_type == "markdown"]
        waiting = any(entry.needs_manual_grade for entry in by_hand)
        written = sum(entry.score for entry in by_hand)
        automatic = sum(entry.score for entry in found.values()) - written
        points = {
            name: float("nan") if entry.needs_manual_grade else entry.score
            for name, entry in found.items()
        }
    return {
        "student": student,
        "automatic": automatic,
        "written": float("nan") if waiting else written,
        "points": automatic + written,
        "of": of,
        **points,
    }


def in_order(table: pd.DataFrame) -> pd.DataFrame:
    return table[[*FIRST, *(name for name in table.columns if name not in FIRST)]]


if __name__ == "__main__":
    sys.exit(main())
