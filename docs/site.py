"""Build the site from notebooks, exercises, docstrings and texts: `make site`."""

import shutil
import sys
import time
from collections.abc import Iterator

import nbformat

from docs import bibliography, chapters, front, links, practice, rooms
from docs.carried import BUILD, copy_formulas, missing
from docs.markdown import ROOT, page, place

SITE = BUILD / "site"
SOURCE, STATIC, READ = (BUILD / "docs" / name for name in ("pages", "static", "read"))
EXPLORER = BUILD / "explorer"
FIGURES = "data/figures"


def main() -> int:
    if absent := missing("sphinx", "furo", "myst_nb", "sphinx-mathjax-offline"):
        print(absent)
        return 1
    from sphinx.cmd.build import build_main

    started = time.perf_counter()
    explorer = (EXPLORER / "index.html").is_file()
    write(dict(sources(explorer)))
    shutil.copytree(ROOT / FIGURES, SOURCE / FIGURES, dirs_exist_ok=True)
    copy_formulas(STATIC / "mathjax")
    shutil.rmtree(SITE / "_modules", ignore_errors=True)  # Sphinx would keep their old menus
    options = ["-q", "-W", "--keep-going", "-c", str(ROOT / "docs"), "-d", str(READ)]
    made = build_main([*options, str(SOURCE), str(SITE)])
    if made:
        shutil.rmtree(READ)  # or the next build would not say again what is wrong
        return made
    if explorer:
        shutil.copytree(EXPLORER, SITE / "explorer", dirs_exist_ok=True)
    size = sum(path.stat().st_size for path in SITE.rglob("*") if path.is_file())
    print(f"{SITE}: {size / 1e6:.0f} MB in {time.perf_counter() - started:.0f} s")
    return links.main(SITE)


def write(texts: dict[str, str]) -> None:
    """Write what Sphinx reads. What is as it was is not read again; what is gone leaves nothing."""
    there = {
        path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.*") if path.suffix != ".png"
    }
    if there - texts.keys():
        for folder in (SOURCE, READ, SITE):
            shutil.rmtree(folder, ignore_errors=True)
    for name, text in texts.items():
        path = SOURCE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")


def sources(explorer: bool) -> Iterator[tuple[str, str]]:
    """The files that Sphinx reads, as name and text.

    Args:
        explorer: there is a page to try the recorded results on.
    """
    homes = homes_of_equations()
    texts = {name: (ROOT / name).read_text("utf-8") for name in (*front.COURSE, *front.PROJECT)}
    texts["README.md"] = (ROOT / "README.md").read_text("utf-8")
    texts["bibliography.md"] = bibliography.bibliography(chapters.chapters())
    texts["equations.md"] = front.equations_page(homes)
    for name, text in texts.items():
        menu = front.contents(explorer) if name == "README.md" else ""
        yield place(name), page(text, name, homes) + menu
    yield "practice.md", front.practice_index()
    if explorer:
        yield "explorer.md", front.EXPLORER
    yield "api/index.md", front.api_index()
    for room in rooms.rooms():
        yield place(rooms.source(room)), rooms.api_page(room, homes)
    for path in chapters.chapters():
        yield chapters.name_of(path), nbformat.writes(chapters.chapter(path, homes))
    for number in practice.with_exercises():
        yield practice.name_of(number), nbformat.writes(practice.practice_page(number, homes))


def homes_of_equations() -> dict[str, str]:
    """The file in which each numbered equation stands: a notebook, or else its function's."""
    homes = {
        number: f"{member.room.replace('.', '/')}.py"
        for number, (member, _) in rooms.equations().items()
    }
    for path in reversed(chapters.chapters()):
        homes |= dict.fromkeys(chapters.numbers_shown(path), chapters.name_of(path))
    return homes


if __name__ == "__main__":
    sys.exit(main())
