"""Figures of any tidy table: intervals along an axis, differences, points against points."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap

from prunelab.figures.style import (
    COLORS,
    LEGEND,
    MARKERS,
    PERCENT,
    PLAIN,
    Picture,
    canvas,
    density_axis,
    fix_ticks,
    headline,
    interval_line,
    legend,
    minus,
    reference_line,
    theme,
    write_at,
)
from prunelab.intervals import mean_interval

RATIOS = (0.1, 0.2, 0.33, 0.5, 0.67, 1, 1.5, 2, 3, 5, 10)
SCALES = ("linear", "log", "symlog", "density")


def intervals_against(
    table: pd.DataFrame,
    x: str,
    y: str,
    by: str,
    *,
    panel: str | None = None,
    scale: str = "linear",
    reference: float | None = None,
    percent: bool = True,
    title: str = "",
    xlabel: str | None = None,
    ylabel: str | None = None,
) -> Picture:
    """Any quantity against any other: mean and 95 % interval over seeds, a line a method.

    Args:
        table: one row a measurement; intervals are drawn where there are several a point.
        x, y: the columns to draw.
        by: the column that makes the lines.
        panel: a column that makes panels side by side, sharing the vertical axis.
        scale: of the horizontal axis: "linear", "log", "symlog" (for steps from 0) or "density".
        reference: a dashed horizontal line, such as the dense network's accuracy.
        percent: whether `y` is a fraction to be shown in percent.
        title, xlabel, ylabel: words; the columns' names where they are not given.

    Raises:
        ValueError: a scale that is none of these, or a column the table does not have.
    """
    if scale not in SCALES:
        raise ValueError(f"scale={scale!r} is unknown; choose {', '.join(SCALES)}")
    xlabel, ylabel = xlabel or x.replace("_", " "), ylabel or y.replace("_", " ")
    parts = _panels(table, panel)
    lines = list(table[by].unique())
    ends = []
    with canvas(columns=len(parts), height=3.6, sharey=True) as (figure, (panels,)):
        for ax, (name, part) in zip(panels, parts, strict=True):
            for line, rows in mean_interval(part, [by, x], y).groupby(by, sort=False):
                rows = rows.sort_values(x, ascending=scale != "density")
                interval_line(ax, rows[x], rows, lines.index(line) % len(COLORS), str(line))
                end = rows["mean"].iloc[-1]
                ends.append(f"{name} {line} {end:.1%}" if percent else f"{name} {line} {end:.3g}")
            if reference is not None:
                reference_line(ax, reference)
            _scale_x(ax, scale, part[x])
            ax.set(xlabel=xlabel, title=name or title)
            if percent:
                ax.yaxis.set_major_formatter(PERCENT)
        panels[0].set_ylabel(ylabel)
        if panel and title:
            headline(figure, title)
        _name_all_lines(panels[0], [str(line) for line in lines], below=panel is not None)
        several = table.groupby([by, x, *([panel] if panel else [])])[y].count().max()
        bands = f" Bands are 95 % intervals over {several} runs." if several > 1 else ""
        return Picture(
            figure,
            f"{title} {ylabel} against {xlabel}. At the right end: "
            f"{', '.join(end.strip() for end in ends)}.{bands}".strip(),
        )


def _panels(table: pd.DataFrame, panel: str | None) -> list[tuple[str, pd.DataFrame]]:
    """The rows of every panel with its name; one without a name if no column makes them."""
    return [("", table)] if panel is None else list(table.groupby(panel, sort=False))


def _scale_x(ax: Axes, scale: str, values: pd.Series) -> None:
    if scale == "density":
        density_axis(ax, values)
        return
    ticks = sorted(values.unique())
    if scale == "symlog":
        smallest = min(tick for tick in ticks if tick > 0)
        ax.set_xscale("symlog", linthresh=smallest)
        ax.set_xlim(-0.2 * smallest, 1.15 * ticks[-1])
    elif scale == "log":
        ax.set_xscale("log")
    if scale != "linear" or len(ticks) <= 5:
        fix_ticks(ax.xaxis, ticks, PLAIN)


def _name_all_lines(ax: Axes, lines: list[str], below: bool) -> None:
    """The first panel's legend, or one below all panels; it also names what only others draw."""
    for i, line in enumerate(lines):
        if line not in ax.get_legend_handles_labels()[1]:
            i %= len(COLORS)
            ax.plot([], [], color=COLORS[i], marker=MARKERS[i], label=line)
    if below:
        names = ax.get_legend_handles_labels()
        columns = 2 if len(names[0]) == 4 else 3
        ax.figure.legend(*names, loc="outside lower center", ncols=columns, **LEGEND)
    else:
        legend(ax)


