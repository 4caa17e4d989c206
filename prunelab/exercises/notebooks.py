"""The practice notebooks, made from the exercises: for students, or as a key with solutions."""

import ast
import importlib
import inspect
from pathlib import Path
from types import ModuleType

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from prunelab.data import ROOT
from prunelab.exercises.exercise import EXERCISES, PREDICT, Exercise

CHAPTERS = ROOT / "notebooks"
HOW = """\
Write your answer in the place of each `...` and run the cell: you are told at once what is right \
and what is not. Below it are three hints and a solution, each behind a fold."""
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
    several = [EXERCISES[number] for number in sorted(EXERCISES) if number.startswith(chapter)]
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

    Args:
        folder: where to write.
        key: as in `practice`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for chapter in sorted({number.split(".")[0] for number in EXERCISES}):
        paths.append(folder / f"{chapter}_exercises.ipynb")
        nbformat.write(practice(chapter, key), paths[-1])
    return paths


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
    others = sorted(line for line in lines if "prunelab" not in line)
    own = sorted(line for line in lines if "prunelab" in line)
    return "\n".join([*others, *([""] if others else []), *own])


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
