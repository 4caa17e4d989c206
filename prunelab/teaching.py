"""What notebooks show beside figures: a function with its equation, a knob, a bar that grows."""

import inspect
import os
import re
import textwrap
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

import ipywidgets as widgets
from IPython.display import Markdown, display
from tqdm.auto import tqdm

from prunelab.checks import said
from prunelab.checks.tensors import calling, check_function
from prunelab.data import ROOT
from prunelab.figures import Picture

EQUATION = re.compile(r"\$\$.*?\\tag\{(\d+\.\d+)\}.*?\$\$", re.DOTALL)
# Room for 100 characters a line: in a narrow window the code scrolls, it breaks within no word.
UNBROKEN = '<div style="overflow-x: auto"><div style="min-width: 62em">'
SECTION = re.compile(r"^(?:Args|Returns|Raises|Warns|Example|Source):", re.MULTILINE)


def show(function: Callable) -> Markdown:
    """A function's description with its numbered equation, its live source, and where it lives.

    Args:
        function: a function or class of prunelab.

    Raises:
        ValueError: the function is not prunelab's.
    """
    if not getattr(function, "__module__", "").startswith("prunelab"):
        raise ValueError(f"function={said(function)}: give a function or class of prunelab")
    function = inspect.unwrap(function)  # a decorator lives in another file
    file = Path(inspect.getfile(function)).relative_to(ROOT)
    description = SECTION.split(inspect.getdoc(function) or "", maxsplit=1)[0].strip()
    source = _without_docstring(textwrap.dedent(inspect.getsource(function)))
    return Markdown(
        f"**`{function.__name__}`** in {_link(file)}\n\n{description}\n\n"
        f"{UNBROKEN}\n\n```python\n{source}\n```\n\n</div></div>"
    )


def equations(function: Callable) -> list[str]:
    """The numbers of the equations in a function's docstring."""
    return EQUATION.findall(inspect.getdoc(function) or "")


def slider(draw: Callable[..., Picture], **knobs: widgets.Widget) -> None:
    """Redraw a figure whenever a knob is turned.

    Args:
        draw: makes a `figures.Picture` from one value a knob.
        knobs: widgets by the name of `draw`'s parameter, e.g. `widgets.FloatSlider(...)`.

    Raises:
        ValueError: knobs and the parameters of `draw` do not match.
    """
    check_function("draw", draw, optional=False)
    with calling("draw"):
        parameters = set(inspect.signature(draw).parameters)
    if parameters != set(knobs):
        raise ValueError(
            f"knobs {sorted(knobs)} must be the parameters of draw, {sorted(parameters)}"
        )
    picture = widgets.HTML()

    def redraw(_=None) -> Picture:
        with calling("draw"):
            drawn = draw(**{name: knob.value for name, knob in knobs.items()})
            picture.value = drawn.to_html()
        return drawn

    for name, knob in knobs.items():
        knob.description = knob.description or name
        knob.observe(redraw, names="value")
    first = redraw()._repr_mimebundle_()  # what a reader without a kernel sees
    live = widgets.VBox([*knobs.values(), picture])._repr_mimebundle_()
    display({**live, **first}, raw=True)


def progress(steps: Collection) -> Iterable:
    """Steps that take seconds each, under a bar that is gone when they are done.

    Example:
        >>> for sparsity in progress((0.5, 0.9)): ...
    """
    hide = "TQDM_DISABLE" in os.environ  # the notebook bar ignores the variable
    return tqdm(steps, leave=False, disable=hide)


def _link(file: Path) -> str:
    """From the notebook's folder, where its kernel runs; none from outside the project."""
    here = Path.cwd()
    if not here.is_relative_to(ROOT):
        return f"`{file.as_posix()}`"
    return f"[{file.as_posix()}]({Path(os.path.relpath(ROOT / file, here)).as_posix()})"


def _without_docstring(source: str) -> str:
    return re.sub(r'\n    r?"""(?:.|\n)*?"""(?:\n(?=\n))?', "", source, count=1).strip()