def differences(table: pd.DataFrame, title: str, xlabel: str, no_effect: float = 0.0) -> Picture:
    """Effects with their 95 % intervals, one below the other, and the line of no effect.

    Args:
        table: the columns `setting`, `mean`, `low`, `high`, such as `paired_difference` gives; and
            `source`, if they come from several (ours and a paper's).
        title: words over the figure.
        xlabel: what is compared, with its unit.
        no_effect: 0 for differences; 1 for ratios, whose axis is logarithmic.
    """
    sign = "z" if no_effect else "+z"  # z: no minus before a zero
    sources = list(table["source"].unique()) if "source" in table else [""]
    height = 0.9 + 0.27 * len(table) + 0.25 * (len(sources) > 1)
    with canvas(height=height) as (figure, ((ax,),)):
        ax.axvline(no_effect, color=theme().ink, linewidth=0.8)
        for y, row in enumerate(table.itertuples()):
            i = sources.index(getattr(row, "source", ""))
            ax.plot([row.low, row.high], [y, y], color=COLORS[i])
            ax.plot(row.mean, y, color=COLORS[i], marker=MARKERS[i], markersize=5)
            left = row.high < no_effect  # so that the number is not on the line of no effect
            beside = row.low if left else row.high
            write_at(ax, beside, y + 0.25, minus(f"{row.mean:{sign}.2f}"), COLORS[i], left)
        ax.set_yticks(range(len(table)), table["setting"])
        ax.set_ylim(len(table) - 0.5, -0.5)
        ax.margins(x=0.15)  # room for the numbers
        if no_effect:
            ax.set_xscale("log")
            ticks = [t for t in RATIOS if table["low"].min() <= t <= table["high"].max()]
            fix_ticks(ax.xaxis, ticks, PLAIN)
        ax.grid(visible=False, axis="y")
        ax.set(xlabel=xlabel, title=title)
        if len(sources) > 1:
            _name_all_lines(ax, sources, below=True)
        seen = "; ".join(
            f"{row.setting} {row.mean:{sign}.2f} [{row.low:{sign}.2f}, {row.high:{sign}.2f}]"
            for row in table.itertuples()
        )
        return Picture(figure, f"{title} {xlabel}, mean and 95 % interval: {seen}.")


def effects_map(table: pd.DataFrame, row: str, column: str, title: str) -> Picture:
    """Effects of two settings together: a cell for each pair, blue above zero, orange below.

    A number is bold where its 95 % interval leaves out zero.

    Args:
        table: a row a cell with `mean`, `low` and `high`.
        row, column: the columns that make the rows and the columns of the map.
        title: words over the figure, with the unit.
    """
    means = table.pivot_table("mean", row, column)
    clear = table.assign(clear=(table["low"] > 0) | (table["high"] < 0))
    clear = clear.pivot_table("clear", row, column, aggfunc="all").to_numpy(dtype=bool)
    largest = table["mean"].abs().max()
    shades = LinearSegmentedColormap.from_list("sign", [COLORS[1], theme().paper, COLORS[0]])
    rows, columns = means.shape
    with canvas(width=1.2 + 0.9 * columns, height=1.0 + 0.42 * rows) as (figure, ((ax,),)):
        ax.pcolormesh(means, cmap=shades, vmin=-2 * largest, vmax=2 * largest)
        for (y, x), value in np.ndenumerate(means.to_numpy()):
            weight = "bold" if clear[y, x] else "normal"
            words = minus(f"{value:+.2f}")
            ax.text(x + 0.5, y + 0.5, words, ha="center", va="center", weight=weight)
        ax.set_xticks(np.arange(columns) + 0.5, [f"{value:g}" for value in means.columns])
        ax.set_yticks(np.arange(rows) + 0.5, [f"{value:g}" for value in means.index])
        ax.set(xlabel=column, ylabel=row, title=title)
        ax.tick_params(length=0)
        ax.grid(visible=False)
        ax.spines[:].set_visible(False)
        best = table.nlargest(1, "mean").iloc[0]
        return Picture(
            figure,
            f"{title} A map of {rows} values of {row} by {columns} of {column}. The largest effect "
            f"is {best['mean']:+.2f} [{best['low']:+.2f}, {best['high']:+.2f}], at {row} = "
            f"{best[row]:g} and {column} = {best[column]:g}; {clear.sum()} of {clear.size} "
            f"intervals leave out zero.",
        )


def scatter(
    table: pd.DataFrame, x: str, y: str, by: str, *, title: str, panel: str | None = None
) -> Picture:
    """Points of two columns, colored by a third, with the diagonal where both are equal.

    Args:
        table: one row a point.
        x, y: the columns to draw.
        by: the column that makes the colors.
        title: words over the figure.
        panel: a column that makes panels side by side.
    """
    parts = _panels(table, panel)
    kinds = list(table[by].unique())
    with canvas(columns=len(parts), height=3.4) as (figure, (panels,)):
        for ax, (name, part) in zip(panels, parts, strict=True):
            low, high = part[[x, y]].min().min(), part[[x, y]].max().max()
            ax.axline((low, low), (high, high), color=theme().faint, zorder=0)
            for i, kind in enumerate(kinds):
                rows = part[part[by] == kind]
                ax.scatter(rows[x], rows[y], 14, color=COLORS[i], marker=MARKERS[i], label=kind)
            ax.set(xlabel=x, title=name or title)
        panels[0].set_ylabel(y)
        if panel:
            headline(figure, title)
        legend(panels[0])
        counts = ", ".join(f"{(table[by] == kind).sum()} {kind}" for kind in kinds)
        return Picture(figure, f"{title} {y} against {x}, with the diagonal: {counts}.")
