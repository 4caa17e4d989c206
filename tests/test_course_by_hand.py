"""Points that a teacher gives by hand: how they are read, asked for, and shown."""

import re
from html import unescape

import pandas as pd
import pytest

pytest.importorskip("nbgrader", reason="nbgrader is not installed: pip install '.[course]'")

from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

import course.grade
from course.pages import page
from course.written import WRITTEN, CannotBeEntered, read_written, unknown_students

HEAD = ",".join(WRITTEN)


@pytest.mark.parametrize(
    ("text", "points", "comment"),
    [
        (f"{HEAD}\nA1,007,e,2.5,good\n", 2.5, "good"),
        (f"{HEAD}\nA1,007,e,,\n", None, None),
        (f'{HEAD}\nA1,007,e,"2,5","one, two; three"\n', 2.5, "one, two; three"),
        (f"\ufeff{HEAD}\r\nA1,007,e,2,\r\n", 2.0, None),
        (f"{HEAD.replace(',', ';')}\nA1;007;e;2,5;one, two\n", 2.5, "one, two"),
        (HEAD.replace(",", "\t") + "\nA1\t007\te\t 2 \tgood\n", 2.0, "good"),
    ],
)
@pytest.mark.parametrize("code", ["utf-8", "cp1252"])
def test_points_are_read_as_spreadsheets_write_them(text, points, comment, code, tmp_path):
    path = tmp_path / "written.csv"
    path.write_bytes(text.replace("good", "naïve").encode(code, "ignore"))
    (row,) = read_written(path).itertuples()
    assert (row.assignment, row.student, row.cell) == ("A1", "007", "e")
    assert pd.isna(row.points) if points is None else row.points == points
    assert (
        pd.isna(row.comment) if comment is None else row.comment == comment.replace("good", "naïve")
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("student,points\nana,3\n", "no column assignment, cell, comment; its first line"),
        (f"{HEAD}\nA1,ana,e,three,\n", "ana, e: points='three' is no number, such as 2.5"),
    ],
)
def test_a_table_that_cannot_be_used_is_named(text, told, tmp_path, monkeypatch, capsys):
    path = tmp_path / "written.csv"
    path.write_text(text)
    with pytest.raises(CannotBeEntered, match=re.escape(told)):
        read_written(path)
    (tmp_path / "in" / "ana" / "A1_masks").mkdir(parents=True)
    monkeypatch.setattr(course.grade, "make_release", lambda *given: None)
    monkeypatch.setattr(course.grade.grade, "__defaults__", (tmp_path, False))
    assert course.grade.main([str(tmp_path / "in")]) == 1
    assert told in capsys.readouterr().out


@pytest.mark.parametrize(("written", "told"), [(None, True), (3.0, False)])
def test_answers_that_wait_are_counted(written, told, tmp_path, monkeypatch, capsys):
    (tmp_path / "ana" / "A1_masks").mkdir(parents=True)
    row = dict.fromkeys(course.grade.FIRST, 0) | {"written": written}
    monkeypatch.setattr(course.grade, "grade", lambda *_, **__: pd.DataFrame([row]))
    assert course.grade.main([str(tmp_path)]) == 0
    assert ("by hand: 1; points go into" in capsys.readouterr().out) is told


def seen(*cells, **about) -> str:
    text = page(
        new_notebook(cells=list(cells)), "A1", nbgrader={"score": 1, "max_score": 4} | about
    )
    text = re.sub(r"<(script|style).*?</\1>|<[^>]*>", "", text, flags=re.DOTALL)
    return " ".join(unescape(text).split())


def answer(**about):
    about = {"grade": True, "solution": True, "grade_id": "e", "points": 4, "score": 3} | about
    return new_markdown_cell("mine", metadata={"nbgrader": about})


def test_a_page_says_whose_it_is_what_is_to_come_and_what_was_said():
    waits = seen(new_markdown_cell("text"), answer(waits=True), student="ana <1>")
    assert "A1 · ana <1> 1 of 4 points; up to 4 are still to come" in waits
    assert "– of 4 not read yet" in waits
    read = seen(answer(waits=False, comment="*Right* for x < 3.\n\n- own numbers"))
    assert "to come" not in read
    assert "3 of 4Right for x < 3. own numbers" in read.replace("3 of 4 ", "3 of 4")
    assert "Comment. Right for x < 3. own numbers" in read


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("AssertionError", "too many", "too many"),
        ("NotImplementedError", "write your code here", "write your code here"),
        ("KeyError", "'LAMP'", "KeyError: 'LAMP'"),
        ("AssertionError", "", "AssertionError"),
        ("KeyboardInterrupt", "", "KeyboardInterrupt"),
    ],
)
def test_a_lost_point_has_its_reason(name, value, told):
    about = {"grade": True, "solution": False, "grade_id": "a", "points": 2, "score": 0}
    failed = new_output("error", ename=name, evalue=value, traceback=[])
    check = new_code_cell("check", outputs=[failed], metadata={"nbgrader": about})
    assert re.search(rf"a ?0 of 2 ?{re.escape(told)} ?check", seen(check))


def test_a_student_who_handed_nothing_in_is_named(tmp_path):
    path = tmp_path / "written.csv"
    assert unknown_students(tmp_path, path) == []
    path.write_text(f"{HEAD}\nA1,ana,e,2,\nA1,anna,e,3,\n")
    (tmp_path / "ana").mkdir()
    assert unknown_students(tmp_path, path) == ["anna"]
