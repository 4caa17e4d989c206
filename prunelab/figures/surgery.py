"""Figures of channel surgery: which channels belong together, and a zoo of cut networks."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from prunelab.figures.style import (
    COLORS,
    LEGEND,
    MARKERS,
    PERCENT,
    Picture,
    canvas,
    fix_ticks,
    theme,
)
from prunelab.intervals import mean_interval


def channel_map(table: pd.DataFrame, unit: int | None = None, title: str = "") -> Picture:
    """Every channel of every layer as a cell with its unit's name; a color is a group.

    Args:
        table: what `channel_table` returns, of a network with few channels.
        unit: a unit to light up; the others fade. None shows all.
        title: over the figure.
    """
    order = list(table["layer"].unique())
    layer_axes = sorted(
        set(zip(table["layer"], table["role"], strict=True)),
        key=lambda axis: (order.index(axis[0]), axis[1] == "writes"),
    )
    names = unit_names(table)
    with canvas(width=7.2, height=0.7 + 0.27 * len(layer_axes)) as (figure, ((ax,),)):
        for row in table.itertuples():
            is_lit = unit is None or row.unit == unit
            _cell(ax, layer_axes.index((row.layer, row.role)), row, names[row.unit], is_lit)
        widest = int(table["channel"].max()) + 1
        ax.set(xlim=(0, widest), ylim=(len(layer_axes), 0), title=title)
        words = [f"{layer} {role}" for layer, role in layer_axes]
        ax.set_yticks(np.arange(len(layer_axes)) + 0.5, words)
        ax.set_xticks([])
        ax.grid(visible=False)
        ax.tick_params(length=0)
        for spine in ax.spines.values():
            spine.set_visible(False)
        groups = table[table["group"] > 0].groupby("group")["unit"].nunique()
        seen = f"{len(groups)} groups of " + ", ".join(map(str, groups)) + " units"
        if unit is not None:
            touched = table[table["unit"] == unit]
            places = ", ".join(dict.fromkeys(f"{r.layer} {r.role}" for r in touched.itertuples()))
            seen = f"unit {names[unit]} is lit: {places}"
        caption = f"{title} The channels of {len(layer_axes)} layer axes; {seen}."
        return Picture(figure, caption.strip())


def unit_names(table: pd.DataFrame) -> dict[int, str]:
    """a1, a2, … in the first group, b1, … in the second; a dot for units that stay."""
    names: dict[int, str] = {}
    counts: dict[int, int] = {}
    for row in table.itertuples():
        if row.unit not in names:
            counts[row.group] = counts.get(row.group, 0) + 1
            names[row.unit] = f"{chr(96 + row.group)}{counts[row.group]}" if row.group else "·"
    return names


def _cell(ax: Axes, y: int, row, name: str, is_lit: bool) -> None:
    """One channel: a colored cell if it can be removed, a gray one if it has to stay."""
    if row.group:
        color, alpha = COLORS[(row.group - 1) % len(COLORS)], 0.85 if is_lit else 0.12
    else:
        color, alpha = "#9a9a9a", 0.35 if is_lit else 0.1
    ax.add_patch(Rectangle((row.channel + 0.05, y + 0.1), 0.9, 0.8, fc=color, alpha=alpha))
    ink = "#ffffff" if row.group and is_lit else theme().ink
    style = {"ha": "center", "va": "center", "size": 7, "alpha": 1 if is_lit else 0.25}
    ax.text(row.channel + 0.5, y + 0.52, name, color=ink, **style)


def zoo(table: pd.DataFrame) -> Picture:
    """The share of the operations and of the time that surgery leaves, a row a network.

    Beside them the operations that Torch-Pruning leaves, or what stops it. Geometric means and
    95 % intervals over seeds; the network that gains most is on top.

    Args:
        table: the study `zoo`.
    """
    logs = table.assign(
        macs=np.log(table["macs_after"] / table["macs_before"]),
        latency=np.log(table["latency_after"] / table["latency_before"]),
    )
    ours = logs[logs["tool"] == "prunelab"]
    others = logs[logs["works"] & (logs["tool"] != "prunelab")]
    models = mean_interval(ours, ["model"], "latency").sort_values("mean")["model"].tolist()
    problems = table[~table["works"]].groupby(["tool", "model"], sort=False)["problem"].first()
    with canvas(width=7.2, height=1.2 + 0.21 * len(models)) as (figure, ((ax,),)):
        macs = _log_dots(ax, models, ours, "macs", 0, "operations")
        latency = _log_dots(ax, models, ours, "latency", 1, "time")
        theirs = _log_dots(ax, models, others, "macs", 3, "operations, Torch-Pruning", size=8)
        ax.hlines(range(len(models)), macs, latency, color=theme().faint, linewidth=3, zorder=1)
        for y, factor in enumerate(1 / latency):
            _note(ax, y, 1.02, f"{factor:.1f}×", 1)
        for (_, model), problem in problems.items():
            _note(ax, models.index(model), 1.1, f"✗ {': '.join(problem.split(': ')[:2])}", 3)
        _share_axis(ax, models)
        more = [name for name in models if macs[name] > 1.001 * theirs[name]]
        failing = "".join(
            f" {tool} fails on {', '.join(problems[tool].index)}."
            for tool in problems.index.unique("tool")
        )
        return Picture(
            figure,
            f"Dots on a log axis for {len(models)} networks with half of their channels removed. "
            f"Left over are {macs.min():.0%} to {macs.max():.0%} of the operations, and "
            f"{latency.min():.0%} ({models[0]}) to {latency.max():.0%} ({models[-1]}) of the time "
            f"of a forward pass. Torch-Pruning leaves fewer operations of "
            f"{', '.join(more) or 'no network'}.{failing} Bars are 95 % intervals over "
            f"{table['seed'].nunique()} seeds.",
        )


def _log_dots(
    ax: Axes, models: list[str], table: pd.DataFrame, column: str, i: int, name: str, size: int = 4
) -> pd.Series:
    """Geometric means and intervals, from logarithms, a row for each model; large ones hollow."""
    summary = mean_interval(table, ["model"], column).set_index("model").reindex(models)
    mean, low, high = (np.exp(summary[end]) for end in ("mean", "low", "high"))
    ax.hlines(range(len(models)), low, high, color=COLORS[i])
    fill = "full" if size == 4 else "none"
    look = {"color": COLORS[i], "label": name, "markersize": size, "fillstyle": fill}
    ax.plot(mean, range(len(models)), MARKERS[i], **look)
    return mean


def _share_axis(ax: Axes, models: list[str]) -> None:
    ax.set_xscale("log")
    ax.set_xlim(0.18, 1.1)
    fix_ticks(ax.xaxis, (0.2, 0.3, 0.5, 1), PERCENT)
    ax.set_yticks(range(len(models)), models)
    ax.set_ylim(len(models) - 0.5, -1.6)  # room for the legend
    ax.grid(visible=False, axis="y")
    ax.legend(**LEGEND, loc="upper left", ncols=3)
    ax.set_title("What is left of a forward pass; at the right, how many times as fast it is.")
    ax.set_xlabel("share of the whole network's forward pass")


def _note(ax: Axes, y: float, x: float, words: str, i: int) -> None:
    """A few words to the right of the axes."""
    place = ax.get_yaxis_transform()
    ax.text(x, y, words, color=COLORS[i], size=7, va="center", transform=place)
