"""Drawings of two meanings of a norm: a penalty's pull at a weight, and the size of a filter."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from prunelab.figures.style import COLORS, MARKERS, Picture, canvas, headline, reference_line

WORDS = ("width: L1", "√area: L2")


def steps_to_zero(paths: Mapping[str, Sequence], title: str = "") -> Picture:
    """Weights step by step: a dot is a weight, the bar at it leads to where its step takes it.

    The number is the length of the first step. Panels stand in two columns.

    Args:
        paths: by the name of a panel, the values of a few weights before the first step and after
            each one `[steps + 1, weights]`.
        title: words over all panels.

    Raises:
        ValueError: panels of other shapes, without a step, or with more weights than colors.
    """
    walks = {name: np.asarray(path, dtype=float) for name, path in paths.items()}
    shapes = [walk.shape for walk in walks.values()]
    one = shapes[0] if shapes else ()
    if len(one) != 2 or set(shapes) != {one} or one[0] < 2 or not 0 < one[1] <= len(COLORS):
        raise ValueError(
            f"paths must have one shape [steps + 1, up to {len(COLORS)} weights]; have {shapes}"
        )
    rows = -(-len(walks) // 2)
    size = {"width": 6.8, "height": 0.5 + 2.3 * rows}
    with canvas(min(2, len(walks)), rows, **size, sharex=True, sharey=True) as (figure, axes):
        for ax, (name, walk) in zip(axes.flat, walks.items(), strict=False):
            for i, weight in enumerate(walk.T):
                _walk(ax, weight, i)
            reference_line(ax, 0)
            ax.margins(y=0.14)
            ax.set_title(name)
        axes[0, 0].xaxis.set_major_locator(MaxNLocator(5, integer=True))
        for ax in axes[-1]:
            ax.set_xlabel("step")
        for ax in axes[:, 0]:
            ax.set_ylabel("weight")
        headline(figure, title)
        seen = "; ".join(_told(name, walk) for name, walk in walks.items())
        return Picture(figure, f"{title} Weights step by step. {seen}.".strip())


def _walk(ax: Axes, weight: np.ndarray, i: int) -> None:
    """One weight's dots and bars, and the length of its first step."""
    at, first = np.arange(len(weight)), abs(weight[1] - weight[0])
    ax.vlines(at[:-1], weight[:-1], weight[1:], color=COLORS[i], alpha=0.45, linewidth=4)
    ax.plot(at, weight, color=COLORS[i], marker=MARKERS[i], markersize=3.5, linestyle="none")
    how = {"textcoords": "offset points", "color": COLORS[i], "size": 8, "va": "center"}
    ax.annotate(f"{first:.2f}", (0, weight[0]), (6, 7 if weight[0] > 0 else -7), **how)


def _told(name: str, walk: np.ndarray) -> str:
    """In words: from where to where each weight goes, by which steps."""
    lengths = np.abs(np.diff(walk, axis=0))
    parts = [
        f"{weight[0]:.2f} to {weight[-1]:.2f}, first by {steps[0]:.2f}, last by {steps[-1]:.2f}"
        for weight, steps in zip(walk.T, lengths.T, strict=True)
    ]
    return f"{name}: {', '.join(parts)}"


def lengths_and_areas(filters: Mapping[str, Sequence]) -> Picture:
    """Filters as rows of squares, a weight a square of side |w|, the larger first.

    A row is as wide as the filter's L1 norm; its squares together have the area L2². The lower
    one of each norm is bold: that filter goes first.

    Args:
        filters: by name, the weights of a filter, any shape.

    Raises:
        ValueError: no filter, or one with nothing but zeros.
    """
    sides = {name: np.sort(np.abs(np.ravel(w)))[::-1] for name, w in filters.items()}
    if not sides or not all(side.any() for side in sides.values()):
        raise ValueError(f"filters must have weights that are not all zero; are {[*sides]}")
    norms = {name: (side.sum(), np.hypot.reduce(side)) for name, side in sides.items()}
    lowest = np.min(list(norms.values()), axis=0)
    wide, high = (max(f(side) for side in sides.values()) for f in (np.sum, np.max))
    inch = min(4.6 / wide, 1.1 / high)
    size = {"width": inch * wide + 1.6, "height": (inch * high + 0.35) * len(sides) + 0.1}
    with canvas(rows=len(sides), **size) as (figure, axes):
        for i, (name, side) in enumerate(sides.items()):
            ax = axes[i, 0]
            _squares(ax, side, COLORS[i % len(COLORS)])
            for y, word, norm, low in zip((0.7, 0.3), WORDS, norms[name], lowest, strict=True):
                how = {"weight": "bold" if norm == low else "normal", "va": "center"}
                ax.text(wide + 0.15 / inch, y * high, f"{word} = {norm:.3g}", **how)
            ax.set(xlim=(0, wide + 1.6 / inch), ylim=(0, 1.02 * high), aspect="equal", title=name)
        seen = "; ".join(f"{name} L1 {one:.3g}, L2 {two:.3g}" for name, (one, two) in norms.items())
        return Picture(figure, f"Filters as squares of side |w|, the larger first. {seen}.")


def _squares(ax: Axes, sides: np.ndarray, color: str) -> None:
    """Squares side by side on a line; a side is written where there is room for it."""
    left = 0.0
    for side in sides:
        ax.add_patch(Rectangle((left, 0), side, side, fc=(color, 0.3), ec=color, lw=1.2))
        if side > 0.08 * sides.sum():
            ax.text(left + side / 2, side / 2, f"{side:.2g}", size=8, ha="center", va="center")
        left += side
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    ax.grid(visible=False)
