"""What is handed in, brought into the form of the release.

Cells of a release are of three kinds. Texts, checks and other locked cells are taken from the
release. Of cells to write in, what the student wrote is taken, and nothing else. Cells that the
student added stay where they stand. So it changes nothing to edit, delete, move, copy or tag a
check.
"""

import json
import shutil
from collections import defaultdict
from copy import deepcopy
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell

LARGEST = 20_000_000
"""Bytes of a notebook that is read."""


class CannotBeRead(ValueError):
    """Says what is wrong with what was handed in."""


def collect(handed_in: Path, release: Path, place: Path) -> None:
    """Copy a submission to where nbgrader expects it, in the form of the release.

    Args:
        handed_in: folder with the student's notebook.
        release: folder of the release.
        place: folder that is made; files that a notebook has written, `*.json`, come along.

    Raises:
        CannotBeRead: no notebook, or one that is damaged.
    """
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    for blank in release.glob("*.ipynb"):
        notebook = fitted(read(handed_in / blank.name), nbformat.read(blank, as_version=4))
        nbformat.write(notebook, place / blank.name)
    for path in handed_in.glob("*.json"):
        if path.is_file() and not path.is_symlink() and path.stat().st_size < 1_000_000:
            shutil.copyfile(path, place / path.name)


def read(path: Path) -> NotebookNode:
    """A notebook from a file that nobody has checked."""
    if path.is_symlink() or not path.is_file():
        raise CannotBeRead(f"there is no file {path.parent.name}/{path.name}")
    if path.stat().st_size > LARGEST:
        raise CannotBeRead(f"{path.name} has {path.stat().st_size:,} bytes: too large")
    try:
        notebook = nbformat.from_dict(json.loads(path.read_text(encoding="utf-8")))
        notebook = nbformat.convert(notebook, 4)
        for cell in notebook.cells:
            cell.source = "".join(cell.source)
            cell.metadata.get("nbgrader", {}).get("grade_id")
    except Exception as error:
        raise CannotBeRead(f"{path.name} is no notebook that can be read: {error!r:.200}") from None
    return notebook


def fitted(submitted: NotebookNode, release: NotebookNode) -> NotebookNode:
    """The release with what the student wrote."""
    known = {name(cell) for cell in release.cells}
    texts = {cell.source for cell in release.cells if cell.cell_type == "markdown"}
    answers: dict[str, str] = {}
    added = defaultdict(list)
    last = ""  # before the first cell
    for cell in submitted.cells:
        if name(cell) in known:
            last = name(cell)
            answers[last] = cell.source
        elif cell.cell_type == "code":
            added[last].append(new_code_cell(cell.source))
        elif cell.source not in texts:
            added[last].append(new_markdown_cell(cell.source))
    result = deepcopy(release)
    result.cells = added[""]
    for cell in release.cells:
        place = name(cell)
        if cell.metadata.get("nbgrader", {}).get("solution"):
            if place in answers:
                cell.source = answers[place]
            elif cell.cell_type == "code":
                cell.source = "# This cell was missing."
        result.cells += [cell, *added[place]]
    return result


def name(cell: NotebookNode) -> str:
    """A cell's name in the course, or its id."""
    return cell.metadata.get("nbgrader", {}).get("grade_id") or cell.get("id", "")
