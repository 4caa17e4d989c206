"""The practice exercises as pages: tasks as students get them, hints and solutions behind folds."""

from collections.abc import Mapping

from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell

from docs.markdown import page
from prunelab.exercises import EXERCISES, hint
from prunelab.exercises.notebooks import chapter_of, practice

NOT_HERE = "This page cannot check an answer: open `{}` in JupyterLab for that."


def with_exercises() -> list[str]:
    """The numbers of the chapters that have exercises."""
    return sorted({chapter_of(number) for number in EXERCISES})


def name_of(number: str) -> str:
    return f"notebooks/exercises/{number}_exercises.ipynb"


def practice_page(number: str, homes: Mapping[str, str]) -> NotebookNode:
    """The exercises of a chapter, with the folds open to be read.

    Args:
        number: of the chapter, such as "03".
        homes: the page on which each numbered equation stands, by its number.
    """
    notebook = practice(number)
    folds = {f'hint("{one}")': hint(one).data for one in EXERCISES if chapter_of(one) == number}
    notebook.cells = [
        new_markdown_cell(folds[cell.source]) if cell.source in folds else cell
        for cell in notebook.cells
    ]
    notebook.cells.insert(1, new_markdown_cell(NOT_HERE.format(name_of(number))))
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = page(cell.source, name_of(number), homes)
    return notebook
