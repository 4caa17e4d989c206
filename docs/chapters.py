"""The executed notebooks as pages: nothing is run again, every output is the one in the file."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell

from docs.markdown import ROOT, TAGGED, page

FOLDER = ROOT / "notebooks"
WIDGET = "application/vnd.jupyter.widget-view+json"
STILL = "*In JupyterLab a slider moves this figure; here it stands still.*"
CHECKED = re.compile(r"^# NBVAL_CHECK_OUTPUT\n")
HEAD = re.compile(r"^\*\*`(\w+)`\*\* in \[([^]]+)\]\([./]*(prunelab/[\w/]+)\.py\)")
WRAPPER = re.compile(r"</?div[^>]*>")


def chapters() -> list[Path]:
    return sorted(FOLDER.glob("[0-9]*.ipynb"))


def read(path: Path) -> NotebookNode:
    return nbformat.read(path, as_version=4)


def title(path: Path) -> str:
    return read(path).cells[0].source.splitlines()[0].removeprefix("# ")


def name_of(path: Path) -> str:
    """A file, seen from the project's folder."""
    return path.relative_to(ROOT).as_posix()


def chapter(path: Path, homes: Mapping[str, str]) -> NotebookNode:
    """A notebook as a page.

    Args:
        path: of the notebook.
        homes: the page on which each numbered equation stands, by its number.
    """
    notebook = read(path)
    cells = []
    for cell in notebook.cells:
        cells.append(cell)
        if cell.cell_type == "code":
            cell.source = CHECKED.sub("", cell.source)
            cells += [new_markdown_cell(text) for text in _told(cell)]
    for cell in cells:
        if cell.cell_type == "markdown":
            cell.source = page(cell.source, name_of(path), homes)
    notebook.cells = cells
    return notebook


def shown(cell: NotebookNode) -> Iterator[str]:
    """What `show(...)` says below a cell, in Markdown."""
    for output in cell.get("outputs", []):
        if "text/markdown" in output.get("data", {}):
            said = HEAD.sub(_with_reference, output.data["text/markdown"])
            yield WRAPPER.sub("", said)


def numbers_shown(path: Path) -> list[str]:
    """The numbers of the equations that stand in a notebook."""
    texts = [text for cell in read(path).cells for text in (cell.source, *shown(cell))]
    return [found[2] for text in texts for found in TAGGED.finditer(text)]


def _with_reference(found: re.Match[str]) -> str:
    name, file, path = found.groups()
    return f"**`{name}`** in [{file}](#{path.replace('/', '.')}.{name})"


def _told(cell: NotebookNode) -> list[str]:
    """Outputs that the page says in Markdown; they are taken out of the cell."""
    told = list(shown(cell))
    cell.outputs = [o for o in cell.outputs if "text/markdown" not in o.get("data", {})]
    for output in cell.outputs:
        if output.get("data", {}).pop(WIDGET, None):
            told.append(STILL)
    return told
