"""A drawing of what a sparse kernel skips: a small matrix, and the same one in sparse rows."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from prunelab.figures.style import COLORS, Picture, canvas, minus, theme

CELL = 0.52
"""The width in inches of a cell with one product in it."""


def sparse_rows(weights) -> Picture:
    """What a dense and a sparse kernel multiply in every row of a small matrix, a product a cell.

    Products with a weight of zero are gray. The sparse rows leave them out, so each value has to
    say which input it belongs to: the number at its x.

    Args:
        weights: two dimensions, few enough that their numbers can be read.
    """
    weights = np.asarray(weights)
    kept = [np.flatnonzero(row) for row in weights]
    everything = [np.arange(weights.shape[1])] * len(weights)
    used = sum(map(len, kept))
    columns = (weights.shape[1], max(1, *map(len, kept)))
    width, height = CELL * (sum(columns) + 2), 0.3 * len(weights) + 0.4
    with canvas(2, 1, width, height, width_ratios=columns) as (figure, ((dense, sparse),)):
        _products(dense, weights, everything, f"dense: {weights.size} products")
        _products(sparse, weights, kept, f"sparse rows: {used} products")
        return Picture(
            figure,
            f"Left, the products of a dense kernel in {len(weights)} rows: {weights.size}, of "
            f"which {weights.size - used} are with zero. Right, the {used} products of a sparse "
            f"kernel, by row {', '.join(str(len(row)) for row in kept)}. Each value stands with "
            "the number of its input.",
        )


def _products(ax: Axes, weights: np.ndarray, columns: list[np.ndarray], title: str) -> None:
    """The products of every row from left to right, close together."""
    for y, row in enumerate(columns):
        for x, column in enumerate(row):
            value = weights[y, column]
            ground = (COLORS[0], 0.25) if value else theme().faint
            ax.add_patch(Rectangle((x, y), 1, 1, fc=ground, ec=theme().paper, lw=1.5))
            number = minus(f"{value:.1f}") if value else "0"
            words = f"{number}$\\,x_{{{column}}}$"
            ax.text(x + 0.5, y + 0.52, words, color=theme().ink, size=8, ha="center", va="center")
    ax.set(xlim=(0, max(1, *map(len, columns))), ylim=(len(weights), 0), xticks=[])
    ax.set_yticks(np.arange(len(weights)) + 0.5, [f"$y_{{{y}}}$ =" for y in range(len(weights))])
    ax.set_title(title, size=9)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.grid(visible=False)
