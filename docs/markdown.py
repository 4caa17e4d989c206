"""Text of this project as the site wants it: links, numbered equations, references to them."""

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).absolute().parents[1]
PROTECTED = re.compile(
    r"(^ *```.*?^ *```|\$\$.*?\$\$|(?<!`)`+(?!`)[^`]+`+|\$[^$]+\$)", re.DOTALL | re.MULTILINE
)
"""Code and formulas: nothing in them is a link, or a number of an equation."""
TARGET = re.compile(r"\]\(([^()\s]+)\)")
NUMBER = re.compile(r"(?<!\])\((\d+\.\d+)\)")
TAGGED = re.compile(r"\$\$((?:(?!\$\$).)*?\\tag\{(\d+\.\d+)\}(?:(?!\$\$).)*?)\$\$", re.DOTALL)
ARXIV = re.compile(r"(?<!\[)arXiv:(\d{4}\.\d{4,5})")
PICTURE = re.compile(
    r'<picture>.*?srcset="([^"]+)".*?alt="([^"]+)" src="([^"]+)".*?</picture>', re.S
)
TAUGHT = ("channels/sensitivity.py", "engines/fisher.py", "engines/moving_masks.py")
"""Files of the package that notebooks teach, but for the ground floor and `shipping`."""


def page(text: str, source: str, homes: Mapping[str, str]) -> str:
    """A text as a page of the site.

    Args:
        text: in Markdown.
        source: the file that it comes from, seen from the project's folder.
        homes: the page on which each numbered equation stands, by its number.
    """
    text = PICTURE.sub(_two_images, text)

    def linked(plain: str) -> str:
        plain = TARGET.sub(lambda found: f"]({_link(found[1], source)})", plain)
        plain = NUMBER.sub(lambda found: _reference(found[1], homes), plain)
        return ARXIV.sub(r"[arXiv:\1](https://arxiv.org/abs/\1)", plain)

    text = outside_of_code(text, linked)
    return TAGGED.sub(lambda found: _display(found[1], found[2], source, homes), text)


def outside_of_code(text: str, change: Callable[[str], str]) -> str:
    """A text changed where it is neither code nor a formula."""
    pieces = PROTECTED.split(text)
    pieces[::2] = map(change, pieces[::2])
    return "".join(pieces)


def place(path: str) -> str:
    """Where a file of the project stands on the site, or comes to stand as a download."""
    if path == "README.md":
        return "index.md"
    is_room = re.fullmatch(r"prunelab/(shipping/)?\w+\.py", path)
    if is_room or path.removeprefix("prunelab/") in TAUGHT:
        return f"api/{PurePosixPath(path).stem}.md"
    return path


def anchor(number: str) -> str:
    return f"equation-{number.replace('.', '-')}"


def _link(target: str, source: str) -> str:
    if re.match(r"\w+:|#", target):
        return target
    path, _, fragment = target.partition("#")
    path = os.path.normpath(PurePosixPath(source).parent / path)
    if not (ROOT / path).exists():
        raise ValueError(f"{source} links to {target}, which does not exist")
    here = PurePosixPath(place(source)).parent
    relative = PurePosixPath(os.path.relpath(place(path), here)).as_posix()
    return relative + (f"#{slug(fragment)}" if fragment else "")


def slug(heading: str) -> str:
    """The id of a heading, from its words or from the id that JupyterLab gives it."""
    return re.sub(r"[^\w-]", "", heading.lower().replace(" ", "-"))


def _reference(number: str, homes: Mapping[str, str]) -> str:
    return f"[({number})](#{anchor(number)})" if number in homes else f"({number})"


def _display(formula: str, number: str, source: str, homes: Mapping[str, str]) -> str:
    """Unwrapped: Sphinx puts formulas of several lines where no number may stand."""
    mark = f"({anchor(number)})=\n\n" if homes.get(number) == source else ""
    equation = f"\\begin{{equation}}\n{formula.strip()}\n\\end{{equation}}"
    return f"\n\n{mark}```{{math}}\n:no-wrap:\n\n{equation}\n```\n\n"


def _two_images(found: re.Match) -> str:
    """The theme of the page chooses, and not that of the system."""
    dark, words, light = found.groups()
    return "\n\n".join(
        f"```{{image}} {path}\n:alt: {words}\n:class: only-{theme}\n```"
        for path, theme in ((light, "light"), (dark, "dark"))
    )
