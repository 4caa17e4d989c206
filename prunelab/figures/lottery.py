"""Figures 1, 3 and 4 of Frankle & Carbin (2019), arXiv:1803.03635, and a race of two tickets."""

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.ticker import FuncFormatter, MaxNLocator

from prunelab.figures.style import (
    COLORS,
    MARKERS,
    PERCENT,
    THEMES,
    Picture,
    canvas,
    density_axis,
    fix_ticks,
    headline,
    legend,
    theme,
)

LATE = 0.95
"""A share of the training: where the loss is lowest after it, the lowest may still be to come."""
HOLLOW = "Hollow: at least one trial had its lowest validation loss in the last 5 % of training."
TICKET_MEASURES = {
    "iteration": ("early stop", "iteration", "Iterations until early stop"),
    "test_accuracy": ("early stop", "test_accuracy", "Test accuracy at early stop"),
    "last_accuracy": ("end", "test_accuracy", "Test accuracy at the end"),
    "train_accuracy": ("end", "train_accuracy", "Training accuracy at the end"),
}
"""What figures 1 and 4 show of the study `lottery_tickets`: moment, column and title."""
CONTROLS = ("random mask", "random reinit", "one-shot reinit")
"""Their lines are dashed, as in the paper."""


def stopped_at_limit(table: pd.DataFrame) -> pd.DataFrame:
    """The runs with their lowest validation loss at the limit: in the last 5 % of the training.

    They might have stopped later, and with another accuracy, had they been trained for longer.

    Args:
        table: the study `lottery_tickets`.
    """
    stops = table[table["moment"] == "early stop"]
    return stops[stops["iteration"] >= LATE * table["iteration"].max()]


