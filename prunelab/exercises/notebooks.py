"""The practice notebooks, made from the exercises: for students, or as a key with solutions."""

import ast
import importlib
import inspect
import sys
from pathlib import Path
from types import ModuleType

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from prunelab.data import ROOT
from prunelab.exercises.exercise import EXERCISES, PREDICT, Exercise, in_order

CHAPTERS = ROOT / "notebooks"
HOW = """\
Run the first code cell: it imports what you need. Then write your answer in the place of each \
`...` and run that cell: you are told at once what is right and what is not. Below it are three \
hints and a solution, each behind a fold."""
METADATA = {
    "kernelspec": {
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
        "name": "python3",
    },
    "language_info": {
        "codemirror_mode": {"name": "ipython", "version": 3},
        "file_extension": ".py",
        "mimetype": "text/x-python",
        "name": "python",
        "nbconvert_exporter": "python",
        "pygments_lexer": "ipython3",
    },
}


def practice(chapter: str, key: bool = False) -> NotebookNode:
    """The practice notebook of a chapter, not executed.

    Args:
        chapter: its number, such as "03".
        key: with the solutions in the place of what the student is given.
    """
    numbers = [number for number in in_order(EXERCISES) if chapter_of(number) == chapter]
    if not numbers:
        known = ", ".join(sorted({chapter_of(number) for number in EXERCISES}))
        raise ValueError(f"chapter={chapter!r} has no exercises; there are {known}")
    several = [EXERCISES[number] for number in numbers]
    cells = [
        new_markdown_cell(_header(chapter, several), id="header"),
        new_code_cell(_imports(several), id="imports"),
    ]
    for one in several:
        name = one.number.replace(".", "-")
        cells += [
            new_markdown_cell(_task(one), id=f"task-{name}"),
            new_code_cell(_answer(one, key), id=f"answer-{name}"),
            new_code_cell(f'hint("{one.number}")', id=f"hints-{name}"),
        ]
    return new_notebook(cells=cells, metadata=METADATA)


def write(folder: Path, key: bool = False) -> list[Path]:
    """Write the practice notebooks of all chapters, and return their paths.

    One whose cells are as they should be is left alone, and where the code is, its outputs stay.

    Args:
        folder: where to write.
        key: as in `practice`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for chapter in sorted({chapter_of(number) for number in EXERCISES}):
        paths.append(folder / f"{chapter}_exercises.ipynb")
        made = practice(chapter, key)
        before = nbformat.read(paths[-1], 4) if paths[-1].exists() else None
        if before is None or cells_of(before) != cells_of(made):
            nbformat.write(made if before is None else _with_outputs(made, before), paths[-1])
    return paths


def _with_outputs(made: NotebookNode, before: NotebookNode) -> NotebookNode:
    """The notebook with the outputs of the one before, if they have the same code."""
    new, old = ([c for c in each.cells if c.cell_type == "code"] for each in (made, before))
    if [cell.source for cell in new] == [cell.source for cell in old]:
        for cell, ran in zip(new, old, strict=True):
            cell.execution_count, cell.outputs = ran.execution_count, ran.outputs
    return made


def chapter_of(number: str) -> str:
    return number.split(".")[0]


def cells_of(notebook: NotebookNode) -> list[tuple[str, str]]:
    return [(cell.get("id", ""), cell.source) for cell in notebook.cells]


def dots(level: int) -> str:
    return "●" * level + "○" * (4 - level)


def _header(chapter: str, several: list[Exercise]) -> str:
    (path,) = CHAPTERS.glob(f"{chapter}_*.ipynb")
    title = nbformat.read(path, as_version=4).cells[0].source.splitlines()[0].removeprefix("# ")
    rows = [
        f"| {one.number} | {one.title} | {one.kind} | {dots(one.level)} | {one.minutes} |"
        for one in several
    ]
    table = "\n".join(["| | exercise | kind | level | minutes |", "|---|---|---|---|---|", *rows])
    return f"# Exercises for {title}\n\n{HOW} Back to [{title}](../{path.name}).\n\n{table}"


def _task(one: Exercise) -> str:
    about = f"{dots(one.level)} · about {one.minutes} minutes · {one.kind}"
    return f"## {one.number} · {one.title}\n\n{about}\n\n{one.task}"


def _answer(one: Exercise, key: bool) -> str:
    name = one.solution.__name__
    answer = "answer" if one.wants_value else name
    code = one.start
    if key:
        code = one.worked_out + (f"\n\n\nanswer = {name}()" if one.wants_value else "")
        code = ("guess = 0\n\n\n" if one.kind == PREDICT else "") + code
    guess = ", guess" if one.kind == PREDICT else ""
    gap = "\n\n" if one.wants_value else "\n\n\n"
    return f'{code}{gap}check("{one.number}", {answer}{guess})'


def _imports(several: list[Exercise]) -> str:
    """Those that the solutions and what is given need, and ours."""
    module = importlib.import_module(several[0].solution.__module__)
    code = [part for one in several for part in (one.worked_out, one.start)]
    used = {
        node.id for part in code for node in ast.walk(ast.parse(part)) if isinstance(node, ast.Name)
    }
    lines = [*_imported(module, used), "from prunelab.exercises import check, hint"]
    lines.sort(key=lambda line: (line.startswith("from"), line))
    roots = [line.split()[1].split(".")[0] for line in lines]
    ranks = [1 + (root == "prunelab") - (root in sys.stdlib_module_names) for root in roots]
    sections = [
        "\n".join(line for line, its in zip(lines, ranks, strict=True) if its == rank)
        for rank in range(3)
    ]
    return "\n\n".join(section for section in sections if section)


def _imported(module: ModuleType, used: set[str]) -> list[str]:
    """Import statements of a module for the names that are used."""
    lines = []
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [
                name for name in node.names if (name.asname or name.name).split(".")[0] in used
            ]
            if names:
                node.names = names
                lines.append(ast.unparse(node))
    return lines
