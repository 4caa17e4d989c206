"""Figures of the studies of recovery (notebook 13)."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, SymLogNorm, to_rgba
from matplotlib.patches import FancyBboxPatch

from prunelab.figures.style import (
    COLORS,
    LEGEND,
    MARKERS,
    PERCENT,
    Picture,
    canvas,
    fix_ticks,
    headline,
    minus,
    theme,
    write_at,
)

COLUMN = ["network", "pruned", "density"]
SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


def ways_back(behind: pd.DataFrame, title: str = "") -> Picture:
    """How far each way back is behind the best of its column: heat maps, one a budget.

    A number is bold where no interval reaches further than the smallest effect that matters
    below the best. Ways stand in the order of their mean distance.

    Args:
        behind: what `prunelab.lab.playbook.behind_best` returns.
        title: words above.
    """
    budgets = sorted(behind["budget"].unique())
    columns = behind[COLUMN].drop_duplicates().reset_index(drop=True)
    order = behind.groupby("method")["mean"].mean().sort_values(ascending=False).index
    height = 0.9 + len(budgets) * (0.35 + 0.22 * len(order))
    size = {"width": 1.7 + 0.6 * len(columns), "height": height, "sharex": True}
    with canvas(rows=len(budgets), **size) as (figure, axes):
        for ax, budget in zip(axes.flat, budgets, strict=True):
            _panel(ax, behind[behind["budget"] == budget], columns, order)
            ax.set_title(f"{budget:.0%} of the dense training's steps")
            ax.set_yticks(range(len(order)), order)
        if title:
            headline(figure, title)
        winners = behind[behind["method"] == behind["best"]].groupby("method").size()
        best = ", ".join(f"{way} in {n}" for way, n in winners.sort_values().iloc[::-1].items())
        return Picture(
            figure,
            f"Heat map of {len(order)} ways back by {len(columns)} prunings, a panel for each of "
            f"{len(budgets)} budgets: points of test accuracy behind the way that validation "
            f"prefers. That is {best} of {winners.sum()} cells.",
        )


def decision_chart(decisions: pd.DataFrame, title: str = "") -> Picture:
    """What to do: a row for what is pruned and how far, a column for each budget.

    Args:
        decisions: what `prunelab.lab.playbook.decisions` returns.
        title: words above.
    """
    budgets = sorted(decisions["budget"].unique())
    rows = decisions[["pruned", "density"]].drop_duplicates().reset_index(drop=True)
    size = {"width": 1.7 + 2.9 * len(budgets), "height": 0.8 + 0.92 * len(rows)}
    with canvas(**size) as (figure, ((ax,),)):
        ax.set(xlim=(0, len(budgets)), ylim=(len(rows), 0))
        for row in decisions.itertuples():
            y = rows.index[(rows["pruned"] == row.pruned) & (rows["density"] == row.density)]
            _card(ax, budgets.index(row.budget), y[0], row)
        ax.set_yticks(
            [y + 0.5 for y in range(len(rows))],
            [
                f"prune {row.pruned},\nkeep {row.density:.0%}\nof all weights"
                for row in rows.itertuples()
            ],
        )
        ax.set_xticks(
            [x + 0.5 for x in range(len(budgets))],
            [f"{budget:.0%} of the dense training's steps" for budget in budgets],
        )
        ax.xaxis.tick_top()
        ax.tick_params(length=0)
        ax.grid(visible=False)
        ax.spines[:].set_visible(False)
        if title:
            headline(figure, title)
        advice = "; ".join(
            f"keep {row.density:.0%}, prune {row.pruned}, {row.budget:.0%} of the steps: {row.do}, "
            f"loses {_range(row)} points"
            for row in decisions.itertuples()
        )
        return Picture(figure, f"Decision chart. {advice}.")


def _card(ax: Axes, x: int, y: int, row) -> None:
    """One decision: the way, what is lost, how sure that is, and what is as good."""
    sure = row.as_good == row.networks > 1
    color = COLORS[2] if sure else COLORS[4]
    box = FancyBboxPatch(
        (x + 0.03, y + 0.06), 0.94, 0.88, "round,pad=0,rounding_size=0.03", mutation_aspect=1.5
    )
    box.set(facecolor=(color, 0.14), edgecolor=color, linewidth=1.0)
    ax.add_patch(box)
    ax.text(x + 0.07, y + 0.24, row.do, va="center", fontsize=10, fontweight="bold")
    certain = f"as good as the best in {row.as_good} of {row.networks} networks"
    if row.networks == 1:
        certain = "the best in the one network tried"
    also = "also shown to be as good: " + (", ".join(row.also[:3]) or "none")
    for i, words in enumerate((f"loses {_range(row)} points", certain, also)):
        ax.text(x + 0.07, y + 0.45 + 0.19 * i, words, va="center", fontsize=7.5)


def _range(row) -> str:
    return " to ".join(dict.fromkeys(f"{value:.1f}" for value in (row.least, row.most)))


def front(table: pd.DataFrame, price: str, title: str = "") -> Picture:
    """Points lost against a price, a panel a network: what is pruned makes the colors.

    Args:
        table: the columns `network`, `pruned`, `density`, `price` (a share of the dense
            network's), and `mean`, `low`, `high`: points against the dense network.
        price: the column to draw on the horizontal, logarithmic axis.
        title: words above.
    """
    networks, kinds = list(table["network"].unique()), list(table["pruned"].unique())
    wide = [5 + (table["network"] == network).sum() for network in networks]
    size = {"height": 3.4, "sharey": True, "width_ratios": wide}
    with canvas(columns=len(networks), **size) as (figure, (panels,)):
        for ax, network in zip(panels, networks, strict=True):
            ax.axhline(0, color=theme().ink, linewidth=0.8, linestyle="--")
            for i, kind in enumerate(kinds):
                rows = table[(table["network"] == network) & (table["pruned"] == kind)]
                look = {"color": COLORS[i], "marker": MARKERS[i], "linestyle": "none"}
                ax.plot(rows[price], rows["mean"], label=kind, **look)
                ax.vlines(rows[price], rows["low"], rows["high"], color=COLORS[i])
                for row in rows.itertuples():
                    at, end = getattr(row, price), row.low if i % 2 else row.high
                    side = {"left": i == 2, "below": i == 1}  # points may be neighbors
                    write_at(ax, at, end, f"{row.density:.0%}", COLORS[i], **side)
            ax.set(xscale="log", title=network)
            prices = table.loc[table["network"] == network, price]
            shares = [t for t in SHARES if 0.7 * prices.min() < t < 1.4 * prices.max()]
            fix_ticks(ax.xaxis, shares, PERCENT)
            ax.margins(x=0.15)
        panels[0].set_ylabel("points against dense")
        panels[0].set_xlabel(f"{price}, share of dense")
        names = panels[0].get_legend_handles_labels()
        figure.legend(*names, loc="outside lower center", ncols=len(kinds), **LEGEND)
        if title:
            headline(figure, title)
        seen = "; ".join(
            f"{row.network}, {row.pruned}, {row.density:.0%} kept: {getattr(row, price):.1%}, "
            f"{row.mean:+.1f} points"
            for row in table.itertuples()
        )
        return Picture(figure, f"{title} Points of accuracy against {price}: {seen}.".strip())


def _panel(ax: Axes, behind: pd.DataFrame, columns: pd.DataFrame, order: pd.Index) -> None:
    """One budget: shades on a log scale beyond a fifth of a point, the numbers written in."""
    cells = behind.merge(columns.reset_index(names="column"), on=COLUMN)
    grid = np.full((len(order), len(columns)), np.nan)
    rows = order.get_indexer(cells["method"])
    grid[rows, cells["column"]] = -cells["mean"]
    strongest = to_rgba(COLORS[1], 0.65)  # numbers are read on it, in a dark notebook too
    shades = LinearSegmentedColormap.from_list("behind", [theme().paper, strongest])
    norm = SymLogNorm(linthresh=0.2, vmin=0, vmax=20)
    ax.imshow(grid.clip(0), cmap=shades, norm=norm, aspect="auto")
    drawn = zip(cells["column"], rows, cells["mean"], cells["as_good"], strict=True)
    for x, y, mean, good in drawn:
        weight = "bold" if good else "normal"
        number = f"{mean:+.1f}".replace("-0.0", "0.0").replace("+0.0", "0.0")
        text = "best" if mean == 0 else minus(number)
        ax.text(x, y, text, ha="center", va="center", fontsize=7, fontweight=weight)
    several = len(set(columns["network"])) > 1
    names = [
        f"{network}\n{pruned}\n{density:.0%}" if several else f"{pruned}\n{density:.0%}"
        for network, pruned, density in columns.itertuples(index=False)
    ]
    ax.set_xticks(range(len(columns)), names)
    ax.grid(visible=False)
    ax.tick_params(length=0)
