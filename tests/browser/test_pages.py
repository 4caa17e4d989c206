"""Every page that is made can be read by eye, by ear and by keyboard, without a network.

`make test-browser` looks at all pages of the site, else a few are looked at.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from copy import deepcopy
from importlib.util import find_spec

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_output

from course.build import HERE, assignments
from course.pages import formulas_missing, page
from docs import carried
from docs.slides import weeks
from prunelab.data import ROOT
from tests.chromium import PATIENCE, launched

FEW = (
    "index", "search", "equations", "README.ko", "api/pruning", "_modules/prunelab/pruning",
    "notebooks/07_sparsity_checks", "notebooks/exercises/07_exercises",
)  # fmt: skip
LOOKS = (("light", 1280), ("dark", 390)), (("dark", 1280), ("light", 390))
"""A page has the first two, the next page the others: what they share is seen in all four."""
SERIOUS = ("serious", "critical")
TALL = """async () => {
  await MathJax.startup.promise;
  Reveal.configure({ transition: 'none' });
  const tall = [];
  for (const slide of Reveal.getSlides()) {
    const { h, v } = Reveal.getIndices(slide);
    Reveal.slide(h, v);
    await new Promise(requestAnimationFrame);
    const [over, beyond] = [slide.scrollHeight - slide.clientHeight,
      slide.scrollWidth - slide.clientWidth];
    if (over > 0 || beyond > 0) tall.push(
      `${h}/${v} ${slide.querySelector('h1, h2').textContent}: ${over} px down, ${beyond} right`);
  }
  return tall;
}"""


@pytest.fixture(scope="module")
def browser():
    if find_spec("axe_playwright_python") is None:
        pytest.skip("axe is not installed: pip install --editable '.[browser]'")
    with launched() as browser:
        yield browser


@pytest.fixture
def tab(browser) -> Iterator:
    """A tab without a network that keeps what it requests, but for what its page forbids."""
    context = browser.new_context(offline=True, viewport={"width": 1280, "height": 900})
    context.set_default_timeout(1000 * PATIENCE)
    tab = context.new_page()
    tab.requests = []
    tab.on("requestfinished", lambda request: tab.requests.append(request.url))
    tab.on("requestfailed", lambda request: tab.requests.append(f"{request.failure} {request.url}"))
    yield tab
    context.close()


def show(tab, address: str, theme: str, width: int) -> None:
    """Open a page, and all its folds, and wait for its formulas."""
    tab.emulate_media(color_scheme=theme)
    tab.set_viewport_size({"width": width, "height": 900})
    tab.goto(address)
    tab.evaluate("window.MathJax?.startup?.promise.then(() => null)")
    tab.locator("details").evaluate_all("folds => folds.forEach(fold => fold.open = true)")
    tab.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done)))")


def barriers(tab) -> list[str]:
    """What axe finds to be serious or critical."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(tab).response["violations"]
    return [
        f"{one['id']}: {node['html'][:200]}: {' '.join(node['failureSummary'].split())}"
        for one in found
        if one["impact"] in SERIOUS
        for node in one["nodes"]
    ]


