"""What other packages carry for us: MathJax for formulas, reveal.js for slides."""

import importlib.util
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from docs.markdown import ROOT

BUILD = (ROOT if os.access(ROOT, os.W_OK) else Path.cwd()) / "build"
FORMULAS = ("tex-chtml.js", "input/tex/extensions", "output/chtml/fonts")
SLIDES = (
    "dist/reveal.js",
    "dist/reveal.css",
    "dist/theme/white.css",
    "dist/theme/fonts",
    "plugin/notes",
)
MISSING = "{} is not installed: pip install --editable '.[site]' with the Python of this project"


def missing(*packages: str) -> str | None:
    """What to say if one of the packages is not installed."""
    absent = [name for name in packages if importlib.util.find_spec(name) is None]
    return MISSING.format(", ".join(absent)) if absent else None


def copy_formulas(folder: Path) -> None:
    """The part of MathJax that a page needs."""
    _copy("sphinx-mathjax-offline", "static/mathjax", FORMULAS, folder)


def copy_reveal(folder: Path) -> None:
    """The part of reveal.js that a deck needs."""
    _copy("sphinx_revealjs", "_static/revealjs", SLIDES, folder)


def _copy(package: str, inside: str, parts: Iterable[str], folder: Path) -> None:
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations
    origin = Path(spec.submodule_search_locations[0]) / inside
    for part in parts:
        (folder / part).parent.mkdir(parents=True, exist_ok=True)
        if (origin / part).is_dir():
            shutil.copytree(origin / part, folder / part, dirs_exist_ok=True)
        else:
            shutil.copy(origin / part, folder / part)
