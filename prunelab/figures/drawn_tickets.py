"""A drawing of how a ticket is found: one round on a few weights, and the ticket's controls."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap

from prunelab.figures.style import COLORS, Picture, canvas, theme

OLD, NEW = (COLORS[0], COLORS[1]), (COLORS[2], COLORS[3])
"""The colors of weights below and above zero: those of the trial, and those drawn anew."""
CLEAR = {"xycoords": "axes fraction", "annotation_clip": False}
ARROW = {"arrowstyle": "-|>", "linewidth": 1.4}


def ticket_loop(first, trained, mask, fresh, elsewhere) -> Picture:
    """One round of iterative magnitude pruning on a few weights, and the ticket's controls.

    Above: first weights, trained, pruned, and back to what they were at first; an arrow leads to
    the next round. Below: the three controls. A cell is a weight: its color is the sign, and the
    stronger it is, the larger the weight. Pruned ones are gray; new weights have other colors.

    Args:
        first: weights before training, two dimensions.
        trained: the same after it.
        mask: True where pruning keeps a weight.
        fresh: other first weights.
        elsewhere: a mask that keeps as many weights at other places.

    Raises:
        ValueError: shapes that differ.

    Source: Frankle & Carbin (2019), arXiv:1803.03635.
    """
    first, trained, fresh = (np.asarray(w) for w in (first, trained, fresh))
    mask, elsewhere = (np.asarray(m, dtype=bool) for m in (mask, elsewhere))
    if len({values.shape for values in (first, trained, mask, fresh, elsewhere)}) > 1:
        raise ValueError("first, trained, mask, fresh and elsewhere must have one shape")
    everything = np.ones_like(mask)
    grids = [
        [
            (first, everything, OLD, "first weights"),
            (trained, everything, OLD, "trained weights"),
            (trained, mask, OLD, "the largest stay"),
            (first, mask, OLD, "ticket:\nfirst weights, mask"),
        ],
        [
            None,
            (first, everything, OLD, "dense:\nno mask"),
            (fresh, mask, NEW, "random reinit:\nnew weights, this mask"),
            (first, elsewhere, OLD, "random mask:\nfirst weights, elsewhere"),
        ],
    ]
    with canvas(columns=4, rows=2, width=7.2, height=3.9) as (figure, axes):
        figure.set_layout_engine(None)  # arrows between the panels are no reason to make room
        figure.subplots_adjust(0.02, 0.11, 0.98, 0.86, wspace=0.5, hspace=0.4)
        for ax, grid in zip(axes.flat, [grid for row in grids for grid in row], strict=True):
            if grid is None:
                words = "compared\nwith three\nothers,\ntrained in\nthe same way"
                ax.text(0.5, 0.5, words, ha="center", va="center")
                ax.set_axis_off()
            else:
                _weights(ax, *grid)
        for ax, word in zip(axes[0], ("train", "prune", "rewind"), strict=False):
            _arrow(ax, word)
        _next_round(axes[0, 3], axes[0, 1])
        return Picture(
            figure,
            f"Grids of {mask.size} weights. Above, one round: first weights, trained, pruned to "
            f"{mask.mean():.0%}, and back to their first values: the ticket. An arrow leads from "
            "it to the training of the next round. Below, the controls: the dense network, new "
            "weights under the ticket's mask, and first weights under a mask that keeps "
            f"{elsewhere.mean():.0%} at other places.",
        )


def _weights(ax: Axes, values, mask, colors: tuple[str, str], words: str) -> None:
    """A grid of weights, blue to white to orange or the like; gray where they are pruned."""
    ends = [colors[0], theme().paper, colors[1]]
    shades = LinearSegmentedColormap.from_list("weight", ends, N=9)  # a picture has few colors
    shades = shades.with_extremes(bad=theme().faint)
    lines = {"edgecolors": theme().paper, "linewidth": 1.5}
    ax.pcolormesh(np.ma.array(values, mask=~mask), cmap=shades, vmin=-2.2, vmax=2.2, **lines)
    ax.invert_yaxis()
    ax.set(xticks=[], yticks=[])
    ax.set_xlabel(words, size=8.5)
    ax.spines[:].set_visible(False)
    ax.grid(visible=False)


def _arrow(ax: Axes, word: str) -> None:
    """From a grid to the next, with a word above."""
    ax.annotate("", (1.46, 0.5), (1.04, 0.5), arrowprops=ARROW | {"color": theme().ink}, **CLEAR)
    ax.annotate(word, (1.25, 0.55), ha="center", va="bottom", size=8.5, **CLEAR)


def _next_round(start: Axes, end: Axes) -> None:
    """Over the top, back to the training."""
    look = ARROW | {"color": theme().ink, "connectionstyle": "arc3,rad=0.14"}
    middle = ((0.5, 1.03), (0.5, 1.03))
    places = {"xycoords": end.transAxes, "textcoords": start.transAxes, "annotation_clip": False}
    start.annotate("", *middle, arrowprops=look, **places)
    words = "next round: train the ticket"
    end.annotate(words, (1.5, 1.33), ha="center", size=8.5, **CLEAR)
