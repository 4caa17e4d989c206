"""A drawing of instability analysis: two copies of one training that part early, or later."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap

from prunelab.figures.drawn_rewinding import barrier_on_line
from prunelab.figures.style import COLORS, MARKERS, Picture, canvas, headline, theme

FLOOR, DEPTH = 0.7, 0.58
"""The error at the start, and how far the valleys go down from it."""
FORK = 0.25
"""The share of the training after which the valley has become two."""
PARTED = {"copied at the start": (0.0, (-1.0, 1.0)), "copied later": (0.55, (0.73, 1.25))}
"""When the copies part, as a share of the training, and where across the valleys they end."""


def parting_copies(title: str = "") -> Picture:
    """Two copies of a training on a map of the error, and the error on the line between their ends.

    The landscape is made up: a valley that forks. Copies from before the fork can end in different
    valleys, with a barrier (3.2) between them. Copies from after it end in one.

    Args:
        title: words above.

    Source: Frankle et al. (2020), arXiv:1912.05671.
    """
    barriers = {}
    size = {"width": 6.4, "height": 4.8, "height_ratios": [1.8, 1], "sharey": "row"}
    with canvas(columns=2, rows=2, **size) as (figure, axes):
        for (land, line), (name, (k, ends)) in zip(axes.T, PARTED.items(), strict=True):
            _map(land, k, ends)
            land.set(title=name, xticks=[], yticks=[])
            share = np.linspace(0, 1, 101)
            error = _error(ends[0] + (ends[1] - ends[0]) * share, 1.0)
            barriers[name] = barrier_on_line(line, error)
            line.set(xlabel="from copy a to copy b, straight", ylim=(0, 0.9))
        axes[0, 0].set_ylabel("training goes down")
        axes[1, 0].set_ylabel("error")
        if title:
            headline(figure, title)
        seen = "; ".join(f"{name}, {height} points" for name, height in barriers.items())
        return Picture(
            figure,
            f"{title} A map of the error whose valley forks. Two copies leave one training at its "
            f"start and end in two valleys, or leave it later and end in one. Below, the error on "
            f"the straight line between their ends. Its barrier: {seen}.".strip(),
        )


def _map(ax: Axes, k: float, ends: tuple[float, float]) -> None:
    """The landscape from above, the training until the copies are made, and the two copies."""
    colors = LinearSegmentedColormap.from_list("error", (theme().paper, theme().faint))
    x, time = np.meshgrid(np.linspace(-2, 2, 161), np.linspace(-0.1, 1.15, 121))
    ax.contourf(x, time, _error(x, time), levels=14, cmap=colors)
    until = np.linspace(0, k, 30)
    middle = sum(ends) / 2
    ax.plot(_way(until, middle), until, color=theme().ink, linewidth=1.8)
    ax.plot(0, 0, color=theme().ink, marker="o")
    ax.annotate("start", (0, 0), (7, 2), textcoords="offset points", size=8.5)
    if k > 0:
        ax.plot(_way(k, middle), k, color=theme().ink, marker="o")
        ax.annotate(
            "iteration k", (_way(k, middle), k), (7, 4), textcoords="offset points", size=8.5
        )
    after = np.linspace(k, 1, 60)
    for i, end in enumerate(ends):
        x = _way(after, end if k == 0 else middle)
        if k > 0:
            x = x + (after - k) / (1 - k) * (end - middle)
        ax.plot(x, after, color=COLORS[i], linewidth=1.8)
        ax.plot(end, 1, color=COLORS[i], marker=MARKERS[i], markersize=6)
        side = {"ha": "right" if i == 0 else "left", "va": "center", "color": COLORS[i]}
        ax.text(end + (-0.12, 0.12)[i], 1.0, f"copy {'ab'[i]}", **side)
    ax.plot([ends[0], ends[1]], [1, 1], color=theme().ink, linestyle="--", linewidth=1)
    ax.set(xlim=(-2, 2), ylim=(1.15, -0.1))
    ax.grid(visible=False)


def _way(time, end: float):
    """Where a training is across the valleys that ends at `end`: in the middle until the fork."""
    past = np.clip((time - FORK) / (1 - FORK), 0, 1)
    return end * (1 - np.cos(past * np.pi)) / 2


def _error(x, time):
    """A made-up landscape: it goes down with the time, in one valley that forks into two."""
    valleys = (np.exp(-(((x - side * _way(time, 1.0)) / 0.62) ** 4)) for side in (-1, 1))
    return FLOOR - DEPTH * np.clip(time, 0, 1) ** 0.6 * np.maximum(*valleys)