def tickets_against_density(
    table: pd.DataFrame,
    kinds: tuple[str, ...],
    measures: tuple[str, ...] = ("iteration", "test_accuracy"),
    title: str = "",
    zoom: float | None = None,
) -> Picture:
    """Tickets and controls against density: mean over the trials, bands from lowest to highest.

    Figures 1 and 4 of Frankle & Carbin (2019), with the densities of every third round as ticks.
    Round 0, the dense network, is part of every line and a dotted line of its own. Controls are
    dashed. A marker is hollow where at least one trial stopped at the limit.

    Args:
        table: the study `lottery_tickets`.
        kinds: the lines.
        measures: the panels, of `TICKET_MEASURES`.
        title: words above the panels.
        zoom: how far below the dense network the panels of test accuracy end, as a share.
    """
    rows = -(-len(measures) // 2)
    late = stopped_at_limit(table)
    late = late[late["kind"].isin(kinds) | (late["round"] == 0)]
    with canvas(min(len(measures), 2), rows, 8.4, 0.4 + 2.9 * rows) as (figure, panels):
        for ax, measure in zip(panels.flat, measures, strict=True):
            moment, column, name = TICKET_MEASURES[measure]
            here = table[table["moment"] == moment]
            for i, kind in enumerate(kinds):
                line = here[(here["kind"] == kind) | (here["round"] == 0)]
                _range_line(ax, "density", line, column, i, kind, style=_style_of(kind))
                unfinished = line.merge(late[["kind", "round"]].drop_duplicates())
                points = unfinished.groupby("density")[column].mean()
                ax.plot(points, linestyle="", **_mark(i, hollow=True))
            paper_axis(ax, table)
            dense = here.loc[here["round"] == 0, column].mean()
            ax.axhline(dense, color=theme().ink, linewidth=1.0, linestyle=":")
            ax.set_title(name)
            if column != "iteration":
                ax.yaxis.set_major_formatter(PERCENT)
            if column == "test_accuracy" and zoom is not None:
                ax.set_ylim(bottom=dense - zoom)
        legend(panels.flat[0], "upper left" if measures[0] == "iteration" else "best")
        headline(figure, title if late.empty else f"{title}\n{HOLLOW}")
        moment, column, name = TICKET_MEASURES[measures[-1]]
        sparsest = table[(table["moment"] == moment) & (table["round"] == table["round"].max())]
        ends = sparsest.groupby("kind")[column].mean()
        seen = ", ".join(f"{kind} {ends[kind]:.4g}" for kind in kinds if kind in ends)
        return Picture(
            figure,
            f"{title} Against the share of weights kept: "
            f"{'; '.join(TICKET_MEASURES[measure][2] for measure in measures)}. {name} with "
            f"{sparsest['density'].mean():.1%} kept: {seen}. Bands reach from the lowest to the "
            f"highest of {table['seed'].nunique()} trials.{_where_hollow(late)}",
        )


def paper_axis(ax: Axes, table: pd.DataFrame) -> None:
    """Density, dense on the left, with ticks where the paper has them: at every third round."""
    density_axis(ax, table["density"])
    kept = table[table["round"] % 3 == 0].groupby("round")["density"].mean()
    fix_ticks(ax.xaxis, sorted(kept), FuncFormatter(lambda share, _: f"{100 * share:.1f}"))
    ax.set_xlabel("weights kept, %")


def _style_of(kind: str) -> str:
    return "--" if kind in CONTROLS else "-"


def _where_hollow(late: pd.DataFrame) -> str:
    """For the caption: the densities whose markers are hollow, by kind."""
    densities = late.groupby("kind", sort=False)["density"].unique()
    seen = [
        f"{kind} at {', '.join(f'{100 * density:.1f}' for density in sorted(found)[::-1])} %"
        for kind, found in densities.items()
    ]
    return f" {HOLLOW[:-1]}: {'; '.join(seen)}." if seen else ""


def ticket_curves(table: pd.DataFrame, title: str = "", density: float = 0.21) -> Picture:
    """Test accuracy while training: a panel a kind, a line a density, and a panel of both kinds.

    Figure 3 of Frankle & Carbin (2019), smoothed: a point is the mean of a run's evaluations in 500
    iterations. The fewer weights, the greener the line. The last panel has
    tickets, solid, and their controls, dashed, at one density.

    Args:
        table: the study `lottery_tickets`.
        title: words above the panels.
        density: of the last panel; the nearest that has curves is taken.
    """
    curves = _smooth(table[table["moment"] == "curve"])
    kinds, rounds = curves["kind"].unique(), sorted(curves["round"].unique())
    colors = dict(zip(rounds, _sequence(len(rounds)), strict=True))
    with canvas(len(kinds) + 1, width=8.4, height=3.6, sharey=True) as (figure, (panels,)):
        for ax, kind in zip(panels, kinds, strict=False):
            here = curves[(curves["kind"] == kind) | (curves["round"] == 0)]
            for round_, rows in here.groupby("round"):
                name = f"{rows['density'].mean():.1%}"
                look = {"color": colors[round_], "style": "-" if round_ == 0 else _style_of(kind)}
                _range_line(ax, "iteration", rows, "test_accuracy", 0, name, "", **look)
            ax.set_title(kind)
        round_ = curves.loc[(curves["density"] - density).abs().idxmin(), "round"]
        for i, (kind, rows) in enumerate(_runners(curves, round_).items()):
            style = ":" if kind == "dense" else _style_of(kind)
            _range_line(panels[-1], "iteration", rows, "test_accuracy", i, kind, "", style=style)
        kept = curves.loc[curves["round"] == round_, "density"].mean()
        panels[-1].set_title(f"both, {kept:.1%} kept")
        late = curves[curves["iteration"] >= 0.1 * curves["iteration"].max()]["test_accuracy"]
        panels[0].set(ylim=(late.min() - 0.002, late.max() + 0.002), ylabel="test accuracy")
        for ax in panels:
            ax.yaxis.set_major_formatter(PERCENT)
            ax.set_xlabel("training iterations")
            ax.xaxis.set_major_locator(MaxNLocator(3))
        for ax in panels[len(kinds) - 1 :]:
            legend(ax, "lower right")
        headline(figure, title)
        last = curves[curves["iteration"] == curves["iteration"].max()]
        ends = last.groupby(["kind", "density"], sort=False)["test_accuracy"].mean()
        seen = ", ".join(
            f"{kind} {share:.1%} kept {end:.1%}" for (kind, share), end in ends.items()
        )
        return Picture(
            figure,
            f"{title} Test accuracy against training iterations, means of 500 of them; the last "
            f"panel has both kinds with {kept:.1%} kept. At the end: {seen}. Bands reach from the "
            f"lowest to the highest of {table['seed'].nunique()} trials.",
        )


def _sequence(count: int) -> list[str]:
    """Colors in an order, from purple to green; they are seen in a dark notebook, too."""
    ends = (0.0, 0.75) if theme() == THEMES["light"] else (0.25, 1.0)
    return [to_hex(mpl.colormaps["viridis"](at)) for at in np.linspace(*ends, count)]


def _runners(curves: pd.DataFrame, round_: int) -> dict[str, pd.DataFrame]:
    """The curves of ticket, random reinit and the dense network, by name."""
    here = curves[(curves["round"] == round_) & (round_ > 0)]
    lines = {kind: here[here["kind"] == kind] for kind in ("ticket", "random reinit")}
    lines = {kind: rows for kind, rows in lines.items() if len(rows)}
    return lines | {"dense": curves[curves["round"] == 0]}


def _smooth(curves: pd.DataFrame) -> pd.DataFrame:
    """The means of a run's evaluations in 500 iterations, at their mean iteration."""
    run = curves.columns.intersection(["kind", "round", "density", "seed", "replicate"])
    part = -(-curves["iteration"] // 500)
    groups = curves.groupby([*run, part.rename("part")], sort=False)
    return groups[["iteration", "test_accuracy"]].mean().reset_index()


def ticket_race(table: pd.DataFrame, density: float) -> Picture:
    """Test accuracy while training at one density: ticket, random reinit, and the dense network.

    Smoothed as above. The axes are the same at every density. A mark stands at the mean early stop;
    it is hollow where at least one trial stopped at the limit.

    Args:
        table: the study `lottery_tickets`.
        density: one that has curves; the nearest is taken.

    Source: Frankle & Carbin (2019), arXiv:1803.03635, figure 3.
    """
    curves = _smooth(table[table["moment"] == "curve"])
    stops = table[table["moment"] == "early stop"]
    unfinished = stopped_at_limit(table)
    round_, kept = curves.loc[(curves["density"] - density).abs().idxmin(), ["round", "density"]]
    lines, runners = _runners(curves, round_), ("ticket", "random reinit", "dense")
    late = curves.loc[curves["iteration"] >= 0.03 * curves["iteration"].max(), "test_accuracy"]
    seen = []
    with canvas(width=6.4, height=3.8) as (figure, ((ax,),)):
        for name, rows in lines.items():
            i = runners.index(name)
            _range_line(ax, "iteration", rows, "test_accuracy", i, name, marker="")
            runs = stops.merge(rows[["kind", "round"]].drop_duplicates())
            stop, accuracy = runs["iteration"].mean(), runs["test_accuracy"].mean()
            hollow = len(unfinished.merge(runs)) > 0
            ax.plot(stop, accuracy, **_mark(i, hollow), markersize=8)
            limit = " (hollow: at the limit)" if hollow else ""
            seen.append(f"{name} after {stop:,.0f} iterations{limit} with {accuracy:.1%}")
        ax.set_ylim(late.min(), late.max() + 0.002)
        ax.yaxis.set_major_formatter(PERCENT)
        title = f"{kept:.1%} of the weights kept."
        ax.set(xlabel="training iterations", ylabel="test accuracy", title=title)
        legend(ax, "lower right")
        return Picture(
            figure,
            f"{title} Test accuracy against training iterations, means of 500 of them, mean and "
            f"range of {table['seed'].nunique()} trials. Early stop: {'; '.join(seen)}.",
        )


def _mark(i: int, hollow: bool) -> dict:
    """The i-th marker, filled with its color or with the paper's."""
    inside = theme().paper if hollow else COLORS[i]
    return {"color": COLORS[i], "marker": MARKERS[i], "markerfacecolor": inside}


def _range_line(
    ax: Axes,
    x: str,
    table: pd.DataFrame,
    y: str,
    i: int,
    name: str,
    marker: str | None = None,
    *,
    color: str | None = None,
    style: str = "-",
) -> None:
    """A line of means over the runs, and the band from the lowest to the highest of them."""
    rows = table.groupby(x)[y].agg(mean="mean", low="min", high="max")
    color, marker = color or COLORS[i], MARKERS[i] if marker is None else marker
    ax.plot(rows["mean"], color=color, marker=marker, linestyle=style, label=name)
    ax.fill_between(rows.index, rows["low"], rows["high"], color=color, alpha=0.15, linewidth=0)
