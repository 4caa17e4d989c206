"""Figures of the studies of recovery (notebook 13)."""

import numpy as np
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap, SymLogNorm

from prunelab.figures.style import COLORS, Picture, canvas, headline, theme

COLUMN = ["network", "pruned", "density"]


def ways_back(behind: pd.DataFrame, title: str = "") -> Picture:
    """How far each way back is behind the best of its column: a heat map, a panel a budget.

    A number is bold where no interval reaches further than the smallest effect that matters
    below the best. Ways stand in the order of their mean distance.

    Args:
        behind: what `prunelab.lab.playbook.behind_best` returns.
        title: words above.
    """
    budgets = sorted(behind["budget"].unique())
    columns = behind[COLUMN].drop_duplicates().reset_index(drop=True)
    order = behind.groupby("method")["mean"].mean().sort_values(ascending=False).index
    width = 2.2 + 0.62 * len(columns) * len(budgets)
    size = {"width": width, "height": 1.6 + 0.26 * len(order)}
    with canvas(columns=len(budgets), sharey=True, **size) as (figure, (panels,)):
        for ax, budget in zip(panels, budgets, strict=True):
            _panel(ax, behind[behind["budget"] == budget], columns, order)
            ax.set_title(f"{budget:.0%} of the dense training's steps")
        panels[0].set_yticks(range(len(order)), order)
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


def _panel(ax, behind: pd.DataFrame, columns: pd.DataFrame, order: pd.Index) -> None:
    """One budget: shades on a log scale beyond a fifth of a point, the numbers written in."""
    cells = behind.merge(columns.reset_index(names="column"), on=COLUMN)
    grid = np.full((len(order), len(columns)), np.nan)
    rows = order.get_indexer(cells["method"])
    grid[rows, cells["column"]] = -cells["mean"]
    shades = LinearSegmentedColormap.from_list("behind", [theme().paper, COLORS[1]])
    norm = SymLogNorm(linthresh=0.2, vmin=0, vmax=20)
    ax.imshow(grid.clip(0), cmap=shades, norm=norm, aspect="auto")
    drawn = zip(cells["column"], rows, cells["mean"], cells["as_good"], strict=True)
    for x, y, mean, good in drawn:
        weight = "bold" if good else "normal"
        text = "best" if mean == 0 else f"{mean:+.1f}"
        ax.text(x, y, text, ha="center", va="center", fontsize=7, fontweight=weight)
    several = len(set(columns["network"])) > 1
    names = [
        f"{network}\n{pruned}\n{density:.0%}" if several else f"{pruned}\n{density:.0%}"
        for network, pruned, density in columns.itertuples(index=False)
    ]
    ax.set_xticks(range(len(columns)), names, rotation=90)
    ax.grid(visible=False)
    ax.tick_params(length=0)
