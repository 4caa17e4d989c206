"""Notebooks in real JupyterLab: run, moved, predicted and answered. `make test-browser`: all."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from prunelab.data import ROOT
from prunelab.exercises.notebooks import practice
from tests.browser.jupyterlab import Notebook, Server, served, texts
from tests.chromium import launched

EVERY = sorted(path.name for path in ROOT.glob("notebooks/*.ipynb"))
LIGHT = [name for name in EVERY if name.startswith("07_")]
NAMES = EVERY if "ALL_NOTEBOOKS" in os.environ else LIGHT
SHOTS = ROOT / "build" / "browser"
GUESS = re.compile(r"^guess = (?P<old>-?[\d._]+|\".*?\")", re.MULTILINE)
WIDGET = "application/vnd.jupyter.widget-view+json"


@pytest.fixture(scope="module")
def browser():
    with launched() as browser:
        yield browser


@pytest.fixture(scope="module")
def server(browser, tmp_path_factory) -> Iterator[Server]:
    with served(tmp_path_factory.mktemp("jupyterlab")) as server:
        yield server
        assert server.called.read_text() == "", "the server or a kernel left this machine"


@pytest.fixture
def opened(browser, server) -> Iterator:
    books = []

    def open_(path: str) -> Notebook:
        books.append(Notebook(browser, server, path))
        return books[-1]

    yield open_
    for book in books:
        assert not book.outside()
        book.close()


def shoot(book: Notebook, name: str) -> None:
    SHOTS.mkdir(parents=True, exist_ok=True)
    book.page.screenshot(path=SHOTS / f"{name}.png")


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_read_predicted_run_and_moved(opened, name):
    book = opened(name)
    guesses = predict(book)
    book.run_all()
    cells = book.cells()
    code = [cell for cell in cells if cell["code"]]
    errors = [out for cell in code for out in cell["outputs"] if out["output_type"] == "error"]
    assert not errors
    assert [cell["count"] for cell in code] == list(range(1, len(code) + 1))
    answered(cells, guesses)
    shown = [any(WIDGET in out.get("data", {}) for out in cell["outputs"]) for cell in cells]
    sliders = [index for index, there in enumerate(shown) if there]
    assert len(sliders) == sum("slider(" in cell["source"] for cell in code)
    for index in sliders:
        move(book, index)
    look(book, name.removesuffix(".ipynb"), sliders)
    assert book.page.get_by_text("Jupyter news").count() == 0


def predict(book: Notebook) -> dict[int, str]:
    """Type other predictions; words only where there are no numbers, as some must be names."""
    found = {i: GUESS.search(cell["source"]) for i, cell in enumerate(book.cells()) if cell["code"]}
    found = {i: match for i, match in found.items() if match}
    numbers = {i: match for i, match in found.items() if not match["old"].startswith('"')}
    typed = {}
    for index, match in (numbers or found).items():
        new = "0.73" if "." in match["old"] else "73"
        new = f'"{new} by mouse"' if match["old"].startswith('"') else new
        book.write(
            index, match.string[: match.start("old")] + new + match.string[match.end("old") :]
        )
        typed[index] = new.strip('"').removeprefix("0.")
    assert typed
    return typed


def answered(cells: list[dict], guesses: dict[int, str]) -> None:
    """The cells after a prediction, up to the next one, print it."""
    ends = [*list(guesses)[1:], len(cells)]
    for (index, guess), end in zip(guesses.items(), ends, strict=True):
        said = "\n".join(texts(cell) for cell in cells[index:end])
        assert guess in re.sub(r"base64,[^\"]*", "", said), cells[index]["source"]


def move(book: Notebook, index: int) -> None:
    """Each slider of a cell, by mouse and by keyboard, changes the picture below it."""
    cell = book.cell(index)
    cell.locator(".noUi-handle").first.wait_for()
    for i in range(cell.locator(".widget-slider").count()):
        slider = cell.locator(".widget-slider").nth(i)
        base = slider.locator(".noUi-base").bounding_box()
        handle = slider.locator(".noUi-handle")
        box = handle.bounding_box()
        here = box["x"] + box["width"] / 2
        share = 0.2 if here > base["x"] + base["width"] / 2 else 0.8
        middle = base["y"] + base["height"] / 2
        with changes(cell):
            book.page.mouse.move(here, middle)
            book.page.mouse.down()
            book.page.mouse.move(base["x"] + share * base["width"], middle, steps=4)
            book.page.mouse.up()
        with changes(cell):
            handle.focus()
            book.page.keyboard.press("ArrowRight" if share < 0.5 else "ArrowLeft")


@contextmanager
def changes(cell) -> Iterator[None]:
    """Wait until the picture of a cell is another one than when the block began."""
    picture = cell.locator(".widget-html img").first
    picture.wait_for()
    before = picture.get_attribute("src")
    yield
    cell.page.wait_for_function(
        "([cell, before]) => cell.querySelector('.widget-html img')?.src !== before",
        arg=[cell.element_handle(), before],
    )


def look(book: Notebook, name: str, sliders: list[int]) -> None:
    """In both themes: figures follow, and a screenshot is kept."""
    pictures = [i for i, cell in enumerate(book.cells()) if "prunelab-light" in texts(cell)]
    cell = book.cell((sliders or pictures)[0])
    for theme, filtered in (("Light", False), ("Dark", True)):
        book.theme(theme)
        picture = cell.locator("img.prunelab-light").first
        picture.wait_for()
        filter_ = picture.evaluate("image => getComputedStyle(image).filter")
        assert ("invert" in filter_) == filtered
        shoot(book, f"{name}-{theme.lower()}")


@pytest.mark.parametrize("name", NAMES)
def test_an_exercise_is_answered_wrong_and_right(opened, name):
    chapter = name[:2]
    book = opened(f"exercises/{chapter}_exercises.ipynb")
    book.menu("Edit", "Clear Outputs of All Cells")  # and with them the counts of another run
    by_id = {cell["id"]: i for i, cell in enumerate(book.cells())}
    key = {cell["id"]: cell["source"] for cell in practice(chapter, key=True)["cells"]}
    book.write(by_id["imports"], key["imports"], run=True)
    answer = by_id[f"answer-{chapter}-1"]
    for source, said in (
        (f'check("{chapter}.1", 123456, guess=1)', f"{chapter}.1: not yet."),
        (key[f"answer-{chapter}-1"], f"{chapter}.1: right!"),
    ):
        book.write(answer, source, run=True)
        assert said in texts(book.cells()[answer])
        shoot(book, f"{chapter}_exercises-{'right' if 'right' in said else 'wrong'}")
