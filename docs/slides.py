"""Build a deck of slides for each week of the course, from its notebooks: `make slides`."""

import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell, new_notebook

from docs import links
from docs.carried import BUILD, copy_formulas, copy_reveal, missing
from docs.chapters import chapters, read, title
from docs.markdown import ROOT
from docs.selection import Slide, select

DECKS = BUILD / "slides"
PLAN = re.compile(r"^## Four weeks$.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
WEEK = re.compile(r"^\| (\d+) ([^|]+?) \| ([^|]+?) \|", re.MULTILINE)
LINK = re.compile(r"\[([^]]*)\]\((?!\w+:)[^)\s]*\)")


def main() -> int:
    if absent := missing("sphinx_revealjs", "sphinx-mathjax-offline"):
        print(absent)
        return 1
    shutil.rmtree(DECKS, ignore_errors=True)
    copy_formulas(DECKS / "mathjax")
    copy_reveal(DECKS / "reveal")
    for number, (subject, paths) in weeks().items():
        notebook = deck(f"Week {number} · {subject}", paths)
        path = DECKS / f"week{number}.html"
        path.write_text(exported(notebook), "utf-8")
        count = sum(cell.metadata.slideshow.slide_type != "notes" for cell in notebook.cells)
        print(f"{path}: {count} slides")
    return links.main(DECKS)


def weeks() -> dict[str, tuple[str, list[Path]]]:
    """The weeks of the teacher's plan: by number, the subject and the notebooks to read."""
    plan = PLAN.search((ROOT / "course" / "README.md").read_text("utf-8"))
    if plan is None:
        raise ValueError("course/README.md has no section 'Four weeks'")
    by_number = {path.name[:2]: path for path in chapters()}
    return {
        number: (subject, [by_number[n] for n in re.findall(r"\b(\d\d) \(", to_read)])
        for number, subject, to_read in WEEK.findall(plan[0])
    }


def deck(heading: str, paths: Sequence[Path]) -> NotebookNode:
    """A notebook of slides: one for the week, then those of its notebooks."""
    names = "\n".join(f"* {title(path)}" for path in paths)
    cells = [_cell("slide", f"# {heading}\n\n{names}")]
    for path in paths:
        before = None
        for slide in select(read(path)):
            cells += _cells(slide, "subslide" if slide.heading == before else "slide")
            before = slide.heading
    return new_notebook(cells=cells, metadata={"title": heading})


def _cells(slide: Slide, place: str) -> list[NotebookNode]:
    level = "#" if slide.kind == "question" else "##"
    cells = [_cell(place, f"{level} {slide.heading}\n\n{slide.shows}", slide.kind)]
    if slide.notes:
        cells.append(_cell("notes", "\n\n".join(slide.notes)))
    return cells


def _cell(place: str, text: str, kind: str = "") -> NotebookNode:
    """A link to a file of the project is only its words: a deck has no such file beside it."""
    metadata = {"slideshow": {"slide_type": place}, "tags": [kind or place]}
    return new_markdown_cell(LINK.sub(r"\1", text), metadata=metadata)


def exported(notebook: NotebookNode) -> str:
    """The deck as a page that needs no other machine."""
    from nbconvert import SlidesExporter

    exporter = SlidesExporter(
        template_name="deck",
        extra_template_basedirs=[str(ROOT / "docs" / "templates")],
        extra_template_paths=[str(ROOT / "docs" / "static")],
        reveal_url_prefix="reveal",
        reveal_theme="white",
        mathjax_url="mathjax/tex-chtml.js",
        exclude_anchor_links=True,
    )
    page, _ = exporter.from_notebook_node(notebook)
    return page


if __name__ == "__main__":
    sys.exit(main())
