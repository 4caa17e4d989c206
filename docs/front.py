"""The order of the site's pages: parts as the README has them, then practice and reference."""

import re
from collections.abc import Sequence

from docs import practice, rooms
from docs.chapters import chapters, title
from docs.markdown import ROOT

COURSE = ("course/README.md",)
PROJECT = ("data/PROTOCOL.md", "data/README.md", "CONTRIBUTING.md", "CHANGELOG.md", "README.ko.md")
PART = re.compile(r"^\*\*(Part [^*]+)\*\*\n(.*?)(?=^\*\*|^#)", re.MULTILINE | re.DOTALL)
CHAPTER = re.compile(r"\]\((notebooks/\d[^)]+\.ipynb)\)")

EXPLORER = """\
# Explorer

Choose a network, what is pruned, how far, and see all ways back as they were recorded. \
<a href="explorer/index.html">On a page of its own.</a>

<iframe class="explorer" src="explorer/index.html" title="Explorer of the recorded results">\
</iframe>
"""


def parts() -> dict[str, list[str]]:
    """The notebooks of each part, from the README."""
    readme = (ROOT / "README.md").read_text("utf-8")
    return {name: CHAPTER.findall(table) for name, table in PART.findall(readme)}


def contents(explorer: bool) -> str:
    """What stands beside every page.

    Args:
        explorer: there is a page to try the recorded results on.
    """
    practiced = ["practice.md", *(["explorer.md"] if explorer else []), *COURSE]
    reference = ["api/index.md", "equations.md", "bibliography.md"]
    menus = {**parts(), "Practice": practiced, "Reference": reference, "Project": list(PROJECT)}
    return "\n".join(menu(pages, caption) for caption, pages in menus.items())


def menu(pages: Sequence[str], caption: str | None = None) -> str:
    """Pages for the menu at the side, under a caption, or under the page that this is on."""
    options = ":hidden:" + (f'\n:caption: "{caption}"' if caption else "")
    return "\n".join(["", "```{toctree}", options, "", *pages, "```", ""])


def practice_index() -> str:
    """The page that lists all practice pages."""
    about = "After each notebook: tasks, three hints each, and a solution, all behind folds."
    titles = {title(path)[:2]: title(path) for path in chapters()}
    pages = {practice.name_of(number): titles[number] for number in practice.with_exercises()}
    listed = "\n".join(f"* [{words}]({name})" for name, words in pages.items())
    entries = [f"{words} <{name}>" for name, words in pages.items()]
    return f"# Exercises\n\n{about}\n\n{listed}\n{menu(entries)}"


def api_index() -> str:
    """The page that lists all rooms that notebooks teach, and the names to begin with."""
    names = [
        f"* [`{one.name}`](#{one.path}): {_first_line(one.docstring)}" for one in rooms.first()
    ]
    files = [
        f"* [`{rooms.module(room)}`]({room.stem}.md): {rooms.about(room)}" for room in rooms.rooms()
    ]
    to_begin = ["To begin with:", "\n".join(names)] if names else []
    parts = ["# Functions and classes", *to_begin, "A page for each file:", "\n".join(files)]
    return "\n\n".join(parts) + "\n" + menu([f"{room.stem}.md" for room in rooms.rooms()])


def equations_page(homes: dict[str, str]) -> str:
    """Every numbered equation, where it is explained, and the function that computes it."""
    lines = [
        "# Equations",
        "",
        "Each stands in the docstring of the function that computes it.",
        "",
    ]
    for number, (member, formula) in sorted(rooms.equations().items(), key=_by_number):
        home = homes[number]
        told = f"[{title(ROOT / home)}]({home})" if home.startswith("notebooks") else ""
        lines += [
            f"$${formula}$$",
            f"[`{member.name}`](#{member.path})" + (f" · {told}" if told else ""),
            "",
        ]
    return "\n\n".join(lines) + "\n"


def _by_number(item: tuple[str, object]) -> tuple[int, ...]:
    return tuple(map(int, item[0].split(".")))


def _first_line(docstring: str) -> str:
    return " ".join(docstring.split("\n\n")[0].split())
