"""Drawings of rewinding: what goes back, what a barrier is; every run as a dot (notebook 03)."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap

from prunelab.figures.style import (
    COLORS,
    MARKERS,
    PLAIN,
    Picture,
    canvas,
    fix_ticks,
    headline,
    minus,
    reference_line,
    theme,
)

WAYS = {  # whether the weights go back, and the learning rate
    "fine-tune:\nnothing goes back": (False, False),
    "LR rewinding:\nthe rate goes back": (False, True),
    "weight rewinding:\nboth go back": (True, True),
}
ENDS = {"one basin, no barrier": 0.35, "two basins, a barrier": 1.0}


def going_back(history: pd.DataFrame, moments: dict[str, float], title: str = "") -> Picture:
    """What each way takes back, as arrows on the curves of the dense training.

    The loss stands for the weights. The horizontal axis is the square root of the steps, so that
    its beginning has room.

    Args:
        history: of the dense training, as `fit` returns it: `step`, `loss` and `lr`.
        moments: shares of the training by name, in order; the last is its end, 1.
        title: words above.
    """
    x = np.sqrt(history["step"] / history["step"].max())
    places = {name: share**0.5 for name, share in moments.items()}
    size = {"width": 7.2, "height": 4.0, "height_ratios": [1.7, 1]}
    with canvas(columns=3, rows=2, sharex=True, sharey="row", **size) as (figure, axes):
        for column, (way, goes_back) in zip(axes.T, WAYS.items(), strict=True):
            curves = (history["loss"], history["lr"])
            for i, (ax, values, back) in enumerate(zip(column, curves, goes_back, strict=True)):
                ax.plot(x, values, color=theme().ink, drawstyle="steps-post" if i else "default")
                ax.set_yscale("log")
                stops = list(places.values())[:-1] if goes_back[0] else [0.0]
                _arrows(ax, x, values, stops if back else [], COLORS[i])
            column[0].set_title(way)
            fix_ticks(column[1].xaxis, list(places.values()))
            column[1].set_xticklabels(["\n" * (i % 2) + name for i, name in enumerate(places)])
            column[1].set_xlim(-0.08, 1.3)
        axes[0, 0].set_ylabel("loss, for the weights")
        axes[1, 0].set_ylabel("learning rate")
        for ax, values in zip(axes[:, 0], (history["loss"], history["lr"]), strict=True):
            ax.set_ylim(values.min() / 2, 3 * values.max())
        fix_ticks(axes[0, 0].yaxis, [0.3, 1, 3], PLAIN)
        fix_ticks(axes[1, 0].yaxis, sorted(history["lr"].round(9).unique()), PLAIN)
        if title:
            headline(figure, title)
        back_to = ", ".join(list(moments)[:-1])
        return Picture(
            figure,
            f"{title} The dense training's loss above and its learning rate below, once for each "
            "way. Fine-tuning goes on from the end of both. LR rewinding goes on from the last "
            "weights, and an arrow leads from the last learning rate to the first. Weight "
            f"rewinding has arrows from the end to {back_to} on both curves.".strip(),
        )


def _arrows(ax: Axes, x: pd.Series, values: pd.Series, stops: list[float], color: str) -> None:
    """From the end of a curve back to each stop, or a short one onwards if there is none."""
    end = (1.0, values.iloc[-1])
    ax.plot(*end, color=color, marker="o", markersize=6)
    look = {"arrowstyle": "-|>", "color": color, "linewidth": 1.4, "shrinkA": 4, "shrinkB": 3}
    if not stops:
        ax.annotate("", (1.27, end[1]), end, arrowprops=look)
    for stop in stops:
        nearest = (x - stop).abs().idxmin()
        at = (x[nearest], values[nearest])
        ax.plot(*at, color=color, marker="o", markerfacecolor=theme().paper, markersize=5)
        bend = {"connectionstyle": f"arc3,rad={0.45 - 0.8 * stop:.2f}"}
        ax.annotate("", at, end, arrowprops=look | bend)


def loss_valley(title: str = "") -> Picture:
    """Two runs from one start on a map of the error, and the error on the line between their ends.

    The landscape is made up: it has one flat basin, or two. The barrier (3.2) is that of the
    curve that is drawn.

    Args:
        title: words above.
    """
    ink, shades = theme().ink, (theme().paper, theme().faint)
    colors = LinearSegmentedColormap.from_list("error", shades)
    share = np.linspace(0, 1, 101)
    heights = {}
    size = {"width": 6.4, "height": 4.4, "height_ratios": [1.5, 1], "sharey": "row"}
    with canvas(columns=2, rows=2, **size) as (figure, axes):
        for (land, line), (name, end) in zip(axes.T, ENDS.items(), strict=True):
            x, y = np.meshgrid(np.linspace(-2, 2, 161), np.linspace(-1.2, 1.6, 113))
            land.contourf(x, y, _error(x, y, end), levels=14, cmap=colors)
            land.plot([-end, end], [-0.4, -0.4], color=ink, linestyle="--", linewidth=1.0)
            land.plot(0, 1.2, color=ink, marker="o")
            land.annotate("one start", (0, 1.2), (6, 3), textcoords="offset points")
            for i, (side, run) in enumerate(((-1, "run a"), (1, "run b"))):
                look = {"arrowstyle": "-|>", "color": COLORS[i], "linewidth": 1.8}
                bend = {"connectionstyle": f"arc3,rad={-0.25 * side}", "shrinkB": 4}
                at = (side * end, -0.4)
                land.annotate("", at, (0, 1.2), arrowprops=look | bend)
                land.plot(*at, color=COLORS[i], marker=MARKERS[i], markersize=6)
                land.text(at[0], -0.72, run, ha="center", va="top", color=COLORS[i])
            land.set(title=name, xticks=[], yticks=[])
            land.grid(visible=False)
            error = _error(end * (2 * share - 1), -0.4, end)
            heights[name] = barrier_on_line(line, error)
            reference_line(line, error[[0, -1]].mean())
            line.set(xlabel="from run a to run b, along the straight line", ylim=(0, 0.85))
        axes[0, 0].set_ylabel("a map of the weights")
        axes[1, 0].set_ylabel("error")
        if title:
            headline(figure, title)
        seen = "; ".join(f"{name} ({height} points)" for name, height in heights.items())
        return Picture(
            figure,
            f"{title} Above, two runs leave one start on a map of the error. Below, the error on "
            f"the straight line between their ends. Left and right: {seen}.".strip(),
        )


def barrier_on_line(ax: Axes, error: np.ndarray) -> int:
    """Draw the error on the straight line between two networks; return its barrier in points."""
    share, ink = np.linspace(0, 1, len(error)), theme().ink
    height = round(100 * (error[1:-1].max() - error[[0, -1]].mean()))
    ax.plot(share, error, color=ink, linestyle="--")
    for i in (0, 1):
        ax.plot(i, error[-i], color=COLORS[i], marker=MARKERS[i], markersize=6)
    if height:
        both = ((0.5, error.max()), (0.5, error[0]))
        ax.annotate("", *both, arrowprops={"arrowstyle": "<->", "color": ink})
    words = f"barrier: {height} points"
    ax.text(0.5, error.max() + 0.04, words, ha="center", va="bottom")
    fix_ticks(ax.xaxis, [0, 0.5, 1])
    return height


def _error(x, y, end: float):
    """A made-up landscape: one flat basin around both ends if they are near, else one around each.

    The floor is at 0.12, the high ground at 0.7.
    """
    if end < 0.5:
        return 0.7 - 0.58 * np.exp(-(((x / 1.3) ** 2 + ((y + 0.4) / 0.9) ** 2) ** 2))
    depth = sum(
        np.exp(-((((x - side * end) / 0.75) ** 2 + ((y + 0.4) / 0.9) ** 2) ** 2))
        for side in (-1, 1)
    )
    return 0.7 - 0.58 * np.minimum(depth, 1)


def every_run(
    table: pd.DataFrame,
    value: str,
    by: str,
    panel: str,
    *,
    number: str = "mean",
    xlabel: str = "",
    title: str = "",
) -> Picture:
    """Every measurement as a dot: a row a method, a panel a setting, all on one axis.

    Args:
        table: one row a measurement.
        value: the column to draw.
        by, panel: the columns that make the rows and the panels.
        number: what is written at the right of each row, of its dots: "mean", or "std" for their
            standard deviation.
        xlabel, title: words; the column's name where `xlabel` is not given.

    Raises:
        ValueError: another `number`.
    """
    if number not in ("mean", "std"):
        raise ValueError(f"number={number!r} is unknown; choose mean or std")
    rows, settings = list(table[by].unique()), list(table[panel].unique())
    seen = []
    size = {"width": 7.2, "height": 1.3 + 0.24 * len(rows)}
    with canvas(columns=len(settings), sharex=True, sharey=True, **size) as (figure, (panels,)):
        for ax, setting in zip(panels, settings, strict=True):
            ax.axvline(0, color=theme().ink, linewidth=0.8)
            for y, row in enumerate(rows):
                dots = table.loc[(table[panel] == setting) & (table[by] == row), value]
                look = {"color": COLORS[y % len(COLORS)], "linestyle": "none"}
                look["markerfacecolor"] = "none"  # so that dots show through each other
                ax.plot(dots, [y] * len(dots), marker=MARKERS[y % len(MARKERS)], **look)
                words = f"{dots.agg(number):.2f}".replace("-0.00", "0.00")
                _write_at_the_right(ax, y, minus(words))
                seen.append(f"{setting}, {row} {words}")
            _write_at_the_right(ax, -0.75, {"mean": "mean", "std": "sd"}[number])
            ax.set(title=setting, xlabel=xlabel or value)
            ax.grid(visible=False, axis="y")
        low, high = table[value].min(), table[value].max()
        panels[0].set_xlim(low - 0.07 * (high - low), high + 0.3 * (high - low))
        panels[0].set_yticks(range(len(rows)), rows)
        panels[0].set_ylim(len(rows) - 0.5, -1.2)
        if title:
            headline(figure, title)
        what = {"mean": "Mean", "std": "Standard deviation"}[number]
        return Picture(
            figure, f"{title} A dot a run. {what} of each row: {'; '.join(seen)}.".strip()
        )


def _write_at_the_right(ax: Axes, y: float, words: str) -> None:
    ax.text(0.99, y, words, transform=ax.get_yaxis_transform(), ha="right", va="center", size=8)
