"""What a notebook must be as a file; that it runs is nbval's to say."""

import ast
import importlib
import pkgutil
import re
from functools import cache
from pathlib import Path

import nbformat
import pytest

import prunelab.shipping
from prunelab.teaching import equations, show

ROOT = Path(__file__).parents[1]
ROOMS = [  # what the notebooks teach: the ground floor, the room of shipping, and moving masks
    importlib.import_module(f"{package.__name__}.{info.name}")
    for package in (prunelab, prunelab.shipping)
    for info in pkgutil.iter_modules(package.__path__)
    if not info.ispkg and info.name != "__main__"
]
ROOMS.append(importlib.import_module("prunelab.engines.moving_masks"))
FOLDER = ROOT / "notebooks"
CHAPTERS = sorted(FOLDER.glob("[0-9]*.ipynb"))
ALL = [*CHAPTERS, *sorted(FOLDER.glob("exercises/*.ipynb"))]
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")
ABSOLUTE_PATH = re.compile(r"/(?:home|root|Users|tmp|work|mnt)/")


def name(path: Path) -> str:
    return path.stem


@cache
def read(path: Path):
    return nbformat.read(path, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]


def outputs(notebook):
    return [output for cell in code_cells(notebook) for output in cell.outputs]


def markdown(notebook) -> str:
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


@pytest.fixture(params=ALL, ids=name)
def path(request):
    return request.param


@pytest.fixture
def notebook(path):
    return read(path)


@pytest.fixture(params=CHAPTERS, ids=name)
def chapter(request):
    return read(request.param)


def test_is_a_small_valid_file_without_absolute_paths(path, notebook):
    nbformat.validate(notebook)
    assert path.stat().st_size <= 400_000
    assert not ABSOLUTE_PATH.search(path.read_text(encoding="utf-8"))


def test_comes_from_one_clean_run(notebook):
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert outputs(notebook)
    assert not [o.text for o in outputs(notebook) if o.get("name") == "stderr"]
    for cell in cells:
        if "raises-exception" not in cell.metadata.get("tags", []):
            assert not [o for o in cell.outputs if o.output_type == "error"], cell.source


def test_every_picture_has_alternative_text(notebook):
    for output in outputs(notebook):
        data = output.get("data", {})
        assert "image/png" not in data  # JupyterLab gives it no alternative text
        for picture in re.findall(r"<img[^>]*>", data.get("text/html", "")):
            assert re.search(r'alt="[^"]', picture)
    assert "![](" not in markdown(notebook)


def test_links_lead_to_files(path, notebook):
    shown = [output.get("data", {}).get("text/markdown", "") for output in outputs(notebook)]
    prose = "\n".join([markdown(notebook), *shown])
    for target in LINK.findall(re.sub(r"```.*?```", "", prose, flags=re.DOTALL)):
        assert target.startswith("http") or (path.parent / target).exists(), target


def test_equation_numbers_are_in_docstrings(notebook):
    numbered = {
        number
        for room in ROOMS
        for value in vars(room).values()
        if callable(value) and getattr(value, "__module__", "") == room.__name__
        for number in equations(value)
    }
    assert set(re.findall(r"\((\d+\.\d+)\)", markdown(notebook))) <= numbered


def test_package_code_is_shown_not_pasted_and_nothing_is_installed(notebook):
    code = "\n".join(cell.source for cell in code_cells(notebook))
    assert not re.search(r"!\s*pip|%pip|download=True|\.cuda\(\)", code)
    for function in re.findall(r"^def (\w+)", code, re.MULTILINE):
        assert not any(hasattr(room, function) for room in ROOMS)


def test_a_slider_has_a_picture_before_it_runs(notebook):
    for output in outputs(notebook):
        if "application/vnd.jupyter.widget-view+json" in output.get("data", {}):
            assert "<img" in output.data["text/html"]
    assert "widgets" not in notebook.metadata


def test_shown_code_is_the_code_of_today(path, notebook, monkeypatch):
    monkeypatch.chdir(path.parent)
    for cell in code_cells(notebook):
        shown = re.search(r"^show\((\w+)\)$", cell.source, re.MULTILINE)
        if shown:
            function = next(getattr(r, shown[1]) for r in ROOMS if hasattr(r, shown[1]))
            assert cell.outputs[-1].data["text/markdown"] == show(function).data, shown[0]


@pytest.mark.parametrize("i", range(len(CHAPTERS)), ids=map(name, CHAPTERS))
def test_header_is_complete(i):
    header = read(CHAPTERS[i]).cells[0].source
    assert header.startswith(f"# {CHAPTERS[i].stem[:2]} · ")
    for part in ("**Question.**", "**You will be able to**", "**Prerequisites:**"):
        assert part in header
    seconds = re.search(r"\*\*Run time:\*\* about (\d+) s", header)
    assert 0 < int(seconds[1]) <= 60
    if i > 0:
        assert f"**Previous:** [{title(CHAPTERS[i - 1])}]({CHAPTERS[i - 1].name})" in header
    if i + 1 < len(CHAPTERS):
        assert f"**Next:** [{title(CHAPTERS[i + 1])}]({CHAPTERS[i + 1].name})" in header


def title(path: Path) -> str:
    return read(path).cells[0].source.splitlines()[0].removeprefix("# ")


def test_ends_with_exercises_summary_and_references(chapter):
    text = markdown(chapter)
    assert re.search(r"^## Exercises[^#]*exercises/", text, re.MULTILINE)
    for section in ("Summary", "References"):
        assert f"\n## {section}" in text


def test_reads_calmly(chapter):
    lines = [len(cell.source.splitlines()) for cell in code_cells(chapter)]
    assert 4 <= len(markdown(chapter).split()) / sum(lines) <= 25
    assert max(lines) <= 16


def test_what_a_slider_draws_with_is_not_changed_below(notebook):
    """A slider that is moved after Run All draws with the names as the last cell leaves them."""
    trees = [ast.parse(cell.source) for cell in code_cells(notebook)]
    functions: dict[str, ast.FunctionDef] = {}
    used: set[str] = set()
    for tree in trees:
        for node in tree.body:
            if not isinstance(node, ast.FunctionDef):
                changed = names_of(node, ast.Store) & used
                assert not changed, f"{sorted(changed)} is what a slider draws with"
        functions |= {n.name: n for n in tree.body if isinstance(n, ast.FunctionDef)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "slider":
                drawn = node.args[0]
                drawn = functions[drawn.id] if isinstance(drawn, ast.Name) else drawn
                used |= global_names(drawn, functions)


def global_names(function: ast.AST, functions: dict[str, ast.FunctionDef]) -> set[str]:
    """Names that a function takes from its notebook, and those of the functions that it calls."""
    own = {node.arg for node in ast.walk(function) if isinstance(node, ast.arg)}
    found = names_of(function, ast.Load) - own - names_of(function, ast.Store)
    others = {n: functions[n] for n in found & functions.keys() if functions[n] is not function}
    return found.union(*(global_names(other, functions) for other in others.values()))


def names_of(tree: ast.AST, context: type) -> set[str]:
    names = (node for node in ast.walk(tree) if isinstance(node, ast.Name))
    return {name.id for name in names if isinstance(name.ctx, context)}
