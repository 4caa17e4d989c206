"""What a notebook must be as a file; that it runs is nbval's to say."""

import importlib
import pkgutil
import re
from pathlib import Path

import nbformat
import pytest

import prunelab
from prunelab.teaching import equations, show

ROOT = Path(__file__).parents[1]
ROOMS = [  # the ground floor: what the notebooks teach
    importlib.import_module(f"prunelab.{info.name}")
    for info in pkgutil.iter_modules(prunelab.__path__)
    if not info.ispkg and info.name != "__main__"
]
FOLDER = ROOT / "notebooks"
CHAPTERS = sorted(FOLDER.glob("[0-9]*.ipynb"))
ALL = [*CHAPTERS, *sorted(FOLDER.glob("exercises/*.ipynb"))]
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")
ABSOLUTE_PATH = re.compile(r"/(?:home|root|Users|tmp|work|mnt)/")


def name(path: Path) -> str:
    return path.stem


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]


def outputs(notebook):
    return [output for cell in code_cells(notebook) for output in cell.outputs]


def section(notebook, title: str) -> str:
    return next(cell.source for cell in notebook.cells if cell.source.startswith(f"## {title}"))


@pytest.fixture(params=ALL, ids=name)
def path(request):
    return request.param


@pytest.fixture
def notebook(path):
    return nbformat.read(path, as_version=4)


@pytest.fixture(params=CHAPTERS, ids=name)
def chapter(request):
    return nbformat.read(request.param, as_version=4)


def test_is_valid(notebook):
    nbformat.validate(notebook)


def test_comes_from_one_clean_run(notebook):
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert outputs(notebook)


def test_has_no_error_output_but_where_announced(notebook):
    for cell in code_cells(notebook):
        if "raises-exception" not in cell.metadata.get("tags", []):
            assert not [o for o in cell.outputs if o.output_type == "error"], cell.source


def test_prints_nothing_to_stderr(notebook):
    assert not [o.text for o in outputs(notebook) if o.get("name") == "stderr"]


def test_holds_no_absolute_path(path):
    assert not ABSOLUTE_PATH.search(path.read_text(encoding="utf-8"))


def test_is_small(path):
    assert path.stat().st_size <= 400_000


def test_installs_and_downloads_nothing(notebook):
    code = "\n".join(cell.source for cell in code_cells(notebook))
    assert not re.search(r"!\s*pip|%pip|download=True|\.cuda\(\)", code)


def test_every_picture_has_alternative_text(notebook):
    for output in outputs(notebook):
        data = output.get("data", {})
        assert "image/png" not in data  # JupyterLab gives it no alternative text
        for picture in re.findall(r"<img[^>]*>", data.get("text/html", "")):
            assert re.search(r'alt="[^"]', picture)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            assert not re.search(r"!\[\]\(", cell.source)


def test_links_lead_to_files(path, notebook):
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    texts += [output.get("data", {}).get("text/markdown", "") for output in outputs(notebook)]
    prose = re.sub(r"```.*?```", "", "\n".join(texts), flags=re.DOTALL)
    for target in LINK.findall(prose):
        if not target.startswith("http"):
            assert (path.parent / target).exists(), target


def test_equation_numbers_are_in_docstrings(notebook):
    numbered = {
        number
        for room in ROOMS
        for value in vars(room).values()
        if callable(value) and getattr(value, "__module__", "") == room.__name__
        for number in equations(value)
    }
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert set(re.findall(r"\((\d+\.\d+)\)", text)) <= numbered


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


def test_package_code_is_shown_not_pasted(notebook):
    for cell in code_cells(notebook):
        for function in re.findall(r"^def (\w+)", cell.source, re.MULTILINE):
            assert not any(hasattr(room, function) for room in ROOMS)


@pytest.mark.parametrize("i", range(len(CHAPTERS)), ids=map(name, CHAPTERS))
def test_header_is_complete(i):
    header = nbformat.read(CHAPTERS[i], as_version=4).cells[0].source
    assert header.startswith(f"# {CHAPTERS[i].stem[:2]} · ")
    for part in ("**Question.**", "**You will be able to**", "**Prerequisites:**"):
        assert part in header
    if i > 0:
        assert f"**Previous:** [{title(CHAPTERS[i - 1])}]({CHAPTERS[i - 1].name})" in header
    if i + 1 < len(CHAPTERS):
        assert f"**Next:** [{title(CHAPTERS[i + 1])}]({CHAPTERS[i + 1].name})" in header


def title(path: Path) -> str:
    return nbformat.read(path, as_version=4).cells[0].source.splitlines()[0].removeprefix("# ")


def test_run_time_is_measured_and_short(chapter):
    seconds = int(re.search(r"\*\*Run time:\*\* about (\d+) s", chapter.cells[0].source).group(1))
    assert 0 < seconds <= 60


def test_ends_with_exercises_summary_and_references(chapter):
    exercises = section(chapter, "Exercises")
    assert "exercises/" in exercises
    assert section(chapter, "Summary")
    assert section(chapter, "References")


def test_reads_calmly(chapter):
    words = sum(len(c.source.split()) for c in chapter.cells if c.cell_type == "markdown")
    lines = sum(len(c.source.splitlines()) for c in code_cells(chapter))
    assert 4 <= words / lines <= 25
    assert max(len(c.source.splitlines()) for c in code_cells(chapter)) <= 16
