"""The site and the slides are derived: nothing is lost on the way, and every link leads somewhere.

Sphinx and reveal.js are not needed here; `make site` checks the links of the built pages.
"""

import importlib
import inspect
import re

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from docs import (
    accessible,
    bibliography,
    carried,
    chapters,
    front,
    links,
    markdown,
    practice,
    rooms,
    site,
    slides,
)
from docs.selection import IN_A_LIST, ROWS, select
from prunelab.exercises import EXERCISES
from prunelab.teaching import equations

CHAPTERS = chapters.chapters()
every_chapter = pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
HOMES = site.homes_of_equations()


def test_a_link_leads_to_the_page_of_its_file():
    def linked(text):
        return markdown.page(text, "notebooks/01_global_pruning.ipynb", {})

    assert linked("[a](../prunelab/pruning.py)") == "[a](../api/pruning.md)"
    assert linked("[a](../README.md)") == "[a](../index.md)"
    assert linked("[`a`](13_recovery_playbook.ipynb#What-we-don't-know)") == (
        "[`a`](13_recovery_playbook.ipynb#what-we-dont-know)"
    )
    assert linked("`[a](b)` [c](https://d.e)") == "`[a](b)` [c](https://d.e)"
    with pytest.raises(ValueError, match=r"nowhere\.md"):
        linked("[a](nowhere.md)")


def test_a_number_in_prose_leads_to_its_equation():
    homes = {"1.2": "notebooks/a.ipynb"}
    text = "As (1.2), not (9.9), `f(1.2)` and $(1.2)$."
    changed = markdown.page(text, "notebooks/b.ipynb", homes)
    assert changed == "As [(1.2)](#equation-1-2), not (9.9), `f(1.2)` and $(1.2)$."
    formula = "$$a \\\\ b \\tag{1.2}$$"
    assert "(equation-1-2)=" in markdown.page(formula, "notebooks/a.ipynb", homes)
    assert "(equation-1-2)=" not in markdown.page(formula, "notebooks/b.ipynb", homes)


def test_every_equation_has_one_home():
    numbers = {
        number
        for room in rooms.rooms()
        for value in vars(importlib.import_module(rooms.module(room))).values()
        if inspect.isfunction(value) or inspect.isclass(value)
        for number in equations(value)
    }
    assert set(HOMES) == numbers
    pages = dict(site.sources(explorer=False))
    marks = [
        mark for text in pages.values() for mark in re.findall(r"\((equation-[\d-]+)\)=", text)
    ]
    assert sorted(marks) == sorted(map(markdown.anchor, numbers))


@every_chapter
def test_a_page_has_all_words_and_outputs_of_its_notebook(path):
    before, after = chapters.read(path), chapters.chapter(path, HOMES)
    nbformat.validate(after)
    text = "\n".join(cell.source for cell in after.cells)
    told = 0
    for cell in before.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            told += "text/markdown" in data
            assert chapters.WIDGET not in data or "<img" in data["text/html"]
    outputs = [output for cell in after.cells for output in cell.get("outputs", [])]
    assert len(outputs) + told == sum(len(cell.get("outputs", [])) for cell in before.cells)
    sliders = path.read_text("utf-8").count(chapters.WIDGET)
    assert text.count(chapters.STILL) == sliders
    assert chapters.WIDGET not in nbformat.writes(after)
    assert set(re.findall(r"^## .*", text, re.M)) >= {"## Verdict", "## References"}


@pytest.mark.parametrize("number", practice.with_exercises())
def test_hints_and_solutions_are_those_of_the_exercises(number):
    text = "\n\n".join(cell.source for cell in practice.practice_page(number, {}).cells)
    mine = [one for key, one in EXERCISES.items() if key.startswith(f"{number}.")]
    assert text.count("<details>") == 4 * len(mine) == text.count("</details>")
    for one in mine:
        assert one.worked_out in text
        assert one.start in text
        assert all(len(hint.split("](")) > 1 or hint in text for hint in one.hints)
    assert "hint(" not in text.replace("import check, hint", "")


