"""The one style of all figures: pictures, themes, colors, and axes with their lines and words.

Colors are those of Okabe & Ito, told apart by color-blind readers, and every line has its own
marker, so that a figure survives a gray printer too.
"""

import base64
import html
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FixedLocator, Formatter, FuncFormatter, NullLocator
from PIL import Image

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P")
LEGEND = {"frameon": False, "fontsize": 8, "labelcolor": "linecolor"}
PERCENT = FuncFormatter(lambda value, _: minus(f"{100 * value:g} %"))
PLAIN = FuncFormatter(lambda value, _: minus(f"{value:g}"))


def minus(number: str) -> str:
    """A number for a figure, with a minus sign instead of a hyphen."""
    return number.replace("-", "−")


class Theme(NamedTuple):
    """The colors of everything that is not data."""

    ink: str
    faint: str
    paper: str


THEMES = {
    "light": Theme(ink="#222222", faint="#d9d9d9", paper="#ffffff"),
    "dark": Theme(ink="#e6e6e6", faint="#4a4a4a", paper="#111418"),
}
_theme = THEMES["light"]  # written by `use_theme` only

FOLLOW_JUPYTERLAB = (  # its dark theme turns a light figure around; hues stay
    '<style>[data-jp-theme-light="false"] img.prunelab-light'
    "{filter:invert(93%) hue-rotate(180deg)}</style>"
)


class use_theme:
    """Draw in a theme from here on; or, as `with use_theme("dark"):`, inside the block only.

    Args:
        name: "light" or "dark".

    Raises:
        ValueError: any other name.
    """

    def __init__(self, name: str):
        if name not in THEMES:
            raise ValueError(f"theme={name!r} is unknown; choose {' or '.join(THEMES)}")
        self._before = _theme
        _set_theme(THEMES[name])

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_) -> None:
        _set_theme(self._before)


def _set_theme(chosen: Theme) -> None:
    global _theme
    _theme = chosen


def theme() -> Theme:
    """The colors to draw with."""
    return _theme


class Picture:
    """A finished figure with a caption that says in words what there is to see.

    Notebooks show it as HTML: JupyterLab gives a bare PNG no alternative text.
    """

    def __init__(self, figure: Figure, caption: str):
        self.figure, self.caption = figure, caption
        self._theme = theme()
        self._style = _style(self._theme)  # ticks take their colors when they are rendered

    @cached_property
    def png(self) -> bytes:
        """The picture as a small PNG: 48 colors are plenty, and a quarter of the bytes. They are
        spread widely, so that thin lines keep theirs."""
        drawn, packed = io.BytesIO(), io.BytesIO()
        with mpl.rc_context(self._style):
            self.figure.savefig(drawn, format="png")
        with Image.open(drawn) as image:
            few = image.convert("RGB").quantize(48, Image.Quantize.MAXCOVERAGE, kmeans=1)
            few.save(packed, format="png", optimize=True)
        return packed.getvalue()

    def save(self, path: Path) -> Path:
        """Write the figure in the format of the file's ending."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with mpl.rc_context(self._style):
            self.figure.savefig(io.BytesIO())  # the layout settles at the second drawing
            self.figure.savefig(path)
        return path

    def to_html(self) -> str:
        """An `<img>` element that carries the picture and its alternative text."""
        data = base64.b64encode(self.png).decode()
        alt = html.escape(self.caption)
        if self._theme != THEMES["light"]:
            return f'<img src="data:image/png;base64,{data}" alt="{alt}">'
        return (
            f"{FOLLOW_JUPYTERLAB}"
            f'<img class="prunelab-light" src="data:image/png;base64,{data}" alt="{alt}">'
        )

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        return {"text/html": self.to_html(), "text/plain": self.caption}


@contextmanager
def canvas(
    columns: int = 1, rows: int = 1, width: float = 6.4, height: float = 3.6, **options
) -> Iterator[tuple[Figure, np.ndarray]]:
    """A styled figure and its axes. Figures live outside pyplot: none is ever left open."""
    with mpl.rc_context(_style(theme())):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure, figure.subplots(rows, columns, squeeze=False, **options)


def _style(colors: Theme) -> dict:
    """Matplotlib's settings."""
    return {
        "figure.facecolor": colors.paper,
        "axes.facecolor": colors.paper,
        "savefig.facecolor": colors.paper,
        "text.color": colors.ink,
        "axes.edgecolor": colors.ink,
        "axes.labelcolor": colors.ink,
        "xtick.color": colors.ink,
        "ytick.color": colors.ink,
        "grid.color": colors.faint,
        "grid.linewidth": 0.6,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlelocation": "left",
        "axes.titlesize": 10,
        "axes.labelsize": 9,
        "xtick.labelsize": 8,
        "ytick.labelsize": 8,
        "lines.linewidth": 1.6,
        "lines.markersize": 4,
        "font.size": 9,
        "figure.dpi": 110,
        "savefig.dpi": 110,
    }


