"""Points and comments that a teacher gives by hand, in build/course/written.csv."""

import io
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

WRITTEN = ["assignment", "student", "cell", "points", "comment"]


class CannotBeEntered(ValueError):
    """Says what is wrong in written.csv."""


def read_written(path: Path) -> pd.DataFrame:
    """Points and comments as they stand in the file, also when a spreadsheet has saved it.

    Args:
        path: of written.csv; without the file the table is empty.

    Returns:
        The columns `WRITTEN`; `points` are numbers, NaN where none are given.

    Raises:
        CannotBeEntered: columns are missing, or points are no number.
    """
    if not path.is_file():
        return pd.DataFrame(columns=WRITTEN)
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("cp1252", "replace")
    head = text.partition("\n")[0]
    mark = max(",;\t", key=head.count)  # spreadsheets of many countries write semicolons
    table = pd.read_csv(io.StringIO(text), sep=mark, dtype=str)
    if missing := set(WRITTEN) - set(table.columns):
        raise CannotBeEntered(
            f"{path} has no column {', '.join(sorted(missing))}; its first line should be "
            f"{','.join(WRITTEN)}. Deleted, the file is made anew, without points"
        )
    points = table["points"].str.strip().str.replace(",", ".").replace("", pd.NA)
    numbers = pd.to_numeric(points, errors="coerce")
    for row in table[numbers.isna() & points.notna()].itertuples():
        raise CannotBeEntered(
            f"{path}: {row.student}, {row.cell}: points={row.points!r} is no number, such as 2.5"
        )
    return table.assign(points=numbers)


def enter_written(api, assignment: str, students: list[str], path: Path) -> None:
    """Put points and comments of written.csv into the gradebook; ask for those still missing."""
    table = read_written(path)
    known = {(row.assignment, row.student, row.cell): row for row in table.itertuples()}
    new = []
    with api.gradebook as book:
        for student in students:
            for entry in grades(book, assignment, student):
                if entry.auto_score is not None and entry.cell_type == "code":
                    continue
                row = known.get((assignment, student, entry.name))
                if row is None:
                    points = 0 if entry.auto_score == 0 else None  # nothing was written
                    new.append([assignment, student, entry.name, points, None])
                if row is not None and pd.notna(row.points):
                    if not 0 <= row.points <= entry.max_score:
                        raise CannotBeEntered(
                            f"{path}: {student}, {entry.name}: points={row.points:g} must be "
                            f"from 0 to {entry.max_score:g}"
                        )
                    entry.manual_score, entry.needs_manual_grade = row.points, False
                elif entry.manual_score is not None:  # given once, and taken back
                    entry.manual_score, entry.needs_manual_grade = None, True
                if row is not None:
                    place = entry.notebook.name, assignment, student
                    comment = row.comment if isinstance(row.comment, str) else None
                    book.find_comment(entry.name, *place).manual_comment = comment
        book.db.commit()
    if new or not path.is_file():
        asked = pd.DataFrame(new, columns=WRITTEN)
        pd.concat([table, asked] if len(table) else [asked]).to_csv(path, index=False)


def unknown_students(submitted: Path, path: Path) -> list[str]:
    """Students in written.csv of whom nothing was handed in: a slip of the pen, perhaps."""
    named = read_written(path)["student"].dropna().unique()
    return sorted(name for name in named if not (submitted / name).is_dir())


def grades(book, assignment: str, student: str) -> Iterator:
    """The gradebook's entries for the checks and answers of a submission; none if not graded."""
    if any(sent.name == assignment for sent in book.student_submissions(student)):
        for notebook in book.find_submission(assignment, student).notebooks:
            yield from notebook.grades