def test_the_bibliography_has_every_title_once_and_in_order():
    found = bibliography.references(CHAPTERS)
    titles = {
        title
        for path in CHAPTERS
        for title in re.findall(
            r"^\* [^*\n]+\*([^*]+)\*", path_text(path).partition("## References")[2], re.M
        )
    }
    assert [re.search(r"\*([^*]+)\*", entry)[1] for entry in found].sort() == sorted(titles).sort()
    assert len(found) == len(titles) > 20
    names = [bibliography.INITIALS.sub("", entry).split(",")[0] for entry in found]
    assert names == sorted(names, key=str.casefold)
    assert all(where for where in found.values())


def path_text(path):
    return "\n".join(
        cell.source for cell in chapters.read(path).cells if cell.cell_type == "markdown"
    )


@pytest.mark.parametrize("room", rooms.rooms(), ids=lambda room: room.stem)
def test_the_reference_has_all_that_is_public(room):
    module = importlib.import_module(rooms.module(room))
    public = {
        name
        for name, value in vars(module).items()
        if (inspect.isfunction(value) or inspect.isclass(value))
        and value.__module__ == module.__name__
        and not name.startswith("_")
    }
    found = {one.name: one for one in rooms.members(room)}
    assert public <= set(found), "each needs a docstring"
    page = rooms.api_page(room, HOMES)
    for name in public:
        first = inspect.getdoc(getattr(module, name)).split("\n")[0]
        assert markdown.page(first, rooms.source(room), HOMES) in page


def test_sections_of_a_docstring():
    text = "What.\n\nArgs:\n    a, b: one\n        two.\n\nReturns:\n    It.\n\nSource: Me.\n"
    assert rooms.described(text) == (
        "What.\n\n**Parameters**\n\n* `a`, `b`: one two.\n\n**Returns**\n\nIt.\n\n**Source**\n\nMe."
    )


def test_what_sphinx_leaves_out_for_ears_is_added():
    signature = "f(\n\n<dl>\n<dd>a,</dd>\n<dd>b,</dd>\n</dl>\n\n)"
    definition = '<dl class="py"><dt>f</dt><dd>What.</dd></dl>'
    context = {"furo_navigation_tree": '<p role="heading">Practice</p>'}
    for name, before, after in (("index", "", ""), ("README.ko", '<div lang="ko">', "</div>")):
        page = context | {"body": signature + definition}
        accessible.complete(None, name, "page.html", page, None)
        assert page["furo_navigation_tree"] == '<p aria-level="2" role="heading">Practice</p>'
        lines = '<span class="sig-line">a,</span>\n<span class="sig-line">b,</span>\n'
        assert page["body"] == f"{before}f(\n\n{lines}\n\n){definition}{after}"


def test_the_menu_has_every_notebook():
    listed = [name for part in front.parts().values() for name in part]
    assert listed == [chapters.name_of(path) for path in CHAPTERS]
    assert "explorer.md" in front.contents(explorer=True)
    assert "explorer.md" not in front.contents(explorer=False)


@pytest.mark.parametrize(
    ("html", "said"),
    [
        ('<a href="b.html#there">b</a><a href="https://far.org">far</a><a href="#me">me</a>', None),
        ('<p id="%C2%B7"><a href="#%C2%B7">both ways</a>', None),
        ('<a href="c.html">c</a>', "a.html: c.html leads nowhere"),
        ('<a href="b.html#gone">b</a>', "a.html: b.html#gone leads nowhere"),
        ('<img src="no.png">', "a.html: no.png leads nowhere"),
        ('<script src="https://far.org/x.js"></script>', "loads https://far.org/x.js"),
        ('<link href="//far.org/x.css">', "loads //far.org/x.css"),
        ("<style>@import url(https://far.org/f.css)</style>", "loads https://far.org/f.css"),
    ],
)
def test_a_broken_link_is_found(tmp_path, capsys, html, said):
    (tmp_path / "a.html").write_text(f'<p id="me">{html}</p>')
    (tmp_path / "b.html").write_text('<p id="there">')
    assert links.main(tmp_path) == (said is not None)
    assert said is None or said in capsys.readouterr().out


def test_a_style_sheet_that_asks_another_machine_is_found(tmp_path):
    (tmp_path / "a.css").write_text('@font-face {src: url("https://far.org/f.woff")}')
    assert links.problems(tmp_path) == ["a.css loads https://far.org/f.woff from another machine"]


