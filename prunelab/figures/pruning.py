"""Figures of pruning: which weights go, what that costs, and whether they stay away."""

import numpy as np
import pandas as pd
from matplotlib.colors import ListedColormap

from prunelab.figures.style import (
    COLORS,
    PERCENT,
    PLAIN,
    Picture,
    canvas,
    count_axis,
    density_axis,
    fix_ticks,
    interval_line,
    legend,
    theme,
)
from prunelab.intervals import mean_interval


def mask_and_histogram(weights, mask, name: str) -> Picture:
    """A layer's mask as an image beside the histogram of its weights, kept and pruned.

    Args:
        weights: the layer's weights before pruning, any shape.
        mask: True where a weight is kept, same shape.
        name: the layer's name.
    """
    weights, mask = np.asarray(weights), np.asarray(mask)
    density = mask.mean()
    with canvas(columns=2, height=3.0, width_ratios=[1, 1.3]) as (figure, (panels,)):
        colors = ListedColormap([theme().faint, COLORS[0]])
        cells = mask.reshape(len(mask), -1)
        panels[0].imshow(cells, cmap=colors, vmin=0, vmax=1, aspect="auto", interpolation="none")
        panels[0].grid(visible=False)
        panels[0].set(title=f"Mask of {name}", xlabel="input weight", ylabel="output unit")
        limit = np.abs(weights).max()
        bins = np.linspace(-limit, limit, 81)
        for i, (fate, chosen) in enumerate({"pruned": ~mask, "kept": mask}.items()):
            counts, _ = np.histogram(weights[chosen], bins)
            panels[1].stairs(counts, bins, fill=True, color=colors(i), label=fate)
        title = f"{density:.1%} of the weights are kept"
        panels[1].set(title=title, xlabel="weight", ylabel="number of weights")
        panels[1].legend(frameon=False)
        return Picture(
            figure,
            f"Left, the mask of {name}: {density:.1%} of its weights are kept. Right, the "
            "histogram of its weights: the pruned ones fill the middle.",
        )


def weight_histograms(weights: dict, limit: float) -> Picture:
    """Histograms of several networks' weights on one log axis, one outline each.

    Args:
        weights: an array of weights by name.
        limit: the histogram goes from −limit to limit.
    """
    bins = np.linspace(-limit, limit, 121)
    with canvas(height=3.2) as (figure, ((ax,),)):
        for i, (name, values) in enumerate(weights.items()):
            ax.stairs(np.histogram(values, bins)[0], bins, color=COLORS[i], label=name, lw=1.6)
        count_axis(ax)
        ax.set(xlabel="weight", title="How training spreads weights")
        legend(ax)
        small = {name: (np.abs(values) < limit / 60).mean() for name, values in weights.items()}
        seen = ", ".join(f"{name} {share:.0%}" for name, share in small.items())
        return Picture(
            figure,
            f"Histograms of weights. Share of them nearer to 0 than {limit / 60:.3g}: {seen}.",
        )


def accuracy_against_density(table: pd.DataFrame, title: str = "") -> Picture:
    """Accuracy against density (log axis), mean and 95 % interval over seeds, a line a rule.

    Args:
        table: a study with the columns `rule`, `sparsity`, `seed`, `accuracy`.
    """
    summary = mean_interval(table, ["rule", "sparsity"], "accuracy")
    with canvas(height=3.8) as (figure, ((ax,),)):
        for i, (rule, rows) in enumerate(summary.groupby("rule", sort=False)):
            interval_line(ax, 1 - rows["sparsity"], rows, i, rule)
        density_axis(ax, 1 - table["sparsity"])
        legend(ax)
        ax.yaxis.set_major_formatter(PERCENT)
        ax.set(ylabel="test accuracy", title=title)
        half = summary[summary["sparsity"] == 0.5]
        seen = "; ".join(f"{row.rule} {row.mean:.0%}" for row in half.itertuples())
        return Picture(
            figure,
            f"{title} Test accuracy falls with the share of weights kept. At 50 % kept: {seen}. "
            f"Bands are 95 % intervals over {table['seed'].nunique()} seeds.",
        )


def zeros_while_training(table: pd.DataFrame) -> Picture:
    """Sparsity against fine-tuning steps, mean and 95 % interval over seeds, a line an order.

    Args:
        table: the study `permanence`, one network.
    """
    summary = mean_interval(table, ["order", "steps"], "sparsity")
    with canvas(height=3.0) as (figure, ((ax,),)):
        for i, (order, rows) in enumerate(summary.groupby("order", sort=False)):
            interval_line(ax, rows["steps"], rows, i, order)
        ax.set_xscale("symlog", linthresh=1)
        fix_ticks(ax.xaxis, sorted(table["steps"].unique()), PLAIN)
        ax.yaxis.set_major_formatter(PERCENT)
        legend(ax)
        ax.set(
            xlabel="fine-tuning steps",
            ylabel="sparsity",
            ylim=(-0.05, 1.0),
            title="Permanent too early, the zeros die",
        )
        return Picture(
            figure,
            "Sparsity against fine-tuning steps: with masks it stays where it was; without, nearly "
            "all of it is gone after the first step.",
        )
