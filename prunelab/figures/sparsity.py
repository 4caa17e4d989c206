"""Figures of what sparsity is worth: bytes on disk, and speed."""

import numpy as np
import pandas as pd
from matplotlib.ticker import FuncFormatter

from prunelab.figures.style import (
    COLORS,
    MARKERS,
    Picture,
    canvas,
    density_axis,
    fix_ticks,
    interval_line,
    legend,
    reference_line,
    theme,
)
from prunelab.intervals import mean_interval


def bytes_against_density(table: pd.DataFrame) -> Picture:
    """File size against density on two log axes, a line a format; the bound is dashed.

    Args:
        table: `bytes_on_disk` at several sparsities, with a column `sparsity`.
    """
    with canvas(height=4.0) as (figure, ((ax,),)):
        for i, (name, rows) in enumerate(table.groupby("format", sort=False)):
            is_bound = name == "entropy bound"
            ax.plot(
                1 - rows["sparsity"],
                rows["bytes"] / 1000,
                color=theme().ink if is_bound else COLORS[i % len(COLORS)],
                linestyle="--" if is_bound else "-",
                marker=None if is_bound else MARKERS[i % len(MARKERS)],
                linewidth=5 if name == "dense" else None,  # "permanent" lies on top of it
                alpha=0.4 if name == "dense" else None,
                label=name,
            )
        density_axis(ax, 1 - table["sparsity"])
        legend(ax)
        ax.set_yscale("log")
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        ax.set(ylabel="kilobytes", title="Bytes on disk by format")
        smallest = table.loc[table["sparsity"] == table["sparsity"].max()].nsmallest(2, "bytes")
        return Picture(
            figure,
            "File size against the share of weights kept. A masked file is twice the dense one; "
            f"at the highest sparsity the smallest is {smallest['format'].iloc[-1]}, next to the "
            "entropy bound.",
        )


def bytes_by_format(table: pd.DataFrame, sparsity: float) -> Picture:
    """One bar a format, from `bytes_on_disk` of a model of that sparsity."""
    with canvas(height=2.8) as (figure, ((ax,),)):
        is_bound = table["format"] == "entropy bound"
        colors = np.where(is_bound, theme().faint, COLORS[0])
        ax.barh(table["format"], table["bytes"] / 1000, color=colors)
        for y, row in enumerate(table.itertuples()):
            ax.text(row.bytes / 1000, y, f" {row.bytes / 1000:,.0f} kB", va="center", size=8)
        ax.invert_yaxis()
        ax.grid(visible=False, axis="y")
        ax.set(
            xlabel="kilobytes",
            title=f"Bytes on disk at {sparsity:.0%} sparsity",
            xlim=(0, 1.15 * table["bytes"].max() / 1000),
        )
        return Picture(
            figure,
            f"At {sparsity:.0%} sparsity: "
            + ", ".join(f"{row.format} {row.bytes / 1000:,.0f} kB" for row in table.itertuples()),
        )


def speed_against_density(table: pd.DataFrame) -> Picture:
    """Speed relative to dense against density, a panel a batch size, mean and 95 % interval.

    Args:
        table: the study `latency`, one layer, with a column `speedup`.
    """
    batches = table["batch"].unique()
    summary = mean_interval(table, ["batch", "format", "sparsity"], "speedup")
    with canvas(columns=len(batches), height=3.4, sharey=True) as (figure, (panels,)):
        for ax, batch in zip(panels, batches, strict=True):
            rows_of_batch = summary[summary["batch"] == batch]
            for i, (name, rows) in enumerate(rows_of_batch.groupby("format", sort=False)):
                interval_line(ax, 1 - rows["sparsity"], rows, i, name)
            reference_line(ax, 1)
            density_axis(ax, 1 - table["sparsity"])
            ax.set_yscale("log")
            times = FuncFormatter(lambda value, _: f"{value:g}×")
            fix_ticks(ax.yaxis, [0.25, 0.5, 1, 2, 4, 8, 16], times)
            ax.set_title(f"batch {batch}")
        panels[0].set_ylabel("speed relative to dense")
        legend(panels[0])
        best = summary.nlargest(1, "mean").iloc[0]
        return Picture(
            figure,
            "Speed relative to the dense layer against the share of weights kept, at batch "
            f"{' and '.join(map(str, batches))}, for {', '.join(summary['format'].unique())}; the "
            f"fastest is {best['format']} at batch {best['batch']} with "
            f"{1 - best['sparsity']:.0%} kept, {best['mean']:.1f} times dense.",
        )
