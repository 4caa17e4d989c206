"""What other packages carry for us: MathJax for formulas, reveal.js for slides."""

import importlib.util
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from docs.markdown import ROOT

BUILD = (ROOT if os.access(ROOT, os.W_OK) else Path.cwd()) / "build"
MATHJAX = ("sphinx-mathjax-offline", "static/mathjax")
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
    _copy(_inside(*MATHJAX), FORMULAS, folder)


def formulas_in_one() -> str | None:
    """The code of MathJax that loads neither fonts nor extensions; None if not installed."""
    if importlib.util.find_spec(MATHJAX[0]) is None:
        return None
    return (_inside(*MATHJAX) / "tex-svg-full.js").read_text("utf-8")


def copy_reveal(folder: Path) -> None:
    """The part of reveal.js that a deck needs."""
    _copy(_inside("sphinx_revealjs", "_static/revealjs"), SLIDES, folder)


def _inside(package: str, folder: str) -> Path:
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / folder


def _copy(origin: Path, parts: Iterable[str], folder: Path) -> None:
    for part in parts:
        (folder / part).parent.mkdir(parents=True, exist_ok=True)
        if (origin / part).is_dir():
            shutil.copytree(origin / part, folder / part, dirs_exist_ok=True)
        else:
            shutil.copy(origin / part, folder / part)
