"""A drawing of what holds a zero: the tensors of a small layer before and after a step."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from prunelab.figures.style import COLORS, Picture, canvas, minus, theme

CHANGED, BORN = COLORS[0], COLORS[1]
CELL = 0.37
"""The width of a number's cell in inches."""


def tensors_through_step(
    before: dict, after: dict, titles: tuple[str, str] = ("before", "after one step")
) -> Picture:
    """Small matrices as grids of numbers, before and after a step; what the step changed is lit.

    A column is a tensor, a row is a moment. Zeros are gray, and those with their sign bit set read
    −0. Below, the cell of a number that has changed is blue, and orange if the number was zero.

    Args:
        before: matrices by name; the name stands above its column.
        after: those after the step, with the same names and shapes.
        titles: of the two rows.

    Raises:
        ValueError: other names, or another shape, after the step.
    """
    old, new = ({n: np.asarray(m) for n, m in side.items()} for side in (before, after))
    if {n: m.shape for n, m in old.items()} != {n: m.shape for n, m in new.items()}:
        raise ValueError("after must have the names and the shapes of before")
    sizes = [matrix.shape for matrix in old.values()]
    width = CELL * (sum(columns for _, columns in sizes) + 0.7 * len(sizes)) + 0.3
    height = 2 * (0.62 * CELL * max(lines for lines, _ in sizes) + 0.24) + 0.3
    shares = {"width_ratios": [columns for _, columns in sizes]}
    with canvas(len(sizes), 2, width, height, **shares) as (figure, axes):
        for i, name in enumerate(old):
            _grid(axes[0, i], old[name], old[name])
            _grid(axes[1, i], new[name], old[name])
            axes[0, i].set_title(name, size=9)
        for ax, title in zip(axes[:, 0], titles, strict=True):
            ax.set_ylabel(title)
        seen = "; ".join(_said(name, old[name], new[name]) for name in old)
        return Picture(figure, f"Numbers of each tensor {' and '.join(titles)}. {seen}.")


def _grid(ax: Axes, now: np.ndarray, was: np.ndarray) -> None:
    """A matrix in cells, told apart by what happened to each number."""
    lines, columns = now.shape
    for (y, x), value in np.ndenumerate(now):
        has_changed = value != was[y, x]
        ground = theme().faint if value == 0 else theme().paper
        if has_changed:
            ground = BORN if was[y, x] == 0 else (CHANGED, 0.25)
        ax.add_patch(Rectangle((x, y), 1, 1, fc=ground, ec=theme().faint, lw=0.8))
        how = {"color": "#ffffff" if ground == BORN else theme().ink, "size": 7.5}
        how["weight"] = "bold" if has_changed else "normal"
        ax.text(x + 0.5, y + 0.52, _written(value), ha="center", va="center", **how)
    ax.set(xlim=(0, columns), ylim=(lines, 0), xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    ax.grid(visible=False)


def _written(value: float) -> str:
    """Two decimals, more where they would read as zero; zeros with their sign."""
    if value in (0, 1):
        return "−0" if np.signbit(value) else f"{value:.0f}"
    words = f"{value:.2f}"
    return minus(words if float(words) else f"{value:.1g}")


def _said(name: str, old: np.ndarray, new: np.ndarray) -> str:
    """In words: how many numbers changed, and how many zeros there were and are."""
    changed = int((old != new).sum())
    zeros = f"{int((old == 0).sum())} zeros, then {int((new == 0).sum())}"
    return f"{' '.join(name.split())}: {changed} of {old.size} changed, {zeros}"