def make(*command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.long
def test_no_page_of_the_site_has_a_barrier(tab, subtests):
    if absent := carried.missing("sphinx", "furo", "myst_nb", carried.MATHJAX[0]):
        pytest.skip(absent)
    make("prunelab.explorer", "--to", str(carried.BUILD / "explorer"))
    make("docs.site")
    site = carried.BUILD / "site"
    pages = sorted(site.rglob("*.html"))
    if "ALL_NOTEBOOKS" not in os.environ:
        pages = [site / f"{name}.html" for name in (*FEW, "explorer", "explorer/index")]
    assert len(pages) >= len(FEW)
    for number, path in enumerate(pages):
        for theme, width in LOOKS[number % 2]:
            with subtests.test(str(path.relative_to(site)), theme=theme, width=width):
                show(tab, path.as_uri(), theme, width)
                assert barriers(tab) == []


@pytest.mark.long
def test_no_slide_has_a_barrier_or_is_too_tall(tab, subtests):
    if absent := carried.missing("sphinx_revealjs", carried.MATHJAX[0]):
        pytest.skip(absent)
    make("docs.slides")
    decks = sorted((carried.BUILD / "slides").glob("week*.html"))
    assert len(decks) == len(weeks())
    for number, path in enumerate(decks):
        with subtests.test(f"{path.name} fits"):
            show(tab, path.as_uri(), "light", 960)
            assert tab.evaluate(TALL) == []
        for theme, width in LOOKS[number % 2]:
            with subtests.test(path.name, theme=theme, width=width):
                show(tab, f"{path.as_uri()}?view=scroll", theme, width)  # all slides at once
                assert barriers(tab) == []


COLORED = "".join(f"\x1b[{code}mcolor {code}\x1b[0m\n" for code in (1, *range(31, 37), 43, "1;31"))
FAR = "https://far.org/a.png"
EVIL = (
    f"<script>document.title = 'mine'</script><img alt='' src='{FAR}'"
    " onerror=\"document.title = 'mine'\"><p onclick='1'>shown</p>"
)


def graded(assignment: str):
    """A page of feedback: a point lost, an answer that waits, a comment, and hostile output."""
    notebook = deepcopy(nbformat.read(HERE / "source" / assignment / f"{assignment}.ipynb", 4))
    for cell in notebook.cells:
        about = cell.metadata.get("nbgrader", {})
        if about.get("grade"):
            by_hand = cell.cell_type == "markdown"
            about |= {"score": 0, "waits": by_hand, "comment": "A *good* start." * by_hand}
            if not by_hand:
                cell.outputs = [
                    new_output("error", ename="AssertionError", evalue="no", traceback=[COLORED])
                ]
    notebook.cells.append(
        new_code_cell("x", outputs=[new_output("display_data", {"text/html": EVIL})])
    )
    return page(notebook, assignment, nbgrader={"score": 0, "max_score": 20})


@pytest.mark.parametrize("assignment", assignments())
def test_a_page_of_the_course_loads_nothing_and_has_its_formulas(tab, tmp_path, assignment):
    source = nbformat.read(HERE / "source" / assignment / f"{assignment}.ipynb", 4)
    path = tmp_path / "page.html"
    for text, stopped in ((page(source, assignment), set()), (graded(assignment), {FAR})):
        path.write_text(text, "utf-8")
        tab.requests.clear()
        show(tab, path.as_uri(), "light", 1280)
        assert set(tab.requests) == {path.as_uri(), *(f"csp {address}" for address in stopped)}
        assert tab.title().startswith(assignment)
        if not formulas_missing():
            some = any("$" in cell.source for cell in source.cells if cell.cell_type == "markdown")
            assert (tab.locator("mjx-container").count() > 0) == some
            assert "$" not in "".join(tab.locator(".text_cell_render").all_inner_texts())


def test_pages_of_the_course_have_no_barrier(tab, tmp_path, subtests):
    path = tmp_path / "page.html"
    path.write_text(graded(assignments()[0]), "utf-8")
    for theme, width in LOOKS[0]:
        with subtests.test(theme=theme, width=width):
            show(tab, path.as_uri(), theme, width)
            assert barriers(tab) == []


PAGE = "<html lang='en'><title>A page</title><meta name='viewport' content='width=device-width'>"
LOW = (
    "<style>@media (prefers-color-scheme: {}) {{ p {{ background: white; color: #aaa }} }}</style>"
)
WIDE = "<style>pre { overflow: auto }</style><pre>" + "wide " * 40


@pytest.mark.parametrize(
    ("body", "theme", "width", "found"),
    [
        ("<main><h1>A</h1><p>fine", "light", 1280, None),
        ("<main><img src='data:,'>", "light", 1280, "image-alt"),
        ("<main><details><img src='data:,'></details>", "light", 1280, "image-alt"),
        ("<main><input>", "light", 1280, "label"),
        (LOW.format("dark") + "<main><p>pale", "light", 1280, None),
        (LOW.format("dark") + "<main><p>pale", "dark", 1280, "color-contrast"),
        (WIDE, "light", 3000, None),
        (WIDE, "light", 390, "scrollable-region-focusable"),
    ],
)
def test_a_planted_barrier_is_found(tab, tmp_path, body, theme, width, found):
    (tmp_path / "page.html").write_text(PAGE + body)
    show(tab, (tmp_path / "page.html").as_uri(), theme, width)
    assert [words.split(":")[0] for words in barriers(tab)] == ([found] if found else [])
