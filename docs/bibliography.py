"""All references of the notebooks on one page, each with the notebooks that name it."""

import re
from collections.abc import Sequence
from pathlib import Path

from docs.chapters import name_of, read, title

SECTION = re.compile(r"^## References\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
ENTRY = re.compile(r"^\* (.*?\*[^*]+\*.*)$", re.MULTILINE)
INITIALS = re.compile(r"^(?:[A-Z]\.[- ]?)+")
ABOUT = """\
# Bibliography

What the notebooks refer to, by the name of the first author. The links at the end of each entry \
lead to the notebooks that name it.
"""


def references(paths: Sequence[Path]) -> dict[str, list[Path]]:
    """Each reference with a title, and the notebooks that have it; by author and year."""
    found: dict[str, list[Path]] = {}
    for path in paths:
        for cell in read(path).cells:
            for section in SECTION.findall(cell.source if cell.cell_type == "markdown" else ""):
                for entry in ENTRY.findall(section):
                    found.setdefault(entry, []).append(path)
    return dict(sorted(found.items(), key=lambda item: _order(item[0])))


def bibliography(paths: Sequence[Path]) -> str:
    """The page, in Markdown; links are those of a file in the project's folder."""
    lines = [
        f"* {entry} ({', '.join(f'[{title(path)[:2]}]({name_of(path)})' for path in where)})"
        for entry, where in references(paths).items()
    ]
    return f"{ABOUT}\n" + "\n".join(lines) + "\n"


def _order(entry: str) -> tuple[str, str]:
    year = re.search(r"\b(?:19|20)\d\d\b", entry.rsplit("*", 1)[1])
    return INITIALS.sub("", entry).casefold(), year[0] if year else ""