def test_every_notebook_is_in_one_week():
    read = [path for _, paths in slides.weeks().values() for path in paths]
    assert sorted(read) == CHAPTERS


def test_what_is_shown_and_what_is_told():
    picture, table = "<img alt='a'>", "<table></table>"
    notebook = new_notebook(
        cells=[
            new_markdown_cell("# 01 · A\n\n**Question.** Why?\n\n**You will be able to** do."),
            new_markdown_cell("## B\n\nTold.\n\n> The guide claims.\n\nHow many?"),
            new_code_cell("guess = 1"),
            new_code_cell("f()", outputs=[new_output("stream", text="two (your guess: 1)\n")]),
            new_code_cell("f()", outputs=[new_output("stream", text="more\n")]),
            new_code_cell("g()", outputs=[new_output("display_data", {"text/html": picture})]),
            new_code_cell("g()", outputs=[new_output("display_data", {"text/html": table})]),
            new_markdown_cell("## Verdict\n\nNo.\n\nNever."),
            new_markdown_cell("## References\n\n* *A book.*"),
        ]
    )
    made = [(one.kind, one.heading, one.shows) for one in select(notebook)]
    assert made == [
        ("question", "01 · A", "**Question.** Why?"),
        ("claim", "B", "> The guide claims."),
        ("prediction", "B", "How many?"),
        ("answer", "B", "```text\ntwo\n```"),
        ("figure", "B", picture),
        ("words", "Verdict", "No.\n\nNever."),
    ]
    notes = [one.notes for one in select(notebook)]
    assert notes == [
        [],
        ["**You will be able to** do.", "Told."],
        [],
        [],
        ["```text\nmore\n```"],
        [table],
    ]


def test_every_room_has_a_page_of_its_own():
    places = [markdown.place(rooms.source(room)) for room in rooms.rooms()]
    assert len(set(places)) == len(places)
    assert {name for name in places if re.fullmatch(r"api/\w+\.md", name)} == set(places)


def test_a_long_table_of_a_verdict_is_left_to_the_speaker():
    tables = [f"<table>{'<tr><td>1</td></tr>' * rows}</table>" for rows in (ROWS, ROWS + 1)]
    cells = [new_markdown_cell("## Verdict\n\nIt holds.")]
    for table in tables:
        cells.append(new_code_cell("", outputs=[new_output("display_data", {"text/html": table})]))
    words, shown = select(new_notebook(cells=cells))
    assert (words.kind, shown.kind, shown.shows) == ("words", "table", tables[0])
    assert tables[1] in shown.notes


def test_a_list_that_is_too_long_goes_on_on_the_next_slide():
    items = [f"* {'word ' * size}end" for size in (60, 30, 10, 90, 50, 20)]
    text = "## Summary\n\n" + "\n".join(items)
    made = [one.shows for one in select(new_notebook(cells=[new_markdown_cell(text)]))]
    assert "\n".join(made).split("\n") == items
    assert len(made) == 3
    assert max(len(shows.split()) for shows in made) <= 1.5 * IN_A_LIST


@every_chapter
def test_slides_repeat_the_notebook_and_add_no_word(path):
    notebook = chapters.read(path)
    there = "\n".join(cell.source for cell in notebook.cells)
    there += "\n".join(text for cell in notebook.cells for text in chapters.shown(cell))
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    pictures = [o for o in outputs if "<img" in o.get("data", {}).get("text/html", "")]
    made = select(notebook)
    assert sum(one.kind == "figure" for one in made) == len(pictures) > 0
    assert {one.heading for one in made} >= {"Verdict", "Summary"}
    for one in made:
        if one.kind in ("question", "claim", "prediction", "equation", "words"):
            assert all(part in there for part in one.shows.split("\n\n"))


@pytest.mark.parametrize("build", [site.main, slides.main])
def test_what_is_not_installed_is_named(monkeypatch, capsys, build):
    monkeypatch.setattr(carried.importlib.util, "find_spec", lambda name: None)
    assert build() == 1
    assert "pip install --editable '.[site]'" in capsys.readouterr().out