def interval_line(
    ax: Axes, x: Sequence, rows: pd.DataFrame, i: int, name: str, marker: str | None = None
) -> None:
    """The i-th line: the column `mean` with a band from `low` to `high`."""
    marker = MARKERS[i] if marker is None else marker
    ax.plot(x, rows["mean"], color=COLORS[i], marker=marker, label=name)
    ax.fill_between(x, rows["low"], rows["high"], color=COLORS[i], alpha=0.2, linewidth=0)
    if len(rows) == 1:  # a band has no width there
        ax.vlines(x, rows["low"], rows["high"], color=COLORS[i])


def reference_line(ax: Axes, y: float) -> None:
    ax.axhline(y, color=theme().ink, linewidth=0.8, linestyle="--")


def density_axis(ax: Axes, density: pd.Series) -> None:
    """Log axis from dense on the left to sparse on the right, as in the papers."""
    low, high = 0.999 * density.min(), 1.08 * density.max()
    ticks = [1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01]
    if sum(low <= d <= high for d in ticks) < 3:
        ticks = [1, 0.7, 0.5, 0.3, 0.2, 0.1, 0.07, 0.05, 0.03, 0.02, 0.01]
    ax.set_xscale("log")
    ax.set_xlim(high, density.min() / 1.08)
    fix_ticks(ax.xaxis, [d for d in ticks if d >= density.min() / 1.08], PERCENT)
    ax.set_xlabel("density: weights kept")


def count_axis(ax: Axes) -> None:
    """Vertical axis of a histogram of weights: linear up to 10, then logarithmic."""
    ax.set_yscale("symlog", linthresh=10)
    fix_ticks(ax.yaxis, [0, 10, 100, 1000, 10000, 100000])
    ax.set_ylabel("number of weights")


def fix_ticks(axis: Axis, ticks: Sequence[float], form: Formatter | None = None) -> None:
    """Ticks at these values and nowhere else."""
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_minor_locator(NullLocator())
    if form is not None:
        axis.set_major_formatter(form)


def legend(ax: Axes, loc: str = "best") -> None:
    ax.legend(**LEGEND, loc=loc)


def headline(figure: Figure, words: str) -> None:
    """Words above all panels."""
    figure.suptitle(words, x=0.01, ha="left", size=10)


def write_at(
    ax: Axes,
    x: float,
    y: float,
    words: str,
    color: str,
    left: bool = False,
    below: bool = False,
) -> None:
    """A few words beside a point, on a rim of paper that keeps lines off them."""
    up = -10 if below else 4
    side = {"xytext": (-4, up), "ha": "right"} if left else {"xytext": (4, up)}
    how = {"textcoords": "offset points", "color": color, "size": 8, **side}
    rim = [withStroke(linewidth=2.5, foreground=theme().paper)]
    ax.annotate(words, (x, y), path_effects=rim, **how)
