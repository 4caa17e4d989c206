"""A drawing of what pruning leaves of a matrix: a smaller one, or the same one with holes."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from prunelab.figures.style import COLORS, Picture, canvas, theme

CELL = 0.2
"""The width of a weight's cell in inches."""
TITLES = ("blue stays, gray goes", "is multiplied", "lies in memory, a cache line a row")
FLOAT_BYTES, LINE_BYTES = 4, 64
"""Of a float32 number, and of a cache line, the piece in which memory comes to most processors."""


def smaller_or_holes(weights, rows, columns, mask) -> Picture:
    """A small matrix that loses whole filters, and below it one that loses as many single weights.

    From left to right: which weights stay (blue) and go (gray), the stronger the color, the
    larger; the matrix that is multiplied; and its numbers in memory, a cache line a row.

    Args:
        weights: two dimensions, a filter a row, few enough that their cells can be seen.
        rows, columns: indices of the filters, and of the inputs, that stay above.
        mask: True or 1 where a single weight stays below, same shape as `weights`.

    Raises:
        ValueError: the mask does not keep as many weights as rows and columns do.
    """
    weights, mask = np.asarray(weights), np.asarray(mask, dtype=bool)
    block = np.zeros_like(mask)
    block[np.ix_(rows, columns)] = True
    if mask.sum() != block.sum():
        raise ValueError(f"mask keeps {mask.sum()} weights; rows and columns keep {block.sum()}")
    kinds = {
        "filters removed": (block, weights[np.ix_(rows, columns)]),
        "single weights removed": (mask, np.where(mask, weights, 0)),
    }
    height, width = weights.shape
    parts = [width, width, LINE_BYTES // FLOAT_BYTES]
    largest, seen = np.abs(weights).max(), []
    size = {"width": CELL * (sum(parts) + 5), "height": 2 * CELL * (height + 3)}
    with canvas(3, 2, **size, width_ratios=parts) as (figure, axes):
        for line, (name, (stays, left)) in zip(axes, kinds.items(), strict=True):
            _grid(line[0], np.abs(weights) / largest, stays, f"{stays.sum()} of {stays.size} stay")
            zeros = int((left == 0).sum())
            products = f"{left.size} products" + (f", {zeros} with 0" if zeros else "")
            _grid(line[1], np.abs(left) / largest, left != 0, products)
            lines = _lines(left.ravel(), parts[2])
            memory = f"{left.size * FLOAT_BYTES} bytes in {len(lines)} cache line"
            memory += "s" if len(lines) > 1 else ""
            _grid(line[2], np.abs(lines) / largest, lines != 0, memory)
            line[0].set_ylabel(name)
            for ax, columns_shown in zip(line, parts, strict=True):
                ax.set(xlim=(0, columns_shown), ylim=(height, 0), aspect="equal")
            gone = np.abs(weights[~stays]).max(initial=0)
            seen.append(f"with {name} {products}, {memory}, the largest that goes is {gone:.2f}")
        for ax, title in zip(axes[0], TITLES, strict=True):
            ax.set_title(title)
        shape = f"Of a matrix of {height} × {width} weights {mask.sum()} stay"
        return Picture(figure, f"{shape}: {'; '.join(seen)}.")


def _lines(values: np.ndarray, numbers: int) -> np.ma.MaskedArray:
    """The values one after the other, a cache line a row; the rest of the last one is empty."""
    lines = np.ma.masked_all((-(-values.size // numbers), numbers))
    lines.flat[: values.size] = values
    return lines


def _grid(ax: Axes, shades: np.ndarray, blue: np.ndarray, words: str) -> None:
    """A cell a number: blue or gray, by its size; a zero is written."""
    for (y, x), shade in np.ma.ndenumerate(shades):
        ground = (COLORS[0], 0.15 + 0.85 * shade) if blue[y, x] else (theme().ink, 0.55 * shade)
        if shade == 0:
            ground = theme().faint
            ax.text(x + 0.5, y + 0.52, "0", size=7, ha="center", va="center")
        ax.add_patch(Rectangle((x, y), 1, 1, fc=ground, ec=theme().paper, lw=1))
    ax.set(xticks=[], yticks=[], xlabel=words)
    ax.spines[:].set_visible(False)
    ax.grid(visible=False)
